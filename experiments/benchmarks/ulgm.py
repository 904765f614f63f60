"""Seconds that label generation takes a step, against the size of the training set.

    python experiments/benchmarks/ulgm.py [--out FOLDER]

Beside the running sums that the project keeps: class centres averaged anew over the whole banks in each step, which is
how Self-MM and MMSA compute them. Draws ``ulgm.png`` and prints what is in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mmsa_lightning.objectives.ulgm import ULGM

WIDTHS = {"fusion": 128, "text": 64, "audio": 16, "vision": 32}  # of conf/model/self_mm.yaml
SIZES = (1_000, 10_000, 100_000, 1_000_000)
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    times: dict[str, list[float]] = {"running sums": [], "averaged anew": []}
    for size in SIZES:
        torch.manual_seed(0)
        ulgm = ULGM(torch.rand(size) * 6 - 3, WIDTHS, positive=">", limit=3.0)
        times["running sums"].append(seconds(partial(step, ulgm, size), 200))
        times["averaged anew"].append(seconds(partial(step, ulgm, size, anew=True), 5))
        print(f"{size:>9} utterances: " + ", ".join(f"{name} {1000 * t[-1]:.2f} ms" for name, t in times.items()))
    draw(times, args.out / "ulgm.png")


def step(ulgm: ULGM, size: int, anew: bool = False) -> None:
    if anew:
        ulgm.resum()
    index = torch.randint(size, (BATCH,)).unique()
    ulgm.update(index, {task: torch.rand(len(index), width) for task, width in WIDTHS.items()}, epoch=3)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The median of ``repeats`` calls."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def draw(times: dict[str, list[float]], path: Path) -> None:
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, values in times.items():
        axes.plot(SIZES, [1000 * t for t in values], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="training utterances", ylabel=f"ms a step, batches of {BATCH}")
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
