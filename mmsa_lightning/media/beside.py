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
    files = [path for path in video.parent.iterdir() if path.name.startswith(video.stem) and path.is_file()]
    others = {path.stem for path in files if path.suffix.lower() in clips.SUFFIXES} - {video.stem}
    found = sorted(
        path
        for path in files
        if path.suffix.lower() in SUFFIXES
        and path.stem not in others  # clip.de.srt beside clip.de.mp4
        and _LANGUAGE.fullmatch(path.stem[len(video.stem) :])
    )
    if len(found) > 1:
        raise UserError(f"{video} has several transcripts beside it, {', '.join(p.name for p in found)}: leave one")
    return found[0] if found else None


def inputs(listed: Iterable[Clip], vision: str | None) -> list[Path]:
    """The videos of some utterances, and the tables that are read with them; what is written is never a transcript.

    Args:
        listed: the utterances.
        vision: what their faces come from.
    """
    videos = list(dict.fromkeys(clip.video for clip in listed))
    return videos + [video.with_suffix(TABLE) for video in videos if vision == OPENFACE]
