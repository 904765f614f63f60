"""Members of an HDF5 file that may be damaged, or mean harm: links are not followed, and claims not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py


class Malformed(Exception):
    """The file breaks its layout."""


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """The group ``name``, which lies in this very file."""
    return _member(parent, name, h5py.Group)


def dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset ``name``, whose values lie in this very file."""
    found = _member(parent, name, h5py.Dataset)
    if found.external or found.is_virtual:
        raise Malformed(f"{found.name} takes its values from another file")
    return found


def _member(parent: h5py.Group, name: str, kind: type) -> Any:
    """A member that lies in this very file: soft and external links are refused."""
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink) or not isinstance(parent[name], kind):
        raise Malformed(f"{parent.name}/{name} is missing, a link, or not a {kind.__name__}".replace("//", "/"))
    return parent[name]


def size(member: h5py.Group | h5py.Dataset) -> int:
    """Bytes of the file that a member is in."""
    return Path(member.file.filename).stat().st_size


def strings(found: h5py.Dataset, errors: str = "strict") -> list[str]:
    """Strings, row by row, read a few at a time: HDF5 keeps them elsewhere, and many could be the same long one.

    Args:
        found: of any shape.
        errors: what to do about what is not UTF-8, as in :meth:`bytes.decode`.
    """
    texts: list[str] = []
    total, most = found.dtype.itemsize, size(found)
    for start in range(0, len(found), 64):
        if total <= most:
            block = [text.decode("utf-8", errors) for text in found[start : start + 64].ravel()]
            texts += block
            total += sum(map(len, block))
        if total > most:
            raise Malformed(f"{found.name} is longer than the file")
    return texts
