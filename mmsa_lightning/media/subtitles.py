"""SRT, and WebVTT (https://www.w3.org/TR/webvtt1/), where words may have times of their own."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.words import Cue, Word, cues_of

_TIME = r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]{1,3}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_STAMP = re.compile(rf"<{_TIME}>")
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}|[♪♫]")
_SOUND = re.compile(r"\[[^\[\]]*\]")
_DASH = re.compile(r"^\s*[-–—]\s+", re.M)  # before what another speaker says


def read(path: Path, text: str) -> list[Cue]:
    """Read the text of a file of subtitles.

    Captions that roll, as YouTube's do, repeat a line at the top when a new one comes; it counts once.

    Args:
        path: the file, to be named in errors.
        text: its content.

    Raises:
        UserError: a line's times are malformed, or end before they start.
    """
    cues: list[Cue] = []
    blocks = [(number, times, lines) for number, times, lines in _blocks(path, text) if lines]
    rolls = _roll([lines for _, _, lines in blocks])
    shown: list[str] = []
    for number, (start, end), lines in blocks:
        fresh = lines[1:] if rolls and shown and _plain(lines[0]) == _plain(shown[-1]) else lines
        shown = lines
        cues += cues_of(_pieces(f"{path}, line {number}", "\n".join(fresh), start, end))
    return cues


def _blocks(path: Path, text: str) -> Iterator[tuple[int, tuple[float, float], list[str]]]:
    """Of each cue the number of its line with times, these, and its lines that are not blank."""
    lines = re.split(r"\r\n|\n|\r", text)
    named = lines[0].startswith("WEBVTT")
    timed = [i for i, line in enumerate(lines) if "-->" in line]
    for i, following in pairwise([*timed, len(lines)]):
        match = _TIMES.fullmatch(lines[i])
        if not match:
            raise UserError(
                f"{path}, line {i + 1}: {lines[i][:60]!r} is not two times, as in 00:00:01,000 --> 00:00:02,500"
            )
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if end < start:
            raise UserError(f"{path}, line {i + 1}: {lines[i][:60]!r} ends before it starts")
        block = lines[i + 1 : following]
        if named:  # notes may follow, and the name of the next cue
            block = list(takewhile(bool, block))
        elif following < len(lines) and block and re.fullmatch(r"\s*[0-9]+\s*", block[-1]):
            block = block[:-1]  # the number of the next cue
        yield i + 1, (start, end), [line for line in block if line.strip()]


def _roll(blocks: list[list[str]]) -> bool:
    """Whether most cues begin with the last line of the one before them, and some of these go on from there."""
    repeating = [b for a, b in pairwise(blocks) if _plain(a[-1]) == _plain(b[0])]
    return len(blocks) > 2 and 2 * len(repeating) > len(blocks) - 1 and any(len(lines) > 1 for lines in repeating)


def _pieces(where: str, text: str, start: float, end: float) -> list[Word]:
    """The text up to each time in it, as WebVTT writes ``one <00:00:01.500>two``."""
    parts = _STAMP.split(text)  # a text, then by turns the four groups of a time, and a text
    times = [start, *(_seconds(tuple(parts[i : i + 4])) for i in range(1, len(parts), 5)), end]
    if times != sorted(times):
        raise UserError(f"{where}: the times inside the text are not in order, or outside those of the cue")
    pieces = [Word(_plain(part), times[i], times[i + 1]) for i, part in enumerate(parts[::5])]
    return [piece for piece in pieces if piece.text]


def _plain(text: str) -> str:
    """Without markup, sounds and dashes of a dialogue, on one line."""
    bare = html.unescape(_MARKUP.sub("", _STAMP.sub("", text)))
    return " ".join(_DASH.sub("", _SOUND.sub(" ", bare)).split())


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return (whole * 1000 + int((fraction or "").ljust(3, "0"))) / 1000
