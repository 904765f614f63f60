"""Read what ``torch.save`` writes: a zip archive of one pickle and the storages of its tensors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.data.formats.tensors import Storages
from mmsa_lightning.data.formats.unpickle import load_stream
from mmsa_lightning.errors import UserError

FIRST = b"PK\x03\x04"


def load_archive(path: Path) -> Any:
    """The content of a file of ``torch.save``, its tensors as arrays (``torch/serialization.py``, ``_save``).

    Raises:
        UserError: the file is damaged or another kind of archive, or asks for anything but arrays and containers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            roots = [name.removesuffix("data.pkl") for name in archive.namelist() if Path(name).name == "data.pkl"]
            if len(roots) != 1:
                raise UserError(f"{path} is a zip archive, but not one of torch.save: it has {len(roots)} data.pkl")
            (root,) = roots
            if f"{root}byteorder" in archive.namelist():
                with archive.open(f"{root}byteorder") as member:
                    if member.read(6) != b"little":
                        raise UserError(f"{path} was saved on a big-endian machine; save its arrays with pickle")
            info = archive.getinfo(f"{root}data.pkl")
            size = path.stat().st_size
            with archive.open(info) as member:
                return load_stream(member, str(path), min(info.file_size, size), _Members(archive, root, size))  # type: ignore[arg-type]
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise UserError(f"{path} is a damaged archive ({type(error).__name__}: {error})") from error


class _Members(Storages):
    """Storages that are members of an archive."""

    def __init__(self, archive: zipfile.ZipFile, root: str, size: int) -> None:
        super().__init__(size)
        self.archive = archive
        self.root = root

    def values(self, key: str, dtype: str, count: int) -> np.ndarray:
        """As torch writes them, uncompressed."""
        info = self.archive.getinfo(f"{self.root}data/{key}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != count * np.dtype(dtype).itemsize:
            raise ValueError(f"the storage {key} does not hold {count} numbers, or is compressed")
        return np.frombuffer(self.archive.read(info), dtype)
