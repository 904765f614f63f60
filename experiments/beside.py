"""Set what others' code reaches on the same data, measured by ``benchmarks/originals.py``, beside our tables.

    python experiments/beside.py experiments/results/mosi_originals --tables table3.csv ../mosi_minilm/table3.csv

Of ``originals_runs.csv`` in that folder it makes ``originals.csv``, mean and standard deviation over seeds; and with
the first of the tables (paths from the folder) that has a model's row, ``difference.csv``, our mean minus theirs with
Welch's 95 % interval over seeds. As in the tables, figures are times 100.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from mmsa_lightning import files
from mmsa_lightning.errors import UserError, one_line_errors

LEVEL = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with originals_runs.csv; of what is made, too")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="of ours, from the folder")
    args = parser.parse_args()
    with one_line_errors():
        beside(args.folder, args.tables)


def beside(folder: Path, tables: Sequence[Path]) -> None:
    """Make the two CSVs.

    Raises:
        UserError: a model has one seed, or is in none of the tables.
    """
    theirs = summary(files.read_rows(folder / "originals_runs.csv"))
    ours: dict[tuple[str, str], Mapping[str, str]] = {}
    for table in tables:
        for line in files.read_rows(folder / table):
            ours.setdefault((line["row"], line["metric"]), line)
    differences = []
    for line in theirs:
        row, metric = line["row"], line["metric"]
        if (row, metric) not in ours:
            raise UserError(f"{row}, {metric}: in none of {', '.join(map(str, tables))}")
        sides = (ours[row, metric], line)
        if any(int(side["n"]) < 2 for side in sides):
            raise UserError(f"{row}, {metric}: one seed has no spread; give each side two or more")
        found = difference(*((float(side["mean"]), float(side["std"]), int(side["n"])) for side in sides))
        differences.append({"row": row, "metric": metric, **found})
    files.write_rows(folder / "originals.csv", theirs)
    files.write_rows(folder / "difference.csv", differences)


def summary(runs: list[dict[str, str]]) -> list[dict[str, str]]:
    """Over seeds, times 100: a line a model and metric, with ``mean``, ``std`` (n - 1) and ``n``."""
    lines = []
    for model in dict.fromkeys(run["model"] for run in runs):
        for metric in (name for name in runs[0] if name not in ("model", "seed", "seconds")):
            values = 100 * np.array([float(run[metric]) for run in runs if run["model"] == model])
            std = values.std(ddof=1) if len(values) > 1 else np.nan
            figures = {"mean": f"{values.mean():.4f}", "std": f"{std:.4f}", "n": str(len(values))}
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
