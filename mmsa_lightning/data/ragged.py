"""Sequences of different lengths, in memory or in a file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from io import FileIO
from typing import Any

import numpy as np

from mmsa_lightning.errors import UserError

BLOCK = 1 << 24  # bytes that are handled at once


class Ragged(ABC):
    """n sequences of one width.

    Attributes:
        lengths: int64 (n,), steps of each.
        dtype: of the values.
        dim: feature width; None for token ids.
    """

    lengths: np.ndarray
    dtype: np.dtype[Any]
    dim: int | None

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, i: int) -> np.ndarray:
        """Sequence ``i``: (length[, dim])."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all sequences end to end: (sum of lengths[, dim])."""
        steps = int(self.lengths.sum())
        return (steps,) if self.dim is None else (steps, self.dim)

    def blocks(self) -> Iterator[np.ndarray]:
        """All sequences in order, joined to arrays of at most :data:`BLOCK` bytes each, or one long sequence."""
        size = self.lengths * (self.dim or 1) * self.dtype.itemsize
        start, total = 0, 0
        for i, more in enumerate(size.tolist()):
            if total and total + more > BLOCK:
                yield np.concatenate([self[k] for k in range(start, i)])
                start, total = i, 0
            total += more
        yield np.concatenate([self[k] for k in range(start, len(self))])


class Loaded(Ragged):
    """Sequences in memory.

    Args:
        arrays: n, each (length[, dim]), of one dtype.
    """

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self.arrays = list(arrays)
        self.lengths = np.array([len(array) for array in self.arrays], dtype=np.int64)
        self.dtype = self.arrays[0].dtype
        self.dim = self.arrays[0].shape[1] if self.arrays[0].ndim == 2 else None

    def __getitem__(self, i: int) -> np.ndarray:
        return self.arrays[i]


class Stored(Ragged):
    """Sequences in a file, each read when it is asked for and not kept in memory.

    Args:
        file: opened without a buffer.
        place: of the first value, in bytes.
        offsets: int64 (n + 1,), the step at which each sequence begins, and the last one's end.
        dtype, dim: of the values.
    """

    def __init__(self, file: FileIO, place: int, offsets: np.ndarray, dtype: np.dtype[Any], dim: int | None) -> None:
        self.file = file
        self.place = place
        self.offsets = offsets
        self.lengths = np.diff(offsets)
        self.dtype = dtype
        self.dim = dim

    def __getitem__(self, i: int) -> np.ndarray:
        width = (self.dim or 1) * self.dtype.itemsize
        data = _read_at(self.file, self.place + int(self.offsets[i]) * width, int(self.lengths[i]) * width)
        values = np.frombuffer(data, self.dtype)
        return values if self.dim is None else values.reshape(-1, self.dim)


def _read_at(file: FileIO, place: int, size: int) -> bytes:
    """``size`` bytes from ``place`` on, without moving the file's position: forked workers share the file."""
    if hasattr(os, "pread"):
        data = os.pread(file.fileno(), size, place)
    else:  # Windows, where nothing is forked
        file.seek(place)
        data = file.read(size)
    if len(data) != size:
        raise UserError(f"{file.name} was changed or cut off while it was read")
    return data
