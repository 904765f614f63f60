"""Stand-ins for numpy's dtypes, arrays and functions, which a pickle gets instead of the real ones.

A pickle may call what it is given, set its attributes and give it a state. So each name is a :class:`Maker`, which can
only be called. The real ``numpy.dtype`` and ``numpy.ndarray`` are not among them: a pickle could tell their
``__setstate__`` that an array of objects is an array of bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# bool, integers, floats, bytes, text, objects: no structured, sub-array, void or date dtypes.
_SIMPLE_DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|[SU]\d{1,6}|O[48]?")


class Refused(Exception):
    """A name that is not allowed."""

    advice = ""


class Unread(Exception):
    """Something harmless that is not read."""


class Maker:
    """One allowed name: callable and immutable, because a pickle may set attributes of what it gets."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused(f"setting the attribute {name}")


class Dtype:
    """A pickle gets this for a ``numpy.dtype``: a description, from which :meth:`real` makes the real one."""

    __slots__ = ("_code", "_order")
    _code: str
    _order: str

    def __init__(self, code: str, *_flags: Any) -> None:
        code = _text(code)
        if not _SIMPLE_DTYPE.fullmatch(code):
            raise Unread(f"an array of dtype {code!r}; numbers, text and objects are read")
        object.__setattr__(self, "_code", code)
        object.__setattr__(self, "_order", "=")

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused(f"setting the attribute {name}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, sub-array, names, fields, item size, alignment, flags[, metadata]): all but the order
        # follows from the code, so the rest is not taken from the pickle.
        _version, order, *structure = state[:5]
        order = _text(order)
        if any(part is not None for part in structure) or order not in ("<", ">", "=", "|"):
            raise Unread("a structured array; save each of its fields as an array")
        object.__setattr__(self, "_order", order)

    def real(self) -> np.dtype[Any]:
        return np.dtype(object) if self._code[0] == "O" else np.dtype(self._order + self._code)


class Array(np.ndarray[Any, Any]):
    """An array that takes its state once, and only after it has been checked."""

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        if self.shape != (0,):
            raise Refused("changing an array")
        real = _real(dtype)
        if real.hasobject:
            # numpy reads as many objects as the shape says, whether the list has them or not.
            if type(data) is not list or len(data) != _count(shape):
                raise ValueError("an array of objects does not hold what its shape says")
        else:
            data = as_bytes(data)
        super().__setstate__((1, shape, real, bool(fortran), data))  # type: ignore[arg-type]


NDARRAY = Maker(lambda *_: _refuse("numpy.ndarray"))


def _refuse(what: str) -> None:
    raise Refused(what)


def _real(dtype: Any) -> np.dtype[Any]:
    if type(dtype) is not Dtype:
        raise Refused("something else as a dtype")
    return dtype.real()


def _count(shape: Any) -> int:
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("a shape is not a tuple of sizes")
    return math.prod(shape)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def as_bytes(value: Any) -> bytes:
    """Bytes, which Python 2 may have written as text and protocol 5 as a buffer."""
    if type(value) is bytes:  # not copied: it can be most of the file
        return value
    return value.encode("latin1") if isinstance(value, str) else bytes(memoryview(value))


def reconstruct(subtype: Any, shape: Any, _dtype: Any) -> Array:
    """``numpy._core.multiarray._reconstruct``: an array whose state comes later."""
    if subtype is not NDARRAY or shape != (0,):
        raise Refused("an array of its own type")
    return np.empty(0, np.int8).view(Array)


def frombuffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    """``numpy._core.numeric._frombuffer``, of protocol 5."""
    real = _real(dtype)
    if real.hasobject:
        raise Refused("an array of objects from bytes")
    _count(shape)
    flat = np.frombuffer(as_bytes(data), real)
    if order == "K":  # axes in another order than in memory: numpy from 2.3 on
        return flat.reshape(shape).transpose(axes).view(Array)
    return flat.reshape(shape, order="F" if order == "F" else "C").view(Array)


def scalar(dtype: Any, data: Any = b"") -> Any:
    """``numpy._core.multiarray.scalar``."""
    real = _real(dtype)
    if real.hasobject:
        raise Refused("a scalar of objects")
    raw = as_bytes(data)
    if len(raw) != real.itemsize:
        raise ValueError("a scalar does not have the size of its dtype")
    return np.frombuffer(raw, real)[0] if raw else real.type()


def encode(text: Any, encoding: Any = "latin1") -> bytes:
    """``_codecs.encode``: Python 3 writes bytes this way for Python 2. Other codecs are refused."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the codec {encoding!r}")
    return str(text).encode("latin1")
