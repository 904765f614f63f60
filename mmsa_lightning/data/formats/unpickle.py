"""Read a pickle of arrays without giving it any way to run code.

A pickle names Python objects and calls them. This reader hands it only the few names that plain data needs, and not the
real ones: each is a :class:`_Maker` that can be called and nothing else. The real ``numpy.dtype`` and ``numpy.ndarray``
are not among them, because their ``__setstate__`` can be told that an array of objects is an array of bytes.
"""

from __future__ import annotations

import copyreg
import math
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mmsa_lightning.errors import UserError

# bool, integers, floats, bytes, text, objects: no structured, sub-array, void or date dtypes.
_SIMPLE_DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|[SU]\d{1,6}|O[48]?")


def load(path: Path) -> Any:
    """The content of a pickle file of any protocol, from Python 2 or 3 and numpy 1 or 2.

    Raises:
        UserError: the file cannot be read, is damaged, or asks for anything but arrays and plain containers.
    """
    try:
        with path.open("rb") as stream:
            return load_stream(stream, str(path), path.stat().st_size)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def load_stream(stream: BinaryIO, name: str, size: int) -> Any:
    """As :func:`load`, from where ``stream`` stands.

    Args:
        stream: what is read.
        name: what error messages call it.
        size: bytes that it may hold.

    Raises:
        UserError: as :func:`load`.
    """
    # Cached extension codes would be handed out without asking find_class.
    copyreg.clear_extension_cache()
    try:
        # latin1 maps each byte of a Python 2 string to one character, so arrays' bytes survive.
        return _Restricted(_Whole(stream, size), encoding="latin1").load()
    except _Refused as refused:
        raise UserError(
            f"{name} asks for {refused} when it is loaded, which could run code: refused; "
            "only numpy arrays and plain containers are read"
        ) from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"{name} is not a whole pickle of arrays ({type(error).__name__}: {error})") from error


class _Refused(Exception):
    """A name that is not admitted."""


class _Maker:
    """One admitted name: callable and immutable, for a pickle may set attributes of what it is given."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise _Refused(f"setting the attribute {name}")


class _Dtype:
    """What a pickle gets for a ``numpy.dtype``: a description, from which :meth:`real` makes the true one."""

    __slots__ = ("_code", "_order")
    _code: str
    _order: str

    def __init__(self, code: str, *_flags: Any) -> None:
        code = _text(code)
        if not _SIMPLE_DTYPE.fullmatch(code):
            raise _Refused(f"the dtype {code!r}")
        object.__setattr__(self, "_code", code)
        object.__setattr__(self, "_order", "=")

    def __setattr__(self, name: str, value: Any) -> None:
        raise _Refused(f"setting the attribute {name}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, sub-array, names, fields, item size, alignment, flags[, metadata]): all but the order
        # follows from the code, and what a pickle says of it is not believed.
        _version, order, *structure = state[:5]
        order = _text(order)
        if any(part is not None for part in structure) or order not in ("<", ">", "=", "|"):
            raise _Refused("a structured dtype")
        object.__setattr__(self, "_order", order)

    def real(self) -> np.dtype[Any]:
        return np.dtype(object) if self._code[0] == "O" else np.dtype(self._order + self._code)


class _Array(np.ndarray[Any, Any]):
    """An array that takes its state once, and only after it has been checked."""

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        if self.shape != (0,):
            raise _Refused("changing an array")
        real = _real(dtype)
        if real.hasobject:
            # numpy reads as many objects as the shape says, whether the list has them or not.
            if type(data) is not list or len(data) != _count(shape):
                raise ValueError("an array of objects does not hold what its shape says")
        else:
            data = _bytes(data)
        super().__setstate__((1, shape, real, bool(fortran), data))  # type: ignore[arg-type]


_NDARRAY = _Maker(lambda *_: _refuse("numpy.ndarray"))


def _refuse(what: str) -> None:
    raise _Refused(what)


def _real(dtype: Any) -> np.dtype[Any]:
    if type(dtype) is not _Dtype:
        raise _Refused("a dtype that is not one")
    return dtype.real()


def _count(shape: Any) -> int:
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("a shape is not a tuple of sizes")
    return math.prod(shape)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    if type(value) is bytes:  # not copied: it can be most of the file
        return value
    return value.encode("latin1") if isinstance(value, str) else bytes(memoryview(value))


def _reconstruct(subtype: Any, shape: Any, _dtype: Any) -> _Array:
    if subtype is not _NDARRAY or shape != (0,):
        raise _Refused("an array of a type of its own")
    return np.empty(0, np.int8).view(_Array)


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    real = _real(dtype)
    if real.hasobject:
        raise _Refused("an array of objects out of bytes")
    _count(shape)
    return np.frombuffer(_bytes(data), real).reshape(shape, order="F" if order == "F" else "C").view(_Array)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    real = _real(dtype)
    if real.hasobject:
        raise _Refused("a scalar of objects")
    raw = _bytes(data)
    if len(raw) != real.itemsize:
        raise ValueError("a scalar does not have the size of its dtype")
    return np.frombuffer(raw, real)[0] if raw else real.type()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # Python 3 writes bytes this way for Python 2; any other codec is a name of its own.
    if encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the codec {encoding!r}")
    return str(text).encode("latin1")


_MODULES: dict[str, dict[str, _Maker]] = {
    "multiarray": {"_reconstruct": _Maker(_reconstruct), "scalar": _Maker(_scalar)},
    "numeric": {"_frombuffer": _Maker(_frombuffer)},
    "numpy": {"ndarray": _NDARRAY, "dtype": _Maker(_Dtype)},
    "builtins": {"set": _Maker(set), "frozenset": _Maker(frozenset), "bytes": _Maker(lambda: b"")},
    "collections": {"OrderedDict": _Maker(OrderedDict)},
    "_codecs": {"encode": _Maker(_encode)},
}
_ALIASES = {
    "numpy.core.multiarray": "multiarray",
    "numpy._core.multiarray": "multiarray",
    "numpy.core.numeric": "numeric",
    "numpy._core.numeric": "numeric",
    "numpy": "numpy",
    "builtins": "builtins",
    "__builtin__": "builtins",
    "collections": "collections",
    "_codecs": "_codecs",
}


class _Whole:
    """A stream that is not asked for more than it holds, whatever a length in it claims."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream = stream
        self.left = size

    def read(self, n: int) -> bytes:
        if n > self.left:
            raise EOFError(f"it claims {n} more bytes, and has {self.left}")
        data = self.stream.read(n)
        self.left -= len(data)
        return data

    def readline(self) -> bytes:
        data = self.stream.readline(self.left)
        self.left -= len(data)
        return data


def _load_bytearray(unpickler: Any) -> None:
    """Python's own makes one of the length that is claimed before it reads anything."""
    (length,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.append(bytearray(unpickler.read(length)))


class _Restricted(pickle._Unpickler):
    """In Python, because the one in C makes a table as long as the largest number that a pickle gives an object."""

    dispatch = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: _load_bytearray}

    def find_class(self, module: str, name: str) -> Any:
        maker = _MODULES.get(_ALIASES.get(module, ""), {}).get(name)
        if maker is None:
            raise _Refused(f"{module}.{name}")
        return maker

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"the persistent object {pid!r}")
