"""Which stretches of which videos are utterances, and every way in which a list can be wrong."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.clips import Clip, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.MOV"):
        (tmp_path / name).write_bytes(b"as good as a video")
    (tmp_path / "notes.md").write_text("no video")
    return tmp_path


def listed(folder: Path, *rows: str, columns: str = "id,video,start,end,text,label,label_audio,split") -> list[Clip]:
    (folder / "list.csv").write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return read(folder / "list.csv")


def test_a_list(folder: Path) -> None:
    first, second = listed(folder, 'v$_$1,a.mp4,1.5,3,"Good, really.",-1.2,0.5,train', "v$_$2,b.MOV,,,,,,")
    assert first == Clip("v$_$1", folder / "a.mp4", 1.5, 3.0, "Good, really.", -1.2, {"audio": 0.5}, "train")
    assert (second.start, second.end, second.text, second.split) == (0.0, None, None, "all")
    assert math.isnan(second.label)
    assert math.isnan(second.unimodal["audio"])


def test_a_list_of_ids_and_videos_alone(folder: Path) -> None:
    assert [clip.id for clip in listed(folder, "x,a.mp4", "y,b.MOV", columns="id,video")] == ["x", "y"]


def test_a_folder_is_one_utterance_a_video(folder: Path) -> None:  # as text: NaN is not NaN
    assert str(read(folder)) == str([Clip("a$_$0", folder / "a.mp4"), Clip("b$_$0", folder / "b.MOV")])


def test_a_video(folder: Path) -> None:
    assert str(read(folder / "a.mp4")) == str([Clip("a$_$0", folder / "a.mp4")])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",a.mp4,,,,,,", "row 2: the id is empty"),
        ("x,,,,,,,", "row 2: it names no video"),
        ("x,c.mp4,,,,,,", "row 2: there is no .*c.mp4"),
        ("x,../../etc/passwd,,,,,,", "row 2: ../../etc/passwd lies outside of"),
        ("x,/etc/passwd,,,,,,", "row 2: /etc/passwd lies outside of"),
        ("x,https://example.org/a.mp4,,,,,,", "row 2: https://example.org/a.mp4 is an address"),
        ("x,rtmp:a,,,,,,", "row 2: rtmp:a is an address"),
        ("x,concat:a.mp4|b.MOV,,,,,,", "is an address"),
        ("x,a.mp4,2,1,,,,", "row 2: it ends at 1 s, and starts at 2 s"),
        ("x,a.mp4,2,2,,,,", "row 2: it ends at 2 s, and starts at 2 s"),
        ("x,a.mp4,-1,2,,,,", "row 2: start is -1, before the video begins"),
        ("x,a.mp4,0,1e9,,,,", "row 2: it lasts 1e[+]09 s; an utterance lasts 600 s at most"),
        ("x,a.mp4,one,2,,,,", "row 2: start is 'one', not a number"),
        ("x,a.mp4,0,inf,,,,", "row 2: end is 'inf', not a number"),
        ("x,a.mp4,0,1,,good,,", "row 2: label is 'good', not a number"),
        ("x,a.mp4,0,1,,,,dev1", "row 2: split is 'dev1', not train, valid or test"),
        ("x,a.mp4,0,1", "row 2: it has 4 columns, not 8"),
    ],
)
def test_a_row_that_is_wrong_is_named(folder: Path, row: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        listed(folder, row)
    assert "list.csv" in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("x,a.mp4,0,1", "x,b.MOV,0,1"), "row 3: the id x is already in row 2"),
        (("x,a.mp4,0,4", "y,a.mp4,1,5"), "row 3: y overlaps with x in row 2 of the same video by more than half"),
        (("y,a.mp4,1,2", "x,a.mp4,0,4"), "row 2: y overlaps with x in row 3"),
        (("x,a.mp4,,", "y,a.mp4,,"), "row 3: y overlaps with x in row 2"),
    ],
)
def test_rows_that_do_not_go_together(folder: Path, rows: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        listed(folder, *rows, columns="id,video,start,end")


def test_utterances_may_touch_and_overlap_a_little(folder: Path) -> None:
    assert len(listed(folder, "x,a.mp4,0,4", "y,a.mp4,3.5,8", "z,b.MOV,0,4", columns="id,video,start,end")) == 3


@pytest.mark.parametrize(
    ("columns", "words"),
    [("id,start", "lacks the columns video"), ("id,video,id", "has the column id twice"), ("id,video", "has no rows")],
)
def test_columns_that_are_wrong(folder: Path, columns: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        listed(folder, columns=columns)


def test_a_list_in_another_encoding_and_a_name_in_none(folder: Path) -> None:
    (folder / "gbk.csv").write_text("id;video;text\na$_$1;a.mp4;好电影\n", encoding="gbk")
    (clip,) = read(folder / "gbk.csv", separator=";", encoding="gbk")
    assert clip.text == "好电影"
    with pytest.raises(UserError, match="--encoding goes with a CSV"):
        read(folder, encoding="gbk")
    path = folder / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"x")
    with pytest.raises(UserError, match="is not in UTF-8"):
        read(path)


def test_what_is_not_there(folder: Path) -> None:
    for missing in ("no.csv", "no.mp4"):
        with pytest.raises(UserError, match=f"there is no .*{missing}"):
            read(folder / missing)
    with pytest.raises(UserError, match="is an address: download"):
        read(Path("https://example.org/a.mp4"))
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="holds no video or sound"):
        read(folder / "empty")
    (folder / "a.mov").write_bytes(b"another a")
    with pytest.raises(UserError, match="two files called a"):
        read(folder)
