"""Transcripts that were made elsewhere: subtitles, TextGrids of Praat, JSON of Whisper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmsa_lightning.data.formats.delimited import MARKS
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import check_content
from mmsa_lightning.media import subtitles, textgrid, whisper
from mmsa_lightning.media.words import Cue, cue_of

SUFFIXES = (".srt", ".vtt", ".textgrid", ".json")  # in any case
LARGEST = 16 << 20  # bytes; ten hours of speech are fewer

_ALIKE = {0x85, *range(0x91, 0x98), 0xA0}  # … ‘ ’ “ ” • – — and a blank, in every Windows encoding of an alphabet


def read(path: Path) -> list[Cue]:
    """Read a transcript: SRT, WebVTT, Praat's TextGrid (long and short), or JSON of Whisper or WhisperX.

    Words have times where the file has them. What stands in square brackets in subtitles is a sound, and no word.

    Raises:
        UserError: the file is none of these, too large, not in a known encoding, or wrong in some line.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path} is no transcript that can be read: give a .srt, .vtt, .TextGrid or .json")
    check_content(path)
    if (size := path.stat().st_size) > LARGEST:
        raise UserError(f"{path} has {size >> 20} MB, which is no transcript: one has at most {LARGEST >> 20} MB")
    if suffix == ".json":
        cues = whisper.read(path)
    else:
        cues = (textgrid.read if suffix == ".textgrid" else subtitles.read)(path, _text(path))
    if not cues:
        raise UserError(f"{path} holds no words: give a transcript, or move it away to have the words recognised")
    return cues


def between(cues: Sequence[Cue], start: float, end: float) -> list[Cue]:
    """What is said from ``start`` to ``end``, in seconds: each word whose middle lies there.

    A cue without words belongs there as a whole if its middle does.
    """
    found = []
    for cue in cues:
        if cue.words is None:
            if start <= (cue.start + cue.end) / 2 < end:
                found.append(cue)
        elif words := tuple(word for word in cue.words if start <= (word.start + word.end) / 2 < end):
            found.append(cue_of(words))
    return found


def _text(path: Path) -> str:
    """UTF-8, or what the byte order mark says; a Windows encoding only where all of them read the same."""
    data = path.read_bytes()
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or {byte for byte in data if byte >= 0x80} - _ALIKE:
            line = data.count(b"\n", 0, error.start) + 1
            raise UserError(f"{path} is not in {encoding} (line {line}): save it in UTF-8") from error
        text = data.decode("cp1252")
    if "\0" in text:
        raise UserError(f"{path} is not in {encoding}, for it holds the character 0: save it in UTF-8")
    return text
