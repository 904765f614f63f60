"""Training utterances a second, and tokens a second, against length, batch size and number of utterances.

    python experiments/benchmarks/grid.py [--out FOLDER]

The paper's model with MiniLM on made-up utterances; each point is the median of some steps, loader included. Draws
``grid.png`` and prints what is in it, with how many utterances a second the loader alone delivers.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import made
from matplotlib.figure import Figure
from steps import Steps

from mmsa_lightning.training.trainer import quieten

STEPS = 8
AXES = {  # what is varied, and the other two
    "mean length, tokens": ("length", (10, 25, 50, 100, 200)),
    "batch size": ("batch", (8, 16, 32, 64, 128, 256)),
    "training utterances": ("utterances", (1_000, 10_000, 100_000, 1_000_000)),
}
USUAL = {"length": 15, "batch": 32, "utterances": 2_048}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    quieten()
    found: dict[str, list[tuple[int, float, float]]] = {axis: [] for axis in AXES}
    with tempfile.TemporaryDirectory() as folder:
        for axis, (name, values) in AXES.items():
            for value in values:
                rates = measure(Path(folder) / "made.h5", **USUAL | {name: value})
                found[axis].append((value, rates["utterances"], rates["tokens"]))
                shown = ", ".join(f"{rate:.0f} {what}/s" for what, rate in rates.items())
                print(f"{axis} {value}: {shown}", flush=True)
    draw(found, args.out / "grid.png")


def measure(path: Path, length: int, batch: int, utterances: int) -> dict[str, float]:
    """Utterances and tokens a second in training, utterances a second of the loader alone."""
    made.write(path, {"train": utterances, "valid": 8, "test": 8}, length)
    steps = Steps("data=own", f"data.path={path}", "text_encoder=minilm", f"data.batch_size={batch}")
    batches = steps.batches()
    for _ in range(2):
        steps.step(next(batches))
    rates, token_rates = [], []
    for _ in range(STEPS):
        start = time.perf_counter()
        given = next(batches)
        steps.step(given)
        seconds = time.perf_counter() - start
        rates.append(len(given) / seconds)
        token_rates.append(int(given.sequence("text").lengths.sum()) / seconds)
    start, loaded = time.perf_counter(), 0
    for given in itertools.islice(batches, 40):
        loaded += len(given)
    loader = loaded / (time.perf_counter() - start)
    return {"utterances": statistics.median(rates), "tokens": statistics.median(token_rates), "loaded": loader}


def draw(found: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    for axes, (axis, points) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        values, utterances, tokens = zip(*points, strict=True)
        axes.plot(values, utterances, marker="o", label="utterances")
        axes.plot(values, tokens, marker="s", label="tokens")
        axes.set(xscale="log", yscale="log", xlabel=axis)
    figure.axes[0].set_ylabel("trained on, a second")
    figure.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
