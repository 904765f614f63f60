"""Read a pickle of arrays without giving it any way to run code.

A pickle names Python objects and calls them. This reader gives it only the few names that plain data needs, and
stand-ins instead of the real objects (:mod:`.standins`). Tensors of torch become arrays (:mod:`.tensors`).
"""

from __future__ import annotations

import copyreg
import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mmsa_lightning.data.formats import standins, tensors
from mmsa_lightning.data.formats.standins import Array, Maker, Refused, Unread, as_bytes
from mmsa_lightning.errors import UserError

# How much a file may unfold to: it can hold an object once and refer to it many times.
FREELY = 1 << 28  # bytes
MOST = 32  # times the file's size, if that is more


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


def load_stream(stream: BinaryIO, name: str, size: int, storages: tensors.Storages | None = None) -> Any:
    """As :func:`load`, from the current position of ``stream``.

    Args:
        stream: the stream to read.
        name: its name in error messages.
        size: bytes that it may hold.
        storages: what the pickle's persistent ids stand for.

    Raises:
        UserError: as :func:`load`.
    """
    # The pickle would get cached extension codes without a call of find_class.
    copyreg.clear_extension_cache()
    try:
        value = _load_next(_Whole(stream, size), storages)
        if _unfolded(value, {}) > _limit(size):
            raise ValueError(f"it holds the same objects so often that they unfold to more than {_limit(size)} bytes")
        return value
    except Refused as refused:
        raise UserError(
            f"{name} asks for {refused} when it is loaded, which could run code: refused; "
            f"only numpy arrays, tensors and plain containers are read{refused.advice}"
        ) from None
    except Unread as unread:
        raise UserError(f"{name} holds {unread}") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"{name} is not a whole pickle of arrays ({type(error).__name__}: {error})") from error


def _load_next(whole: _Whole, storages: tensors.Storages | None = None) -> Any:
    """The next pickle of a stream. If it begins a ``torch.save`` file without an archive, the content of that."""
    value = _Restricted(whole, storages).load()
    return _load_saved(whole) if type(value) is int and value == tensors.MAGIC else value


def _load_saved(whole: _Whole) -> Any:
    """What follows the magic number: protocol, system, the object, the keys of its storages, and their numbers."""
    _protocol, system = _Restricted(whole).load(), _Restricted(whole).load()
    if not system["little_endian"]:
        raise ValueError("its tensors were written on a big-endian machine")
    storages = tensors.Storages(whole.left)
    value = _Restricted(whole, storages).load()
    keys = _Restricted(whole).load()
    if sorted(keys) != sorted(storages.by_key):
        raise ValueError("its storages are not those that its tensors name")
    for key in keys:
        flat = storages.by_key[key].flat
        if struct.unpack("<q", whole.read(8)) != (len(flat),):
            raise ValueError(f"the storage {key} does not have the size that its tensors name")
        flat.view(np.uint8)[:] = np.frombuffer(whole.read(flat.nbytes), np.uint8)
    return value


def _limit(size: int) -> int:
    return max(FREELY, MOST * size)


def _unfolded(value: Any, known: dict[int, float]) -> float:
    """Bytes that ``value`` would take if nothing in it were shared; infinite if it holds itself."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.nbytes
    if isinstance(value, str | bytes | bytearray):
        return 8 + len(value)
    if not isinstance(value, list | tuple | set | frozenset | dict | np.ndarray):
        return 8
    if id(value) not in known:
        known[id(value)] = math.inf
        items = value.items() if isinstance(value, dict) else value.flat if isinstance(value, np.ndarray) else value
        known[id(value)] = 8 + sum(_unfolded(item, known) for item in items)
    return known[id(value)]


def _load_from_bytes(data: Any) -> Any:
    """``torch.storage._load_from_bytes``: a storage that was pickled by itself."""
    raw = as_bytes(data)
    return _load_next(_Whole(io.BytesIO(raw), len(raw)))


def _rebuild(*args: Any) -> Array:
    return tensors.rebuild(*args).view(Array)


_MODULES: dict[str, dict[str, Maker]] = {
    "multiarray": {"_reconstruct": Maker(standins.reconstruct), "scalar": Maker(standins.scalar)},
    "numeric": {"_frombuffer": Maker(standins.frombuffer)},
    "numpy": {"ndarray": standins.NDARRAY, "dtype": Maker(standins.Dtype)},
    "builtins": {"set": Maker(set), "frozenset": Maker(frozenset), "bytes": Maker(lambda: b"")},
    "collections": {"OrderedDict": Maker(OrderedDict)},
    "_codecs": {"encode": Maker(standins.encode)},
    "torch._utils": {"_rebuild_tensor": Maker(_rebuild), "_rebuild_tensor_v2": Maker(_rebuild)},
    "torch.storage": {"_load_from_bytes": Maker(_load_from_bytes)},
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
    "torch._utils": "torch._utils",
    "torch.storage": "torch.storage",
}
_CONSTANTS: dict[tuple[str, str], str | None] = {
    ("pandas._libs.missing", "NA"): None,
    **{("torch", name): code for name, code in tensors.TYPES.items()},
}
_ADVICE = {
    "pandas": "; save what pandas holds as arrays, with .to_numpy(dtype=object), or as CSV",
    "torch": "; save other tensors as arrays, with .float().cpu().numpy()",
}


class _Whole:
    """A stream that is never read beyond its size, whatever lengths it claims."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream = stream
        self.left = size
        self.room = _limit(size)

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
    """Python's own function allocates the claimed length before it reads anything."""
    (length,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.append(bytearray(unpickler.read(length)))


def _counted(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Count the bytes that calls create: a few bytes in a pickle can create the same megabyte again and again."""

    def load_and_count(unpickler: Any) -> None:
        load(unpickler)
        unpickler.whole.room -= _weight(unpickler.stack[-1])
        if unpickler.whole.room < 0:
            raise ValueError("it makes far more than it holds")

    return load_and_count


def _weight(made: Any) -> int:
    if isinstance(made, np.ndarray):
        return made.nbytes
    if isinstance(made, tensors.Storage):
        return made.flat.nbytes
    if isinstance(made, bytes | set | frozenset | dict):
        return len(made) * (1 if isinstance(made, bytes) else 8)
    return 0


class _Restricted(pickle._Unpickler):
    """In Python, because the unpickler in C makes a table as long as the largest memo index in a pickle."""

    dispatch = pickle._Unpickler.dispatch | {
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.REDUCE[0]: _counted(pickle._Unpickler.dispatch[pickle.REDUCE[0]]),
        pickle.BUILD[0]: _counted(pickle._Unpickler.dispatch[pickle.BUILD[0]]),
    }

    def __init__(self, whole: _Whole, storages: tensors.Storages | None = None) -> None:
        # latin1 maps each byte of a Python 2 string to one character, so arrays' bytes survive.
        super().__init__(whole, encoding="latin1")
        self.whole = whole
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CONSTANTS:
            return _CONSTANTS[module, name]
        maker = _MODULES.get(_ALIASES.get(module, ""), {}).get(name)
        if maker is None:
            refused = Refused(f"{module}.{name}")
            refused.advice = _ADVICE.get(module.split(".")[0], "")
            raise refused
        return maker

    def persistent_load(self, pid: Any) -> Any:
        if self.storages is None:
            raise Refused(f"the persistent object {pid!r}")
        return self.storages(pid)
