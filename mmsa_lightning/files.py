"""Files: written whole or not at all, known by their SHA-256, seen to be whole; a folder kept to oneself."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.errors import UserError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # how a pointer begins that Git LFS leaves for a file


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; moved to ``path`` at the end, or removed if writing failed.

    Raises:
        OSError: naming ``path``, whichever call it came from, or another file that was read meanwhile.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing :func:`aside`, at any depth of a folder that is :func:`held`."""
    for path in folder.rglob(".*.tmp"):
        path.unlink()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes out of ``folder``, which is made if it is not there.

    The system releases the lock when the process ends, however it ends, and no file is left. Windows has no such lock:
    there nothing is checked.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, f"in {folder}"):
        yield


@contextmanager
def held_file(path: Path) -> Iterator[None]:
    """The same of one file.

    Raises:
        UserError: another process holds it.
    """
    path.touch()
    with _locked(path, f"on {path}"):
        yield


@contextmanager
def _locked(path: Path, where: str) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is at work {where}; wait for it, or stop it") from error
        except OSError:  # a file system without locks, such as some over a network
            pass
        yield
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Of the file's bytes. A process reads them once, unless the file is written to or replaced.

    Raises:
        OSError: the file is not there, or not readable.
    """
    stat = path.stat()
    # The time of a file's last change cannot be set; that of its content is an archive's, which may be anything.
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.cache
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_published(folder: Path, expected: Mapping[str, str], advice: str, whose: str = "") -> None:
    """Check that a folder holds files as they were published.

    Args:
        folder: where they are.
        expected: by name the SHA-256 of each.
        advice: what to do where one differs.
        whose: of what they are, such as ``MiniLM's``.

    Raises:
        UserError: one is not there, not readable, or another.
    """
    of = f"{whose} " if whose else ""
    for name, known in expected.items():
        path = folder / name
        try:
            found = sha256(path)
        except OSError as error:
            raise UserError(f"cannot read {of}{path} ({error.strerror or error}); {advice}") from error
        if found != known:
            raise UserError(f"{path} has SHA-256 {found}, not {of}{known}; {advice}")


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Check that nothing that is read will be written over.

    Raises:
        UserError: an output is an input, by whatever name.
    """
    there = [path for path in inputs if path.exists()]
    for out in outputs:
        if out.exists() and any(out.samefile(path) for path in there):
            raise UserError(f"{out} would be written over, and it is the input: give another --out")


def check_content(path: Path) -> None:
    """Check that a file that was copied or downloaded holds something.

    Raises:
        UserError: it is empty, or Git LFS's pointer to it.
    """
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise UserError(f"{path} is a Git LFS pointer, not the file itself: git lfs pull fetches the file")
    if not start:
        raise UserError(f"{path} is empty: copy or download it again")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file that was copied or downloaded.

    Raises:
        UserError: as :func:`check_content`; it holds something else.
    """
    check_content(path)
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): copy or download it again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object: copy or download it again")
    return found


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as :func:`write_rows` writes it, every value as text.

    Raises:
        UserError: as :func:`as_written`; it is empty, or a row has fewer or more columns than the first line.
    """
    with as_written(path), path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, strict=True)
        if reader.fieldnames is None:
            raise ValueError("it is empty")
        rows = list(reader)
        for number, row in enumerate(rows, 1):
            if None in row or None in row.values():
                raise ValueError(f"row {number} has not the columns of the first line")
        return rows


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file but ``id``, float64 (rows,), NaN where one is blank.

    Raises:
        UserError: as :func:`read_rows`; there is no row, or a cell that is no number.
    """
    rows = read_rows(path)
    with as_written(path):
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if name != "id"}


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Say in one line that a file which this program wrote, or a copy of it, does not hold what was written there.

    Raises:
        UserError: what is done with it ends in an error of its content.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({error!r}): copy it again, or remove it and make it again") from error


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file; its columns are the keys of all rows, empty where a row lacks one."""
    with aside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def short(values: Iterable[float]) -> list[float]:
    """float32 values as the shortest decimals that stand for them: 0.2, not 0.20000000298."""
    return [float(str(np.float32(value))) for value in values]
