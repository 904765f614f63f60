"""The finished runs of a table, row by row, and whether they may stand in one table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import result
from mmsa_lightning.errors import UserError
from mmsa_lightning.report.cells import Cell

METRICS = ("mae", "corr", "acc7", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0")
"""The columns of Tables 3 to 6."""


@dataclass
class Row:
    """The finished runs of one row.

    Attributes:
        name: model or ablation.
        results: by seed, its ``result.json``.
        errors: absolute errors on test, float64 (seeds, utterances), seeds in the order of ``results``.
    """

    name: str
    results: dict[int, dict[str, Any]]
    errors: np.ndarray

    def test(self, metric: str) -> np.ndarray:
        """float64 (seeds,): a metric on test, NaN where it is undefined."""
        return np.array([r["test"][metric] for r in self.results.values()], dtype=np.float64)

    @property
    def text(self) -> str:
        """What it reads as text: the encoder's name, ``features``, or nothing."""
        first = next(iter(self.results.values()))
        return first["text_encoder"] or first["text"] or "none"


def read_rows(cells: Sequence[Cell], *, partial: bool = False) -> list[Row]:
    """The rows of a table from what its runs left.

    Args:
        cells: of the table.
        partial: go on where cells have no result; a row without any is left out.

    Raises:
        UserError: cells have no result, or they are of other data, modalities or text encoders than one another.
    """
    found = {cell: result.read(cell.run_dir) for cell in cells}
    absent = [f"{cell.row} seed {cell.seed}" for cell in cells if found[cell] is None]
    if len(absent) == len(cells):
        raise UserError(f"none of {len(cells)} cells has a result in {cells[0].run_dir.parents[3]}")
    if absent and not partial:
        raise UserError(
            f"{len(absent)} of {len(cells)} cells have no result: {', '.join(absent)}; --partial leaves them out"
        )
    _refuse_mixtures({cell: record for cell, record in found.items() if record})
    rows = []
    for name in dict.fromkeys(cell.row for cell in cells):
        own = [cell for cell in cells if cell.row == name]
        done = {cell.seed: record for cell in own if (record := found[cell])}
        if done:
            errors = np.stack([_errors(cell.run_dir) for cell in own if found[cell]])
            rows.append(Row(name, done, errors))
    return rows


def _refuse_mixtures(found: dict[Cell, dict[str, Any]]) -> None:
    for key, what in (
        ("data_hash", "different data"),
        ("modalities", "different modalities"),
        ("text_encoder", "different text encoders"),
    ):
        kinds: dict[str, Cell] = {}
        for cell, record in found.items():
            if record[key] is not None:
                kinds.setdefault(str(record[key]), cell)
        if len(kinds) > 1:
            (one, a), (other, b), *_ = kinds.items()
            raise UserError(
                f"{what} in one table: {a.row} seed {a.seed} has {one}, {b.row} seed {b.seed} has {other} ({b.run_dir})"
            )


def _errors(run_dir: Path) -> np.ndarray:
    """float64 (utterances,), in the order of the store."""
    path = run_dir / "predictions.csv"
    with path.open(newline="", encoding="utf-8") as file:
        pairs = [(float(r["prediction"]), float(r["label"])) for r in csv.DictReader(file) if r["split"] == "test"]
    predictions, labels = np.array(pairs, dtype=np.float64).T
    return np.abs(predictions - labels)
