"""Memory that a data set as large as CMU-MOSEI takes: to import it, and to train on its store.

    python experiments/benchmarks/memory.py                         # 22 856 utterances x 50 steps x (768 + 74 + 35)
    python experiments/benchmarks/memory.py --counts 1600 200 400   # a tenth of it

No utterance has padding, which is the hardest case: the store is as large as the pickle. Printed are the import's peak
against the pickle, and how far training grows beyond the process that has imported everything and opened nothing.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
from pathlib import Path

import child
import numpy as np

STEPS = 50
WIDTHS = {"text": 768, "audio": 74, "vision": 35}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs=3, default=[16326, 1871, 4659], help="train, valid, test")
    parser.add_argument("--model", default="lmf", help="trained for one epoch on the features")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), dict(zip(("train", "valid", "test"), args.counts, strict=True)), args.model)


def measure(folder: Path, counts: dict[str, int], model: str) -> None:
    """Write the pickle, import it, train on it; print a line of each."""
    source, store = folder / "aligned_50.pkl", folder / "mosei.h5"
    write(source, counts)
    size = source.stat().st_size / 2**20
    peak = child.imported(source, store)
    print(f"import: a pickle of {size:.0f} MiB, at most {peak:.0f} MiB resident, {peak / size:.2f} times the pickle")
    source.unlink()
    overrides = [f"model={model}", "data=own", "text=features", "trainer.accelerator=cpu"]
    found = child.ours(overrides + child.settings(store, 1, folder / "runs"))
    peak, empty = found["peak"], found["empty"]
    print(
        f"training: {model} on a store of {store.stat().st_size / 2**20:.0f} MiB, at most {peak:.0f} MiB resident, "
        f"{peak - empty:.0f} MiB more than the {empty:.0f} MiB before it"
    )


def write(path: Path, counts: dict[str, int]) -> None:
    """A pickle in the layout of MMSA's, of noise."""
    rng = np.random.default_rng(0)
    splits = {
        split: {
            "id": np.array([f"{split}$_${i}" for i in range(n)]),
            **{m: rng.standard_normal((n, STEPS, width), np.float32) for m, width in WIDTHS.items()},
            "regression_labels": rng.uniform(-3, 3, n).astype(np.float32),
        }
        for split, n in counts.items()
    }
    with path.open("wb") as file:
        pickle.dump(splits, file, protocol=4)


if __name__ == "__main__":
    main()
