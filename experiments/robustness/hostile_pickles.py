"""Pickles that run code, claim what they do not hold or unfold to more than memory, and what they are made of."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_lightning.data.store import SPLITS

MIB = 1 << 20


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def lines(*words: str) -> bytes:
    """A pickle of protocol 0."""
    return "\n".join(words).encode()


def text(words: str) -> bytes:
    """The opcode that puts a text on the stack."""
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def objects(*items: Any) -> np.ndarray:
    """An array of dtype object."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def pickles(trap: Path) -> dict[str, bytes]:
    """All of them; those that run code would make the file ``trap``."""
    return attacks(trap) | claims() | repeats() | others()


def attacks(trap: Path) -> dict[str, bytes]:
    """Each would make the file ``trap``, or reach for what could, if it ran."""
    shell, code = f"touch {trap}", f"open({str(trap)!r}, 'w')"
    call = Calls(os.system, shell)
    return {
        "os_system": lines("cos", "system", f"(S'{shell}'", "tR."),
        "posix_system": pickle.dumps(call),
        "posix_system_protocol_0": pickle.dumps(call, 0),
        "eval": pickle.dumps(Calls(eval, code)),
        "exec": pickle.dumps(Calls(exec, code)),
        "builtin_of_python_2": lines("c__builtin__", "eval", f'(S"{code}"', "tR."),
        "subprocess": pickle.dumps(Calls(subprocess.check_call, ["touch", str(trap)])),
        "inst": lines(f"(S'{shell}'", "ios", "system", "."),
        "obj": lines("(cos", "system", f"S'{shell}'", "o."),
        "newobj": b"\x80\x02csubprocess\nPopen\n]X\x05\x00\x00\x00toucha" + text(str(trap)) + b"a\x85\x81.",
        "newobj_of_an_admitted_name": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        "build": b"\x80\x02ccollections\nOrderedDict\n)R}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb"
        + text(shell)
        + b"b.",
        # BUILD with a pair sets attributes: of an admitted name it would change what later pickles get.
        "setattr_on_an_admitted_name": b"\x80\x02cnumpy\ndtype\nN}X\x05\x00\x00\x00_makecbuiltins\nset\ns\x86b.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\tos.system\x93\x8c" + bytes([len(shell)]) + shell.encode() + b"\x85R.",
        "dotted_to_globals": b"\x80\x04\x8c\x0bcollections\x8c\x1dOrderedDict.__init__.__globals__\x93.",
        "extension": b"\x80\x02\x82\xf0" + text(shell) + b"\x85R.",
        "persistent": lines(f"P{shell}", "."),
        "codec": lines("c_codecs", "decode", f"(S'{shell}'", "S'rot13'", "tR."),
        "codec_of_an_admitted_name": lines("c_codecs", "encode", "(S'x'", "S'rot13'", "tR."),
        "runstring": lines("cnumpy.testing._private.utils", "runstring", f'(S"{code}"', "(dtR."),
        "numpy_load": lines("cnumpy", "load", f"(S'{trap}'", "tR."),
        "torch_load": lines("ctorch", "load", f"(S'{trap}'", "tR."),
        "getattr": pickle.dumps(Calls(getattr, np.ndarray, "tofile")),
        "partial": lines("cfunctools", "partial", "(cos", "system", f"S'{shell}'", "tR(tR."),
        "factory": lines("ccollections", "defaultdict", "(cos", "system", "tR."),
        "any_class": lines("ccopy_reg", "_reconstructor", "(csubprocess", "Popen", "c__builtin__", "object", "NtR."),
        "ndarray_called": lines("cnumpy", "ndarray", "((I4", "ttR."),
        "ndarray_of_another_class": lines(
            "cnumpy._core.multiarray", "_reconstruct", "(cbuiltins", "set", "(I0", "tS'b'", "tR."
        ),
        "in_an_array_of_objects": pickle.dumps({"train": {"id": objects(call, 1)}}),
        "in_two_arrays_of_objects": pickle.dumps({"train": [(objects(objects(Calls(eval, code)), 1), 1)]}),
        "a_tensor_that_runs_code": pickle.dumps({"audio": torch.ones(2), "id": call}),
        "a_storage_that_runs_code": pickle.dumps(Calls(torch.storage._load_from_bytes, pickle.dumps(call))),
    }


def claims() -> dict[str, bytes]:
    """Bytes, a text, a bytearray and a frame of a length that the file does not have."""
    long = struct.pack("<Q", 1 << 50)
    return {
        "terabytes": b"\x80\x04\x8e" + long + b"x.",
        "terabytes_of_text": b"\x80\x04\x8d" + long + b"x.",
        "bytearray": b"\x80\x05\x96" + long + b"x.",
        "frame": b"\x80\x04\x95" + long + b"x.",
    }


def repeats() -> dict[str, bytes]:
    """Small files that refer to the same objects so often that they unfold to more than memory."""
    array = np.zeros(MIB // 8)
    return {
        "one_list_many_times": pickle.dumps({s: {"id": _nested(40), "regression_labels": [0.0]} for s in SPLITS}),
        "labels_many_times": pickle.dumps({s: {"id": ["a"], "regression_labels": _nested(40)} for s in SPLITS}),
        "an_id_of_lists": pickle.dumps({s: {"id": objects(_nested(40), 1), "regression_labels": [0]} for s in SPLITS}),
        "one_array_many_times": _splits([_utterance(array)] * 4000),
        "one_array_in_arrays_of_objects": _splits([objects(array, None)] * 4000),
        "one_text_many_times": _splits([_utterance(np.zeros((1, 1)), ["x" * MIB])] * 4000),
        "a_list_in_itself": b"\x80\x02]q\x00h\x00a.",
    }


def others() -> dict[str, bytes]:
    """Damaged or malformed ones, and calls that make the same again and again."""
    array = pickle.dumps(np.arange(4.0), 2)
    of_bytes = b"ctorch.storage\n_load_from_bytes\nh\x00"
    return {
        "pointers": array.replace(b"f8", b"O8"),
        "fields": array.replace(b"f8", b"V8"),
        "cut_off": array[: len(array) // 2],
        "no_pickle": b"\x00" * 64,
        "long_number": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "a_text_encoded_many_times": calls_again(text("x" * MIB), b"c_codecs\nencode\nh\x00", 4000),
        "a_storage_of_petabytes": _storage(storage(1 << 50)),
        "a_storage_below_0": _storage(storage(-1)),
        "a_storage_without_its_numbers": _storage(storage(3))[:-8],
        "a_storage_made_many_times": calls_again(
            b"B" + struct.pack("<I", MIB) + storage(MIB // 8).ljust(MIB, b"\0"), of_bytes, 4000),
        "a_tensor_past_its_storage": _tensor(1, (4,), (1,)),
        "a_tensor_before_its_storage": _tensor(-1, (4,), (1,)),
        "a_tensor_backwards": _tensor(3, (4,), (-1,)),
        "a_tensor_of_one_number_many_times": _tensor(0, (1 << 40,), (0,)),
        "a_tensor_of_other_axes": _tensor(0, (2, 1 << 62), (0,)),
        "numbers_for_splits": pickle.dumps(dict.fromkeys(SPLITS, 1)),
        "complex": pickle.dumps({s: {"id": ["a"], "regression_labels": [1j]} for s in SPLITS}),
    }  # fmt: skip


def calls_again(value: bytes, call: bytes, times: int) -> bytes:
    """A pickle of ``value`` that makes ``call`` so often and drops what it gives; the value is 0 in its memo."""
    return b"\x80\x02" + value + b"q\x00" + (call + b"\x85R0") * times + b"."


def storage(
    count: int = 3,
    kind: str = "torch.DoubleStorage",
    numbers: bytes = struct.pack("<3d", 1, 2, 3),
    *,
    keys: tuple[str, ...] = ("0",),
    stated: int | None = None,
    little: bool = True,
) -> bytes:
    """What ``torch.storage._load_from_bytes`` is given: torch's format of before archives.

    Args:
        count: elements that the storage claims.
        kind: its type.
        numbers: its bytes.
        keys: of the storages that follow.
        stated: elements as they stand before the bytes; ``count`` if None.
        little: whether it says that it is of a little-endian machine.
    """
    pid = b"(X\x07\x00\x00\x00storagec" + "\n".join([*kind.rsplit(".", 1), ""]).encode() + text("0") + text("cpu")
    return b"".join(
        [
            *(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": little})),
            b"\x80\x02" + pid + b"\x8a\x08" + struct.pack("<q", count) + b"NtQ.",
            pickle.dumps(list(keys), 2),
            struct.pack("<q", count if stated is None else stated) + numbers,
        ]
    )


def tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Calls:
    """Pickles as torch pickles a tensor."""
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


def floats(count: int) -> torch.storage.TypedStorage:
    """A storage of float32 ones."""
    return torch.storage.TypedStorage(
        wrap_storage=torch.ones(count).untyped_storage(), dtype=torch.float32, _internal=True
    )


def rewrite(path: Path, alter: Callable[[str, bytes], tuple[Any, ...] | None]) -> None:
    """Write an archive anew.

    Args:
        path: of the archive.
        alter: what a member becomes, by its name and data: its data, and how it is compressed; None leaves it out.
    """
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if (new := alter(name, data)) is not None:
                archive.writestr(name, *new)


def _storage(data: bytes) -> bytes:
    return pickle.dumps({"train": {"labels": Calls(torch.storage._load_from_bytes, data)}})


def _tensor(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """On a storage of four numbers."""
    call = tensor(floats(4), offset, size, stride)
    return pickle.dumps({s: {"id": ["a"], "regression_labels": [0.5], "audio": call} for s in SPLITS})


def _nested(depth: int) -> list[Any]:
    made: list[Any] = [0.0]
    for _ in range(depth):
        made = [made, made]
    return made


def _splits(fold: list[Any]) -> bytes:
    return pickle.dumps(dict.fromkeys(SPLITS, fold))


def _utterance(steps: np.ndarray, words: list[str] | None = None) -> tuple[Any, ...]:
    """As MAG-BERT's pickle holds it."""
    return (words or ["a"], steps.reshape(1, -1), steps.reshape(1, -1)), np.zeros((1, 1)), "v[1]"
