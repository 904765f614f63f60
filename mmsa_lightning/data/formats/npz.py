"""Read one member of an ``.npz`` without ``allow_pickle``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from mmsa_lightning.data.formats.unpickle import load_stream
from mmsa_lightning.errors import UserError


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
        except (OSError, zipfile.BadZipFile) as error:
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
            with np.load(self.path, allow_pickle=False) as arrays:
                return arrays[name]
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise UserError(f"{self.path}: {name} is damaged ({error})") from error
            return self._objects(name)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{self.path}: {name} is damaged ({error})") from error

    def _objects(self, name: str) -> np.ndarray:
        """Strings saved as objects, as pandas does: a pickle behind the header."""
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            header(member)
            return np.asarray(load_stream(member, f"{self.path}: {name}"))  # type: ignore[arg-type]
