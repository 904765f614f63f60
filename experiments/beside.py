"""Set what others' code reaches on the same data, measured by ``benchmarks/originals.py``, beside our tables.

    python experiments/beside.py mosi_originals --tables table3.csv mag_bert/table3.csv ../mosi_minilm/table3.csv

Of ``originals_runs.csv`` in that folder it makes ``originals.csv``, mean and standard deviation over seeds; and with
the first of the tables (paths from the folder) that has a model's row, ``difference.csv``, our mean minus theirs with
Welch's 95 % interval over seeds. As in the tables, figures are times 100.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.errors import UserError, one_line_errors
from mmsa_lightning.report.comparison import Figure, over_seeds
from mmsa_lightning.report.significance import Estimate
from mmsa_lightning.report.wording import rounded


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
    ours: dict[tuple[str, str], Mapping[str, str]] = {}
    for table in tables:
        with files.as_written(folder / table):
            for line in files.read_rows(folder / table):
                ours.setdefault((line["row"], line["metric"]), line)
    runs = folder / "originals_runs.csv"
    with files.as_written(runs):
        found = summary(files.read_rows(runs))
    measured, differences = [], []
    for (row, metric), theirs in found.items():
        if (row, metric) not in ours:
            raise UserError(f"{row}, {metric}: in none of {', '.join(map(str, tables))}")
        own = ours[row, metric]
        if min(int(own["n"]), theirs.n) < 2:
            raise UserError(f"{row}, {metric}: one seed has no spread; give each side two or more")
        between = welch(Figure(float(own["mean"]), float(own["std"]), int(own["n"]), None), theirs)
        shown = {"difference": between.value, "low": between.low, "high": between.high}
        place = {"row": row, "metric": metric}
        measured.append(place | {"mean": rounded(theirs.mean), "std": rounded(theirs.std), "n": theirs.n})
        differences.append(place | {name: rounded(value) for name, value in shown.items()})
    files.write_rows(folder / "originals.csv", measured)
    files.write_rows(folder / "difference.csv", differences)


def summary(runs: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], Figure]:
    """Of each model and metric, over seeds.

    Raises:
        ValueError: a seed of a model is there twice.
    """
    seeds = [(run["model"], run["seed"]) for run in runs]
    if twice := [run for run in seeds if seeds.count(run) > 1]:
        raise ValueError(f"{twice[0][0]} seed {twice[0][1]} is there twice")
    metrics = [name for name in runs[0] if name not in ("model", "seed", "seconds")]
    models = dict.fromkeys(run["model"] for run in runs)
    return {
        (model, metric): over_seeds(np.array([float(run[metric]) for run in runs if run["model"] == model]))
        for model in models
        for metric in metrics
    }


def welch(ours: Figure, theirs: Figure) -> Estimate:
    """The first mean minus the second; over seeds alone, as nothing is known of single utterances."""
    parts = np.array([side.std**2 / side.n for side in (ours, theirs)])
    df = parts.sum() ** 2 / (parts**2 / [ours.n - 1, theirs.n - 1]).sum()
    return Estimate(ours.mean - theirs.mean, float(np.sqrt(parts.sum())), float(df), math.nan, math.nan, math.nan)


if __name__ == "__main__":
    main()
