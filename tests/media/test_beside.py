"""What is read together with a video."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import beside
from mmsa_lightning.media.clips import Clip


def write(folder: Path, *names: str) -> Path:
    """Files, of which the last is returned."""
    for name in names:
        (folder / name).write_text("x")
    return folder / names[-1]


def test_the_transcript_beside_a_video(tmp_path: Path) -> None:
    video = tmp_path / "clip.1.mp4"
    write(tmp_path, "clip.1.mp4", "clip.1.info.json", "clip.10.srt", "clip.srt", "clip.1.txt", "other.srt")
    assert beside.transcript(video) is None
    found = write(tmp_path, "clip.1.zh-Hans.VTT")
    assert beside.transcript(video) == found
    write(tmp_path, "clip.1.TextGrid")
    with pytest.raises(UserError, match=r"clip\.1\.TextGrid, clip\.1\.zh-Hans\.VTT"):
        beside.transcript(video)


def test_a_transcript_of_another_video_is_not_of_this_one(tmp_path: Path) -> None:
    english, german = write(tmp_path, "talk.mp4"), write(tmp_path, "talk.de.mp4")
    words = write(tmp_path, "talk.de.srt")
    assert beside.transcript(english) is None
    assert beside.transcript(german) == words


def test_all_that_is_read_of_utterances(tmp_path: Path) -> None:
    video = write(tmp_path, "a.mp4")
    listed = [Clip("a$_$0", video, 0.0, 1.0), Clip("a$_$1", video, 1.0, 2.0)]
    assert beside.inputs(listed, "face_mesh") == [video]
    assert beside.inputs(listed, "openface") == [video, tmp_path / "a.csv"]
