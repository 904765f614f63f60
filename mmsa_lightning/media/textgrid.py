"""Praat's TextGrid, long and short, as Montreal Forced Aligner, WebMAUS and people write it.

https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html: of either form only the numbers, flags and texts
that stand free are read, and these are the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.words import Cue, Word, cues_of

_TOKEN = re.compile(
    r'"([^"]*(?:""[^"]*)*)"|(?<!\S)([-+]?[0-9.][0-9.eE+-]*)(?!\S)|(?<!\S)<(exists|absent)>|(?<!\S)![^\n]*'
)
_WORDS = ("word", "words", "wrd", "ort", "ort-mau")  # ORT-MAU: WebMAUS
_SILENCES = {"sil", "sp", "spn", "<sil>", "<eps>", "<s>", "</s>", "<p:>", "#"}  # of aligners


def read(path: Path, text: str) -> list[Cue]:
    """Read the words of a TextGrid; silences are dropped.

    They are those of the tiers that are named ``words`` or ``word``, MFA's ``Mary - words`` too; without such a tier,
    those of the only tier with intervals. An interval with several words becomes a cue whose words have no times.

    Args:
        path: the file, to be named in errors.
        text: its content.

    Raises:
        UserError: it is not a TextGrid, is cut off, has an interval that ends before it starts, or several tiers and
            none of words.
    """
    tokens = _tokens(text)
    try:
        kind = [next(tokens, None), next(tokens, None)]
    except ValueError:
        kind = []
    if kind not in (["ooTextFile", "TextGrid"], ["ooTextFile short", "TextGrid"]):
        raise UserError(f"{path} is not a TextGrid: in Praat, Save as text file writes one")
    try:
        tiers = _tiers(tokens)
    except (StopIteration, ValueError) as error:
        raise UserError(f"{path} is cut off or damaged ({str(error) or 'it ends too soon'}): save it again") from error
    named = [found for name, found in tiers if re.split(r"\s+-\s+", name.strip().lower())[-1] in _WORDS]
    if not named and len(tiers) != 1:
        names = ", ".join(repr(name) for name, _ in tiers) or "none with intervals"
        raise UserError(f"{path}: name the tier with the words 'words'; its tiers are {names}")
    pieces = [piece for found in named or [tiers[0][1]] for piece in found]
    return list(cues_of(sorted(pieces, key=lambda piece: piece.start)))


def _tokens(text: str) -> Iterator[str | float]:
    """Texts, with their quotation marks as they were before they were doubled; numbers; flags as texts."""
    for match in _TOKEN.finditer(text):
        quoted, number, flag = match.groups()
        if number is not None:
            yield float(number)
        elif quoted is not None or flag is not None:
            yield flag or quoted.replace('""', '"')


def _tiers(tokens: Iterator[str | float]) -> list[tuple[str, list[Word]]]:
    """The tiers with intervals: their names, and their intervals with a text."""
    _number(tokens), _number(tokens)
    if next(tokens) != "exists":
        return []
    tiers = []
    for _ in range(int(_number(tokens))):
        kind, name = next(tokens), str(next(tokens))
        _number(tokens), _number(tokens)
        count = int(_number(tokens))
        if kind == "IntervalTier":
            intervals = [Word(start=_number(tokens), end=_number(tokens), text=str(next(tokens))) for _ in range(count)]
            tiers.append((name, [piece for piece in map(_checked, intervals) if not _silent(piece.text)]))
        else:  # of points
            for _ in range(count):
                _number(tokens), next(tokens)
    return tiers


def _number(tokens: Iterator[str | float]) -> float:
    found = next(tokens)
    if not isinstance(found, float) or not math.isfinite(found):
        raise ValueError(f"{str(found)[:40]!r} is no number")
    return found


def _checked(piece: Word) -> Word:
    text = " ".join(piece.text.split())
    if not 0 <= piece.start <= piece.end:
        raise ValueError(f"{text[:40]!r} is from {piece.start:g} to {piece.end:g} s")
    return Word(text, piece.start, piece.end)


def _silent(text: str) -> bool:
    return not text or text.lower() in _SILENCES
