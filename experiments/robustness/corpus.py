"""Files and overrides that are broken or mean harm, each with the command that meets it.

``python experiments/robustness/corpus.py`` runs all of them and counts; ``tests/integration/test_hostile.py`` runs the
same. Every command must end with exit code 2 and one line, without having run anything of the file's, written anything,
or taken a GiB of memory.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from mmsa_lightning import cli
from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.data.store import SPLITS

Case = Callable[[Path], list[str]]  # writes into a folder, returns what follows `mmsa`
CASES: dict[str, Case] = {}
GIB = 1 << 30


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


# Pickles. What they run would make the file `ran`.


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def lines(*words: str) -> bytes:
    return "\n".join(words).encode()


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def _objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def pickles(trap: Path) -> dict[str, bytes]:
    shell, code = f"touch {trap}", f"open({str(trap)!r}, 'w')"
    call = Calls(os.system, shell)
    array = pickle.dumps(np.arange(4.0), 2)
    long = struct.pack("<Q", 1 << 50)
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
        "build": b"\x80\x02ccollections\nOrderedDict\n)R}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb"
        + text(shell)
        + b"b.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\tos.system\x93\x8c" + bytes([len(shell)]) + shell.encode() + b"\x85R.",
        "extension": b"\x80\x02\x82\xf0" + text(shell) + b"\x85R.",
        "persistent": lines(f"P{shell}", "."),
        "codec": lines("c_codecs", "decode", f"(S'{shell}'", "S'rot13'", "tR."),
        "runstring": lines("cnumpy.testing._private.utils", "runstring", f'(S"{code}"', "(dtR."),
        "numpy_load": lines("cnumpy", "load", f"(S'{trap}'", "tR."),
        "torch_load": lines("ctorch", "load", f"(S'{trap}'", "tR."),
        "getattr": pickle.dumps(Calls(getattr, np.ndarray, "tofile")),
        "partial": lines("cfunctools", "partial", "(cos", "system", f"S'{shell}'", "tR(tR."),
        "in_an_array_of_objects": pickle.dumps({"train": {"id": _objects(call, 1)}}),
        "in_two_arrays_of_objects": pickle.dumps({"train": [(_objects(_objects(Calls(eval, code)), 1), 1)]}),
        "pointers": array.replace(b"f8", b"O8"),
        "fields": array.replace(b"f8", b"V8"),
        "cut_off": array[: len(array) // 2],
        "no_pickle": b"\x00" * 64,
        "terabytes": b"\x80\x04\x8e" + long + b"x.",
        "bytearray": b"\x80\x05\x96" + long + b"x.",
        "frame": b"\x80\x04\x95" + long + b"N.",
        "long_number": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "one_list_many_times": pickle.dumps({s: {"id": _nested(40), "regression_labels": [0.0]} for s in SPLITS}),
        "labels_many_times": pickle.dumps({s: {"id": ["a"], "regression_labels": _nested(40)} for s in SPLITS}),
        "an_id_of_lists": pickle.dumps({s: {"id": _objects(_nested(40), 1), "regression_labels": [0]} for s in SPLITS}),
        "one_array_many_times": _splits([_fold(np.zeros(1 << 17))] * 4000),
        "one_text_many_times": _splits([_fold(np.zeros((1, 1)), ["x" * (1 << 20)])] * 4000),
        "a_text_encoded_many_times": b"\x80\x02" + text("x" * (1 << 20)) + b"q\x00"
        + b"c_codecs\nencode\nh\x00\x85R0" * 4000 + b".",
        "a_list_in_itself": b"\x80\x02]q\x00h\x00a.",
        "a_tensor_that_runs_code": pickle.dumps({"audio": torch.ones(2), "id": call}),
        "a_storage_that_runs_code": pickle.dumps(Calls(torch.storage._load_from_bytes, pickle.dumps(call))),
        "a_storage_of_petabytes": _storage(1 << 50),
        "a_storage_below_0": _storage(-1),
        "a_storage_without_its_numbers": _storage(3)[:-8],
        "a_storage_made_many_times": b"\x80\x02" + b"B" + struct.pack("<I", 1 << 20)
        + _saved(1 << 17).ljust(1 << 20, b"\0") + b"q\x00"
        + b"ctorch.storage\n_load_from_bytes\nh\x00\x85R0" * 4000 + b".",
        "a_tensor_past_its_storage": _tensor(1, (4,), (1,)),
        "a_tensor_before_its_storage": _tensor(-1, (4,), (1,)),
        "a_tensor_backwards": _tensor(3, (4,), (-1,)),
        "a_tensor_of_one_number_many_times": _tensor(0, (1 << 40,), (0,)),
        "a_tensor_of_other_axes": _tensor(0, (2, 1 << 62), (0,)),
        "numbers_for_splits": pickle.dumps(dict.fromkeys(SPLITS, 1)),
        "complex": pickle.dumps({s: {"id": ["a"], "regression_labels": [1j]} for s in SPLITS}),
    }  # fmt: skip


def _nested(depth: int) -> list[Any]:
    made: list[Any] = [0.0]
    for _ in range(depth):
        made = [made, made]
    return made


def _splits(fold: list[Any]) -> bytes:
    return pickle.dumps(dict.fromkeys(SPLITS, fold))


def _fold(steps: np.ndarray, words: list[str] | None = None) -> tuple[Any, ...]:
    return (words or ["a"], steps.reshape(1, -1), steps.reshape(1, -1)), np.zeros((1, 1)), "v[1]"


def _saved(count: int) -> bytes:
    """A storage of so many float64 as torch pickles it, with three numbers behind it."""
    key = b"X\x01\x00\x00\x000"
    pid = b"(X\x07\x00\x00\x00storagectorch\nDoubleStorage\n" + key + b"X\x03\x00\x00\x00cpu\x8a\x08"
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return (
        b"".join(pickle.dumps(part, 2) for part in parts)
        + b"\x80\x02" + pid + struct.pack("<q", count) + b"NtQ."
        + pickle.dumps(["0"], 2) + struct.pack("<q3d", count, 1, 2, 3)
    )  # fmt: skip


def _storage(count: int) -> bytes:
    return pickle.dumps({"train": {"labels": Calls(torch.storage._load_from_bytes, _saved(count))}})


def _tensor(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """On a storage of four numbers."""
    flat = torch.storage.TypedStorage(wrap_storage=torch.ones(4).untyped_storage(), dtype=torch.float32, _internal=True)
    call = Calls(torch._utils._rebuild_tensor_v2, flat, offset, size, stride, False, OrderedDict())
    return pickle.dumps({s: {"id": ["a"], "regression_labels": [0.5], "audio": call} for s in SPLITS})


def _pickle(name: str) -> Case:
    def make(folder: Path) -> list[str]:
        path = folder / "x.pkl"
        path.write_bytes(pickles(folder / "ran")[name])
        return ["data", "import", str(path), "--dataset", "mosi", "--out", str(folder / "out" / "mosi.h5")]

    return make


CASES |= {f"pickle_{name}": _pickle(name) for name in pickles(Path("ran"))}


# Files of torch.save.


def _archive(name: str, alter: Callable[[str, bytes], tuple[Any, ...] | None], **more: Any) -> None:
    def make(folder: Path) -> list[str]:
        path, buffer = folder / "x.pt", io.BytesIO()
        calls = {key: Calls(os.system, f"touch {folder / 'ran'}") for key in more}
        torch.save({"train": {"labels": torch.ones(1 << 10)}} | calls, buffer)
        with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as archive:
            for member in whole.namelist():
                if (new := alter(member, whole.read(member))) is not None:
                    archive.writestr(member, *new)
        return ["data", "import", str(path), "--dataset", "mosi", "--out", str(folder / "out" / "mosi.h5")]

    CASES[f"archive_{name}"] = make


def _only(end: str, alter: Callable[[bytes], tuple[Any, ...] | None]) -> Callable[[str, bytes], tuple[Any, ...] | None]:
    return lambda name, data: alter(data) if name.endswith(end) else (data,)


_archive("that_runs_code", lambda name, data: (data,), trap=True)
_archive("of_petabytes", _only("data.pkl", lambda data: (data.replace(b"M\x00\x04", b"J\xff\xff\xff\x7f"),)))
_archive("that_unpacks_a_thousandfold", _only("data/0", lambda data: (bytes(1 << 27), zipfile.ZIP_DEFLATED)))
_archive("with_a_pickle_that_unpacks_a_thousandfold",
         _only("data.pkl", lambda data: (b"\x80\x02B" + struct.pack("<I", 1 << 27) + bytes(1 << 27),
                                         zipfile.ZIP_DEFLATED)))  # fmt: skip
_archive("with_a_byte_order_that_unpacks_a_thousandfold",
         _only("byteorder", lambda data: (bytes(1 << 27), zipfile.ZIP_DEFLATED)))  # fmt: skip
_archive("without_its_numbers", _only("data/0", lambda data: None))
_archive("without_its_pickle", _only("data.pkl", lambda data: None))


@case
def archive_cut_off(folder: Path) -> list[str]:
    torch.save({"train": {"labels": torch.ones(9)}}, folder / "x.pt")
    (folder / "x.pt").write_bytes((folder / "x.pt").read_bytes()[:-100])
    return ["data", "import", str(folder / "x.pt"), "--dataset", "mosi", "--out", str(folder / "out" / "mosi.h5")]


# Stores.


def store(folder: Path) -> Path:
    path = folder / "x.h5"
    counts = dict.fromkeys(SPLITS, 8)
    import_source(generate(0, counts), path, dataset="own", name="made", sha256="0", tokenizer="minilm")
    return path


def replace(file: h5py.File, name: str, values: Any, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, data=values, **options)


def no_label(file: h5py.File) -> None:
    del file["train/label"]


def labels_of_text(file: h5py.File) -> None:
    replace(file, "train/label", ["a"] * 8)


def labels_not_finite(file: h5py.File) -> None:
    file["valid/label"][0] = np.nan


def soft_link(file: h5py.File) -> None:
    del file["test/audio/values"]
    file["test/audio/values"] = h5py.SoftLink("/train/audio/values")


def link_to_a_file(file: h5py.File) -> None:
    del file["test"]
    file["test"] = h5py.ExternalLink("/etc/passwd", "/")


def unimodal_elsewhere(file: h5py.File) -> None:
    del file["train/unimodal"]
    file["train/unimodal"] = h5py.ExternalLink("/etc/passwd", "/")


def values_in_a_file(file: h5py.File) -> None:
    del file["train/label"]
    external = [("/etc/passwd", 0, 32)]
    file.create_dataset("train/label", (8,), np.float32, external=external)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8,))
    del file["train/label"]
    file.create_virtual_dataset("train/label", layout)


def terabytes_of_labels(file: h5py.File) -> None:
    del file["train/label"]
    file.create_dataset("train/label", (1 << 42,), np.float32, chunks=(1 << 20,))


def terabytes_of_offsets(file: h5py.File) -> None:
    del file["train/audio/offsets"]
    file.create_dataset("train/audio/offsets", (1 << 42,), np.int64, chunks=(1 << 20,))


def a_bomb(file: h5py.File) -> None:
    replace(file, "train/audio/values", np.zeros((1 << 16, 64), np.float32), compression="gzip")


def offsets_that_overlap(file: h5py.File) -> None:
    file["train/audio/offsets"][1] = 0


def offsets_past_the_end(file: h5py.File) -> None:
    file["train/audio/offsets"][-1] += 7


def offsets_of_floats(file: h5py.File) -> None:
    replace(file, "train/audio/offsets", file["train/audio/offsets"][:].astype(np.float64))


def tokens_below_zero(file: h5py.File) -> None:
    file["train/tokens/values"][0] = -5


def tokens_of_floats(file: h5py.File) -> None:
    replace(file, "train/tokens/values", file["train/tokens/values"][:].astype(np.float32))


def no_features(file: h5py.File) -> None:
    replace(file, "train/audio/values", np.zeros((len(file["train/audio/values"]), 0), np.float32))


def other_widths(file: h5py.File) -> None:
    replace(file, "test/audio/values", np.zeros((len(file["test/audio/values"]), 3), np.float32))


def a_group_for_values(file: h5py.File) -> None:
    del file["train/audio/values"]
    file.create_group("train/audio/values")


def another_schema(file: h5py.File) -> None:
    file.attrs["format"] = "mmsa-lightning store 99"


def meta_of_lists(file: h5py.File) -> None:
    meta = json.loads(file.attrs["meta"])
    file.attrs["meta"] = json.dumps(meta | {"content_sha256": [1], "report": "x"})


def nobody(file: h5py.File) -> None:
    replace(file, "train/id", np.array([], object), dtype=h5py.string_dtype())
    replace(file, "train/label", np.zeros(0, np.float32))


def _store(breaks: Callable[[h5py.File], None]) -> Case:
    def make(folder: Path) -> list[str]:
        path = store(folder)
        with h5py.File(path, "r+") as file:
            breaks(file)
        return ["train", "data=own", f"data.path={path}", *_small(folder)]

    return make


def _small(folder: Path) -> list[str]:
    return [
        f"runs={folder / 'out'}",
        "text_encoder=minilm",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "trainer.enable_progress_bar=false",
        "model=lmf",
        "text=features",
        "hydra.mode=RUN",
    ]


BREAKS = (
    no_label, labels_of_text, labels_not_finite, soft_link, link_to_a_file, unimodal_elsewhere, values_in_a_file,
    virtual, terabytes_of_labels, terabytes_of_offsets, a_bomb, offsets_that_overlap, offsets_past_the_end,
    offsets_of_floats, tokens_below_zero, tokens_of_floats, no_features, other_widths, a_group_for_values,
    another_schema, meta_of_lists, nobody,
)  # fmt: skip
CASES |= {f"store_{function.__name__}": _store(function) for function in BREAKS}


@case
def store_cut_off(folder: Path) -> list[str]:
    path = store(folder)
    path.write_bytes(path.read_bytes()[:-2000])
    return ["data", "inspect", str(path)]


@case
def store_of_one_long_id_many_times(folder: Path) -> list[str]:
    """Every element of ``id`` refers to the one string of a MiB."""
    path = store(folder)
    with h5py.File(path, "r+") as file:
        replace(file, "train/id", ["x" * (1 << 20)] + ["y"] * 7, dtype=h5py.string_dtype())
        at = file["train/id"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[at : at + 8 * 16] = data[at : at + 16] * 8
    path.write_bytes(data)
    return ["data", "inspect", str(path)]


@case
def store_of_noise(folder: Path) -> list[str]:
    path = folder / "x.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 8)
    return ["data", "inspect", str(path)]


# Tables and .npz files.

ROWS = [f"v$_${i},so it is,{i - 1},{split}" for i, split in enumerate(SPLITS)]


def _table(name: str, text: bytes, *, head: bytes = b"id,text,label,split\n") -> None:
    def make(folder: Path) -> list[str]:
        path = folder / "x.csv"
        path.write_bytes(head + text)
        return ["data", "import", str(path), "--dataset", "mosi", "--out", str(folder / "out" / "mosi.h5")]

    CASES[f"table_{name}"] = make


_table("with_zero_bytes", b"v$_$0,a\x00b,1,train\n")
_table("not_in_utf_8", b"v$_$0,\xff\xfe,1,train\n")
_table("with_an_open_quote", b'v$_$0,"so,1,train\n')
_table("with_a_huge_field", b"v$_$0," + b"x" * 200_000 + b",1,train\n")
_table("with_a_label_that_is_none", b"v$_$0,so,nan,train\n")
_table("with_a_label_out_of_range", "\n".join([*ROWS, "w$_$0,so,1e300,train"]).encode())
_table("with_a_column_more", b"v$_$0,so,1,train,2\n")
_table("without_columns", b"", head=b"")


def _npz(name: str, write: Callable[[Path], None]) -> None:
    def make(folder: Path) -> list[str]:
        table, path = folder / "x.csv", folder / "x.npz"
        table.write_text("id,text,label,split\n" + "\n".join(ROWS))
        write(path)
        out = str(folder / "out" / "mosi.h5")
        return ["data", "import", str(table), "--dataset", "mosi", "--audio", str(path), "--out", out]

    CASES[f"npz_{name}"] = make


def member(name: str, data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        np.savez(path, id=np.array([f"v$_${i}" for i in range(3)]))
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.npy", data)

    return write


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def objects(path: Path) -> None:
    np.savez(path, id=_objects(Calls(os.system, f"touch {path.parent / 'ran'}"), 1, 2), features=np.zeros((3, 2)))


_npz("of_objects", objects)
_npz("of_terabytes", member("features", header("(3, 1099511627776)")))
_npz("of_negative_size", member("features", header("(3, -1)") + b"x" * 12))
_npz("that_unpacks_a_thousandfold", member("features", header("(3, 10000000)") + bytes(120_000_000)))
_npz("with_code_for_a_header", member("features", header("__import__('os').system('touch ran')")))
_npz("with_lengths_below_0", lambda path: np.savez(path, id=np.array(["a", "b"]), features=np.zeros((3, 2)),
                                                   lengths=np.array([4, -1])))  # fmt: skip
_npz("of_one_array_many_times", lambda path: np.savez(path, id=np.array(["a"]), features=_objects(
    *[np.zeros((1, 1 << 17))] * 4000)))  # fmt: skip
_npz("with_a_dtype_of_objects", member("features", header("(3, 2)", "'|O'") + pickle.dumps(Calls(eval, "1"))))
_npz("that_is_none", lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 40))
_npz("with_lengths_that_do_not_add_up", lambda path: np.savez(path, id=np.array(["a"]), features=np.zeros((3, 2)),
                                                              lengths=np.array([9])))  # fmt: skip


# Checkpoints: the last of a run that was killed.


def _checkpoint(name: str, spoil: Callable[[Path], None]) -> None:
    def make(folder: Path) -> list[str]:
        arguments = ["data=own", f"data.path={store(folder)}", *_small(folder)]
        keep = [*arguments, "keep_last=true", "trainer.max_epochs=2", "ckpt_path=last"]
        with redirect_stdout(io.StringIO()):
            cli.main(["train", *keep])
        (last,) = (folder / "out").rglob("last.ckpt")
        (last.parents[1] / "result.json").unlink()
        spoil(last)
        return ["train", *keep]

    CASES[f"checkpoint_{name}"] = make


def change(name: str, alter: Callable[[dict[str, Any]], Any]) -> None:
    def spoil(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        torch.save(alter(state) or state, path)

    _checkpoint(name, spoil)


def _runs_code(path: Path) -> None:
    trap = next(parent for parent in path.parents if (parent / "x.h5").exists()) / "ran"
    torch.save({"state_dict": Calls(os.system, f"touch {trap}")}, path)


def _old_format_that_runs_code(path: Path) -> None:
    trap = next(parent for parent in path.parents if (parent / "x.h5").exists()) / "ran"
    torch.save(Calls(os.system, f"touch {trap}"), path, _use_new_zipfile_serialization=False)


_checkpoint("that_runs_code", _runs_code)
_checkpoint("of_the_old_format_that_runs_code", _old_format_that_runs_code)
_checkpoint("cut_off", lambda path: path.write_bytes(path.read_bytes()[:5000]))
_checkpoint("of_noise", lambda path: path.write_bytes(b"\x80\x02" + bytes(range(256))))
_checkpoint("empty", lambda path: path.write_bytes(b""))
change("of_a_list", lambda state: [1, 2])
change("without_weights", lambda state: state.pop("state_dict") and None)
change("without_loops", lambda state: state.update(loops=3))
change("of_other_data", lambda state: state.update(StoreDataModule={"data_hash": "0"}))
change("with_weights_of_another_shape", lambda state: state["state_dict"].update(
    {name: torch.zeros(7, 7) for name in state["state_dict"]}))  # fmt: skip
change("with_weights_of_another_model", lambda state: state.update(state_dict={"model.x": torch.zeros(1)}))
change("with_another_optimiser", lambda state: state.update(optimizer_states=[{"state": {}, "param_groups": []}]))


# Overrides.


def _override(name: str, *words: str) -> None:
    def make(folder: Path) -> list[str]:
        trap = folder / "ran"
        small = [word for word in _small(folder) if not word.startswith("model=")]
        path = store(folder)
        return ["train", "data=own", f"data.path={path}", *small, *(word.replace("TRAP", str(trap)) for word in words)]

    CASES[f"override_{name}"] = make


_override("model", "model._target_=os.system", "+model.command='touch TRAP'")
_override("objective", "objective._target_=subprocess.run", "+objective.args='touch TRAP'")
_override("data", "data._target_=builtins.exec")
_override("nested", "+model.inner={_target_: os.system, command: 'touch TRAP'}")
_override("of_our_package", "model._target_=mmsa_lightning.models.lmf.os.system")
_override("through_a_path", "model._target_=mmsa_lightning.models...os.system")
_override("hydra_callback", "+hydra.callbacks.x={_target_: os.system, command: 'touch TRAP'}")
_override("hydra_launcher", "hydra.launcher._target_=os.system", "-m")
_override("hydra_logging", "+hydra.job_logging.handlers.x={'()': os.system, command: 'touch TRAP'}")
_override("run_directory", "hydra.run.dir=../../out")
_override("runs", "runs=../out")
_override("seed", "seed=../../../ran")


def check(name: str, folder: Path) -> str | None:
    """Run one; what is wrong with how it ended, or None."""
    arguments = CASES[name](folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    errors = io.StringIO()
    code: Any = 0
    with bounded_memory(), redirect_stdout(io.StringIO()), redirect_stderr(errors):
        try:
            cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:
            return f"a traceback: {error!r}"
    text = errors.getvalue().strip()
    if (folder / "ran").exists() or Path("ran").exists():
        return "it ran code"
    if code != 2 or len(text.splitlines()) != 1 or "Traceback" in text:
        return f"exit code {code}, {text!r}"
    if {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} != before:
        return "it left or changed a file"
    return None


@contextmanager
def bounded_memory() -> Iterator[None]:
    """No more than 1 GiB of address space above what the process has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIB, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def main() -> None:
    wrong = 0
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            said = check(name, Path(folder))
        wrong += said is not None
        if said:
            print(f"{name}: {said}")
    kinds = [name.split("_")[0] for name in CASES]
    print(f"{len(CASES)} cases ({', '.join(f'{kinds.count(k)} {k}' for k in dict.fromkeys(kinds))}), {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
