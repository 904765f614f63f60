"""Files and overrides that are broken or mean harm, each with the command that meets it.

``python experiments/robustness/corpus.py`` runs all of them and counts; ``tests/integration/test_hostile.py`` runs the
same. Every command must end with exit code 2 and one line, without having run anything of the file's, written anything,
or taken a GiB of memory.
"""

from __future__ import annotations

import io
import os
import pickle
import resource
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from broken_stores import BREAKS, replace, store
from hostile_pickles import Calls, objects, pickles, rewrite

from mmsa_lightning import cli
from mmsa_lightning.data.store import SPLITS

Case = Callable[[Path], list[str]]  # writes into a folder, returns what follows `mmsa`
CASES: dict[str, Case] = {}
GIB = 1 << 30


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def imported(path: Path) -> list[str]:
    return ["data", "import", str(path), "--dataset", "mosi", "--out", str(path.parent / "out" / "mosi.h5")]


# Pickles. What they run would make the file `ran`.


def _pickle(name: str) -> Case:
    def make(folder: Path) -> list[str]:
        path = folder / "x.pkl"
        path.write_bytes(pickles(folder / "ran")[name])
        return imported(path)

    return make


CASES |= {f"pickle_{name}": _pickle(name) for name in pickles(Path("ran"))}


# Files of torch.save.


def _archive(name: str, alter: Callable[[str, bytes], tuple[Any, ...] | None], **more: Any) -> None:
    def make(folder: Path) -> list[str]:
        path = folder / "x.pt"
        calls = {key: Calls(os.system, f"touch {folder / 'ran'}") for key in more}
        torch.save({"train": {"labels": torch.ones(1 << 10)}} | calls, path)
        rewrite(path, alter)
        return imported(path)

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
    path = folder / "x.pt"
    torch.save({"train": {"labels": torch.ones(9)}}, path)
    path.write_bytes(path.read_bytes()[:-100])
    return imported(path)


# Stores.


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
        return imported(path)

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
        return [*imported(table), "--audio", str(path)]

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


def _objects(path: Path) -> None:
    np.savez(path, id=objects(Calls(os.system, f"touch {path.parent / 'ran'}"), 1, 2), features=np.zeros((3, 2)))


_npz("of_objects", _objects)
_npz("of_terabytes", member("features", header("(3, 1099511627776)")))
_npz("of_negative_size", member("features", header("(3, -1)") + b"x" * 12))
_npz("that_unpacks_a_thousandfold", member("features", header("(3, 10000000)") + bytes(120_000_000)))
_npz("with_code_for_a_header", member("features", header("__import__('os').system('touch ran')")))
_npz("with_lengths_below_0", lambda path: np.savez(path, id=np.array(["a", "b"]), features=np.zeros((3, 2)),
                                                   lengths=np.array([4, -1])))  # fmt: skip
_npz("of_one_array_many_times", lambda path: np.savez(path, id=np.array(["a"]), features=objects(
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
