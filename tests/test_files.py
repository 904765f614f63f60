from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.files import (
    LFS_POINTER,
    aside,
    check_apart,
    check_content,
    held,
    held_file,
    read_rows,
    remove_unfinished,
    sha256,
    short,
    write_rows,
)


def test_the_file_is_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with aside(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with aside(path) as temporary:
            temporary.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_system_names_the_file_that_was_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def fail_half_way() -> None:
        with aside(path) as temporary:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    with pytest.raises(OSError, match="No space left") as failed:
        fail_half_way()
    assert failed.value.filename == str(path)


def test_an_error_of_another_file_names_that_one(tmp_path: Path) -> None:
    def copy() -> None:
        with aside(tmp_path / "a.txt") as temporary:
            temporary.write_bytes((tmp_path / "source.txt").read_bytes())

    with pytest.raises(FileNotFoundError) as failed:
        copy()
    assert failed.value.filename == str(tmp_path / "source.txt")


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in (".a.txt.1.tmp", "checkpoints/.last.ckpt.1.tmp", "a.txt", ".hidden", "b.tmp"):
        (tmp_path / name).write_text("half")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", "a.txt", ".hidden", "b.tmp"}


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "run"
    code = f"""
import sys, time
from pathlib import Path
from mmsa_lightning.files import held
with held(Path({str(folder)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is at work in"), held(folder):
            pass
        other.kill()
        other.wait()
        with held(folder):
            assert list(folder.iterdir()) == []


def test_a_file_is_held_by_one_process_too(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mmsa_lightning import files\n"
        "with files.held_file(Path(sys.argv[1])): pass"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "x")]
    with held_file(tmp_path / "x"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "another process is at work on" in done.stderr
    subprocess.run(command, check=True)


def test_an_output_that_is_an_input_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    check_apart([tmp_path / "new"], [tmp_path / "a", tmp_path / "none"])
    with pytest.raises(UserError, match="link would be written over, and it is the input"):
        check_apart([tmp_path / "new", tmp_path / "link"], [tmp_path / "a"])


def test_a_file_that_takes_anothers_place_has_a_hash_of_its_own(tmp_path: Path) -> None:
    """Also with the same size and time, as archives set it."""
    path = tmp_path / "weights"
    for content in (b"one", b"two"):
        (tmp_path / "new").write_bytes(content)
        os.utime(tmp_path / "new", (1, 1))
        (tmp_path / "new").replace(path)
        assert sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("content", "words"), [(LFS_POINTER + b"v1\n", "git lfs pull"), (b"", "is empty")])
def test_a_file_that_has_not_come_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=words):
        check_content(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"version")
    check_content(tmp_path / "x")


def test_rows_come_back_as_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", [{"a": 'x, "y"\nz', "b": 1.5}, {"a": "ü", "c": None}])
    assert read_rows(tmp_path / "rows.csv") == [
        {"a": 'x, "y"\nz', "b": "1.5", "c": ""},
        {"a": "ü", "b": "", "c": ""},
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n3\n", "row 2 has not the columns of the first line"),
        (b"a,b\n1,2\n3,4,5\n", "row 2 has not the columns of the first line"),
        (b"", "it is empty"),
        (b'a,b\n1,"2\n', "unexpected end of data"),
        (b"a,b\n1,\xff\n", "invalid start byte"),
    ],
)
def test_rows_that_were_not_written_so_are_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"rows\.csv is damaged \(.*{words}"):
        read_rows(tmp_path / "rows.csv")


def test_short_decimals_stand_for_the_same_float32() -> None:
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    found = short([np.float32(0.2), *values])
    assert found[0] == 0.2
    assert (np.float32(found[1:]) == values).all()
