"""Set what others' code reaches on the same data, measured by ``benchmarks/originals.py``, beside our tables.

    python experiments/beside.py experiments/results/mosi_originals --tables table3.csv ../mosi_minilm/table3.csv

Of ``originals_runs.csv`` in that folder it makes ``originals.csv``, mean and standard deviation over seeds; and with
the first of the tables (paths from the folder) that has a model's row, ``difference.csv``, our mean minus theirs with
Welch's 95 % interval over seeds. As in the tables, figures are times 100.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from mmsa_lightning import files

LEVEL = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with originals_runs.csv; of what is made, too")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="of ours, from the folder")
    args = parser.parse_args()
    theirs = summary(files.read_rows(args.folder / "originals_runs.csv"))
    ours: dict[tuple[str, str], Mapping[str, str]] = {}
    for table in args.tables:
        for line in files.read_rows(args.folder / table):
            ours.setdefault((line["row"], line["metric"]), line)
    differences = []
    for line in theirs:
        own = ours[line["row"], line["metric"]]
        found = difference(*((float(x["mean"]), float(x["std"]), int(x["n"])) for x in (own, line)))
        differences.append({"row": line["row"], "metric": line["metric"], **found})
    files.write_rows(args.folder / "originals.csv", theirs)
    files.write_rows(args.folder / "difference.csv", differences)


def summary(runs: list[dict[str, str]]) -> list[dict[str, str]]:
    """Over seeds, times 100: a line a model and metric, with ``mean``, ``std`` (n - 1) and ``n``."""
    lines = []
    for model in dict.fromkeys(run["model"] for run in runs):
        for metric in (name for name in runs[0] if name not in ("model", "seed", "seconds")):
            values = 100 * np.array([float(run[metric]) for run in runs if run["model"] == model])
            figures = {"mean": f"{values.mean():.4f}", "std": f"{values.std(ddof=1):.4f}", "n": str(len(values))}
            lines.append({"row": model, "metric": metric, **figures})
    return lines


def difference(ours: tuple[float, float, int], theirs: tuple[float, float, int]) -> dict[str, str]:
    """Of two means, each with standard deviation and number of seeds: first minus second, and Welch's interval."""
    gap = ours[0] - theirs[0]
    parts = np.array([std**2 / n for _, std, n in (ours, theirs)])
    freedom = parts.sum() ** 2 / (parts**2 / [n - 1 for *_, n in (ours, theirs)]).sum()
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(parts.sum())
    return {"difference": f"{gap:.4f}", "low": f"{gap - reach:.4f}", "high": f"{gap + reach:.4f}"}


if __name__ == "__main__":
    main()
