"""Arrays from the tensors that torch pickled, without torch.

A tensor is pickled as a call of ``torch._utils._rebuild_tensor_v2`` (https://github.com/pytorch/pytorch,
``torch/_utils.py``): a storage, which is a flat run of numbers of one type, and an offset, sizes and strides on it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# ``torch/serialization.py`` writes this first if it does not write a zip archive.
MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class Storage:
    """A flat array that tensors are views of; immutable, because a pickle may set attributes of what it gets."""

    __slots__ = ("flat",)
    flat: np.ndarray

    def __init__(self, flat: np.ndarray) -> None:
        object.__setattr__(self, "flat", flat)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError(f"setting the attribute {name} of a storage")


class Storages:
    """The storages of one file by their key, together no larger than the file.

    Args:
        size: bytes that the file has.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self.by_key: dict[str, Storage] = {}

    def __call__(self, pid: Any) -> Storage:
        """The storage that a pickle's persistent id ('storage', type, key, device, elements, ...) names.

        Raises:
            ValueError: it is not such an id, or claims more than the file can hold.
        """
        if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage":
            raise ValueError(f"a persistent object {pid!r} that is no storage")
        dtype, key, count = pid[1], pid[2], pid[4]
        if dtype not in TYPES.values() or type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("a storage of no known type and size")
        if key not in self.by_key:
            self.left -= count * np.dtype(dtype).itemsize
            if self.left < 0:
                raise ValueError(f"a storage claims {count} numbers, which the file does not have")
            self.by_key[key] = Storage(self.values(key, dtype, count))
        if len(self.by_key[key].flat) != count or self.by_key[key].flat.dtype != dtype:
            raise ValueError(f"the storage {key} is of two types or sizes")
        return self.by_key[key]

    def values(self, key: str, dtype: str, count: int) -> np.ndarray:
        """The numbers of a storage, or an empty array for them if they come later in the file."""
        return np.empty(count, dtype)


def rebuild(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> np.ndarray:
    """``torch._utils._rebuild_tensor_v2`` as a view of the storage's array.

    Raises:
        ValueError: it would reach beyond the storage, or be larger.
    """
    numbers = [offset, *size, *stride]
    if type(storage) is not Storage or len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("a tensor without storage, sizes and strides")
    if len(rest) > 2 and rest[2]:
        raise ValueError("a tensor that is a conjugate or negative view; save tensor.resolve_neg()")
    flat, count = storage.flat, math.prod(size)
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if count == 0:
        return np.empty(size, flat.dtype)
    if end > len(flat) or count > len(flat):
        raise ValueError(f"a tensor of shape {size} on a storage of {len(flat)} numbers; save tensor.contiguous()")
    return np.lib.stride_tricks.as_strided(flat[offset:], size, [step * flat.itemsize for step in stride])
