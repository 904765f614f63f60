"""Read one member of an ``.npz`` without ``allow_pickle``."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from mmsa_lightning.data.formats.unpickle import load_stream
from mmsa_lightning.errors import UserError

FREELY = 1 << 26  # bytes that an array may unpack to
MOST = 100  # or this many times its packed size, if that is more: padding packs well, a zip bomb 1000 times


class Archive:
    """An ``.npz`` file.

    Raises:
        UserError: the file is not a readable ``.npz``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.members = {name.removesuffix(".npy") for name in archive.namelist()}
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise UserError(f"cannot read {path} as .npz: {getattr(error, 'strerror', None) or error}") from error

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def __getitem__(self, name: str) -> np.ndarray:
        """The array ``name``.

        Raises:
            UserError: it is missing or damaged, or holds objects that could run code.
        """
        if name not in self.members:
            raise UserError(f"{self.path} has no array {name!r}; it has {', '.join(sorted(self.members))}")
        try:
            with zipfile.ZipFile(self.path) as archive:
                return self._read(archive, archive.getinfo(f"{name}.npy"))
        except UserError:
            raise
        except Exception as error:  # a damaged archive can raise nearly anything
            raise UserError(f"{self.path}: {name} is damaged ({error})") from error

    def _read(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
        if info.file_size > max(FREELY, MOST * info.compress_size):
            raise ValueError(f"it unpacks to {info.file_size} bytes from {info.compress_size}")
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(member)
            left = info.file_size - member.tell()
            if dtype.hasobject:  # strings saved as objects, as by pandas: a pickle after the header
                return np.asarray(load_stream(member, f"{self.path}: {info.filename.removesuffix('.npy')}", left))  # type: ignore[arg-type]
            if math.prod(shape) * dtype.itemsize > left:
                raise ValueError(f"it claims the shape {shape}, and has {left} bytes")
            member.seek(0)
            return np.lib.format.read_array(member, allow_pickle=False)
