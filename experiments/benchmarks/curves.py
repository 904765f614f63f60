"""Validation MAE of Self-MM in float32 and with bf16, epoch by epoch, over seeds.

    python experiments/benchmarks/curves.py --store stores/mosi.h5 [--out FOLDER]

Both precisions have the same seeds, and so the same first weights and batches. Draws ``bf16.png``; prints the best
epoch's mean and standard deviation over the seeds, and those of the difference. Any processor will do, see ``bf16.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import child
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PRECISIONS = ("32-true", "bf16-mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    jobs = [(precision, seed) for seed in args.seeds for precision in PRECISIONS]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.workers) as pool:
        found = pool.map(lambda job: curve(args, *job, Path(folder)), jobs)
        curves = dict(zip(jobs, found, strict=True))
    by_precision = {p: [curves[p, seed] for seed in args.seeds] for p in PRECISIONS}
    draw(by_precision, args.out / "bf16.png")
    best = {p: [min(values) for values in found] for p, found in by_precision.items()}
    best["difference"] = [half - whole for whole, half in zip(*best.values(), strict=True)]
    for name, values in best.items():
        listed = " ".join(f"{value:.3f}" for value in values)
        print(
            f"{name}: best MAE on validation {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} ({listed})"
        )


def curve(args: argparse.Namespace, precision: str, seed: int, folder: Path) -> list[float]:
    overrides = [
        "model=self_mm",
        "data=own",
        f"text_encoder={args.encoder}",
        f"seed={seed}",
        "trainer.accelerator=cpu",
        f"trainer.precision={precision}",
        *child.settings(args.store, args.epochs, folder),
    ]
    values = child.run(HERE / "bf16.py", json.dumps(overrides), folder / f"{precision}-{seed}", threads=1)
    print(f"{precision}, seed {seed}: {' '.join(f'{value:.3f}' for value in values)}", flush=True)
    return values


def draw(curves: dict[str, list[list[float]]], path: Path) -> None:
    """One line a seed, and the mean."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for color, (name, found) in enumerate(curves.items()):
        epochs = range(1, len(found[0]) + 1)
        for values in found:
            axes.plot(epochs, values, color=f"C{color}", alpha=0.3, linewidth=1)
        axes.plot(epochs, [statistics.mean(v) for v in zip(*found, strict=True)], color=f"C{color}", label=name)
    axes.set(xlabel="epoch", ylabel="MAE on validation")
    axes.legend(title="precision")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
