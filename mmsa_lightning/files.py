"""Writing a file so that it is there whole or not at all, and keeping a folder to oneself."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsa_lightning.errors import UserError


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; moved to ``path`` at the end, or removed if writing failed.

    Raises:
        OSError: naming ``path``, whichever call it came from.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
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

    The system lets go of it when the process ends, however it ends, and no file is left. Windows knows no such lock:
    there it is not looked after.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is at work in {folder}; wait for it, or stop it") from error
        except OSError:  # a file system without locks, such as some over a network
            pass
        yield
    finally:
        os.close(handle)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file; its columns are the keys of all rows, empty where a row lacks one."""
    with aside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
