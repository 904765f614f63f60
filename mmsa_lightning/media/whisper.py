"""JSON of openai-whisper, whisper-timestamped, WhisperX and front ends of faster-whisper: segments with words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmsa_lightning.data.formats.fields import is_whole
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import read_object
from mmsa_lightning.media.words import Cue, Word, cues_of


def read(path: Path) -> list[Cue]:
    """Read the segments. One of whose words some have no times, as WhisperX leaves figures, has none.

    Raises:
        UserError: it is no JSON of this form, or a time is negative, not a number, or ends before it starts.
    """
    segments = read_object(path).get("segments")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise UserError(f"{path} is no transcript of Whisper: it has no list 'segments' of objects")
    return [cue for i, segment in enumerate(segments) for cue in _cues(f"{path}, segment {i + 1}", segment)]


def _cues(where: str, segment: dict[str, Any]) -> Iterator[Cue]:
    text = segment.get("text")
    if not isinstance(text, str) or not is_whole(text):
        raise UserError(f"{where}: it has no text, or half a character in it")
    start, end = _times(where, segment)
    parts = segment.get("words") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{where}: its words are no list of objects")
    if parts and all("start" in part and "end" in part for part in parts):
        yield from cues_of(_words(where, parts))
    elif text.strip():
        yield Cue(" ".join(text.split()), start, end, None)


def _words(where: str, parts: list[dict[str, Any]]) -> list[Word]:
    """Whisper begins a word with a blank; one without goes on with the word before: " well", "-known"."""
    words: list[Word] = []
    texts = [part.get("word", part.get("text")) for part in parts]
    blanks = any(isinstance(text, str) and text.startswith(" ") for text in texts[1:])
    for text, part in zip(texts, parts, strict=True):
        if not isinstance(text, str) or not is_whole(text):
            raise UserError(f"{where}: a word has no text, or half a character in it")
        start, end = _times(f"{where}, {text.strip()[:40]!r}", part)
        if blanks and words and not text.startswith(" "):
            words[-1] = Word(words[-1].text + text.strip(), words[-1].start, end)
        elif text.strip():
            words.append(Word(text.strip(), start, end))
    return words


def _times(where: str, found: dict[str, Any]) -> tuple[float, float]:
    start, end = (_second(where, found.get(name)) for name in ("start", "end"))
    if not 0 <= start <= end:
        raise UserError(f"{where}: it is from {start:g} to {end:g} s")
    return start, end


def _second(where: str, value: object) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number beyond all floats
        pass
    raise UserError(f"{where}: its start or end is no number of seconds")
