"""What lies beside a video, under its name, and is read with it: a transcript, and the table of OpenFace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import clips
from mmsa_lightning.media.clips import Clip
from mmsa_lightning.media.transcript import SUFFIXES

OPENFACE = "openface"  # what vision is called that comes from a table
TABLE = ".csv"
_LANGUAGE = re.compile(r"(\.[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*)?")  # .en, .zh-Hans


def transcript(video: Path) -> Path | None:
    """The transcript in the same folder as a video and of the same name, such as ``clip.srt`` or ``clip.en.srt``.

    Raises:
        UserError: there are several.
    """
    found = _transcripts(video)
    if len(found) > 1:
        raise UserError(f"{video} has several transcripts beside it, {', '.join(p.name for p in found)}: leave one")
    return found[0] if found else None


def inputs(listed: Iterable[Clip], vision: str | None) -> list[Path]:
    """All files that are read of some utterances.

    Args:
        listed: the utterances.
        vision: what their faces come from.
    """
    found = []
    for video in dict.fromkeys(clip.video for clip in listed):
        found += [video, *_transcripts(video), *([video.with_suffix(TABLE)] if vision == OPENFACE else [])]
    return found


def _transcripts(video: Path) -> list[Path]:
    files = [path for path in video.parent.iterdir() if path.name.startswith(video.stem) and path.is_file()]
    others = {path.stem for path in files if path.suffix.lower() in clips.SUFFIXES} - {video.stem}
    return sorted(
        path
        for path in files
        if path.suffix.lower() in SUFFIXES
        and path.stem not in others  # clip.de.srt beside clip.de.mp4
        and _LANGUAGE.fullmatch(path.stem[len(video.stem) :])
    )
