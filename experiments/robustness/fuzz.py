"""Property-based fuzzing of the importer and of the store reader, by Hypothesis.

    python experiments/robustness/fuzz.py --minutes 10

A sound file of each kind is changed: bytes flipped, cut out, put in, repeated, the end cut off, numbers made huge.
Whatever comes out of it is read to the end, or refused as a mistake of the user: any other exception is a fault, as are
a file left behind and more than a GiB of memory.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import pickle
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_file, import_source
from mmsa_lightning.data.inspect import describe
from mmsa_lightning.data.store import SPLITS, Store
from mmsa_lightning.errors import UserError

HUGE = [struct.pack(code, value) for code in ("<I", "<Q", ">I", ">Q") for value in (2**31 - 1, 2**32 - 1)]
counts: collections.Counter[str] = collections.Counter()


def sound(folder: Path) -> dict[str, bytes]:
    """A whole file of each kind."""
    rng = np.random.default_rng(0)
    ids = {split: [f"v{i}$_${split}" for i in range(3)] for split in SPLITS}
    mmsa = {
        split: {
            "id": ids[split],
            "raw_text": np.array(["so it is"] * 3),
            "text_bert": np.ones((3, 3, 5), np.float32),
            "audio": rng.normal(size=(3, 5, 2)).astype(np.float32),
            "regression_labels": np.array([0.0, 1.0, -1.0]),
        }
        for split in SPLITS
    }
    mult = {
        s: {"id": np.array(ids[s], object), "labels": np.ones((3, 1, 1)), "audio": rng.normal(size=(3, 4, 2))}
        for s in SPLITS
    }
    steps = rng.normal(size=(2, 2))
    misa = {s: [((["so", "it"], steps, steps), np.array([[0.5]]), f"v{i}{s}[1]") for i in range(3)] for s in SPLITS}
    mmim = {
        s: [(([], steps, steps[:1], ["so"], 2, 1), np.array([[0.5]]), f"v{i}_{i}") for i in range(3)] for s in SPLITS
    }
    tensors = {
        split: part | {name: torch.from_numpy(part[name]) for name in ("text_bert", "audio")}
        for split, part in mmsa.items()
    }
    archive, before = io.BytesIO(), io.BytesIO()
    torch.save(tensors, archive)
    torch.save(tensors, before, _use_new_zipfile_serialization=False)
    table = "id,text,label,split\n" + "\n".join(f"v{i}$_${s},so it is,{i},{s}" for s in SPLITS for i in range(3))
    np.savez_compressed(
        folder / "x.npz", id=np.array([i for s in SPLITS for i in ids[s]]), features=rng.normal(size=(9, 2))
    )
    source = generate(0, dict.fromkeys(SPLITS, 3))
    import_source(source, folder / "x.h5", dataset="own", name="made", sha256="0", tokenizer="minilm")
    files = {f"{name} {p}": pickle.dumps(data, p) for name, data in (("mmsa", mmsa), ("mult", mult), ("misa", misa))
             for p in (0, 2, 4, 5)}  # fmt: skip
    files |= {f"tensors {p}": pickle.dumps(tensors, p) for p in (2, 5)} | {"mmim 4": pickle.dumps(mmim, 4)}
    return files | {
        "archive": archive.getvalue(),
        "before archives": before.getvalue(),
        "table": table.encode(),
        "npz": (folder / "x.npz").read_bytes(),
        "store": (folder / "x.h5").read_bytes(),
    }


@st.composite
def changed(draw: st.DrawFn, whole: bytes) -> bytes:
    """``whole`` after one to four changes."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "byte", "cut", "insert", "repeat", "end", "huge", "zero"]))
        span = draw(st.integers(1, 16))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + span]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif how == "repeat":
            data[at:at] = data[at : at + span] * draw(st.integers(1, 8))
        elif how == "end":
            del data[at:]
        elif how == "huge":
            data[at : at + 4] = draw(st.sampled_from(HUGE))
        elif how == "zero":
            data[at : at + span] = bytes(span)
    return bytes(data)


def survives(kind: str, data: bytes, folder: Path) -> None:
    """Read ``data`` as a file of this kind.

    Raises:
        Exception: whatever it ends with, other than in a result or in a :class:`UserError` of one line.
    """
    counts["tried"] += 1
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        try:
            with corpus.bounded_memory():
                _read(kind, data, place)
            counts["read"] += 1
        except UserError as error:
            counts["refused"] += 1
            assert str(error).strip()
        left = {path.name for path in place.iterdir()} - {"x.pkl", "x.pt", "x.csv", "x.npz", "x.h5", "out.h5"}
        assert not left, left


def _read(kind: str, data: bytes, place: Path) -> None:
    if kind == "store":
        path = place / "x.h5"
        path.write_bytes(data)
        store = Store(path)
        describe(store)
        for split in store.splits.values():
            for ragged in split.sequences.values():
                sum(block.sum() for block in ragged.blocks())
        return
    options: dict[str, Any] = {}
    source = place / {"table": "x.csv", "npz": "x.csv", "archive": "x.pt"}.get(kind, "x.pkl")
    if kind == "npz":
        source.write_text("id,text,label,split\n" + "\n".join(f"v{i}$_${s},a,0,{s}" for s in SPLITS for i in range(3)))
        options["audio"] = place / "x.npz"
        options["audio"].write_bytes(data)
    else:
        source.write_bytes(data)
    import_file(source, "own", place / "out.h5", **options)


def fuzz(kind: str, whole: bytes, folder: Path, examples: int, number: int) -> None:
    """Try ``examples`` changes of a file; ``number`` seeds which."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(changed(whole))
    def run(data: bytes) -> None:
        survives(kind, data, folder)

    run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    number = faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = sound(folder)
        while time.monotonic() < end:
            for kind, whole in files.items():
                try:
                    fuzz(kind, whole, folder, 100, number)
                except BaseException as error:
                    faults += 1
                    print(f"{kind}, seed {number}: {error!r}", *getattr(error, "__notes__", []), sep="\n  ", flush=True)
                    if isinstance(error, KeyboardInterrupt):
                        raise
            number += 1
    print(json.dumps(counts | {"faults": faults, "rounds": number}))
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
