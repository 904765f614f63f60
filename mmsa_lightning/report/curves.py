"""Curves of test figures over what is missing, from the ``robustness.csv`` of runs.

AUILC, the area under a metric's curve over the missing rates 0, 0.1 … 1, is EMT-DLFR's (Sun et al., IEEE TAFFC 2023):
the sum of (m_i + m_(i+1)) / 2 · 0.1. Of subsets of the modalities it is the mean that is shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.result import RATES
from mmsa_lightning.report import comparison
from mmsa_lightning.report.cells import Cell
from mmsa_lightning.report.comparison import Figure
from mmsa_lightning.report.names import settings, told_apart, trained_name
from mmsa_lightning.report.rows import in_order, protocol_name, refuse_mixtures
from mmsa_lightning.training.protocols import PROTOCOLS, Protocol


@dataclass(frozen=True)
class Curve:
    """A row under one mode of missing.

    Attributes:
        row: its name.
        complete: the row that was trained on complete data and is otherwise the same; None if there is none, or if
            this is one itself.
        mode: see :mod:`mmsa_lightning.data.missing`.
        protocol: of its metrics.
        at: the rates, or the modalities that are there, in order.
        draws: (seed, mask seed) of each curve; the mask seed is empty where none is drawn by it.
        values: by metric, float64 (draws, at); NaN where a metric is undefined or a rate was not measured.
        errors: absolute errors, float64 (seeds, at, utterances).
    """

    row: str
    complete: str | None
    mode: str
    protocol: Protocol
    at: list[str]
    draws: list[tuple[int, str]]
    values: dict[str, np.ndarray]
    errors: np.ndarray

    @property
    def model(self) -> str:
        """The row of complete data: :attr:`complete`, or this one itself."""
        return self.complete or self.row

    def summary(self, metric: str) -> np.ndarray:
        """float64 (draws,): AUILC, or of subsets their mean."""
        return area(self.values[metric], self.mode)

    def figure(self, metric: str) -> Figure:
        """Mean and standard deviation of :meth:`summary`, times 100."""
        return comparison.over_seeds(self.summary(metric))


def area(values: np.ndarray, mode: str) -> np.ndarray:
    """AUILC, or of subsets their mean, over the last axis."""
    return values.mean(axis=-1) if mode == "modality" else np.trapezoid(values, RATES, axis=-1)


def read_curves(cells: Sequence[Cell]) -> list[Curve]:
    """The curves of finished runs; those that were not measured are left out.

    Raises:
        UserError: runs of other data, modalities or mask seeds than one another, or two of the same row, seed and rate.
    """
    measured = {cell: record for cell in cells if _measured(cell.run_dir) and (record := result.read(cell.run_dir))}
    if not measured:
        return []
    refuse_mixtures(measured)
    protocol = PROTOCOLS[protocol_name(next(iter(measured.values())))]
    names = row_names(cells)
    complete = _complete(names)
    figures: dict[tuple[str, str], dict[tuple[int, str, str], dict[str, float]]] = {}
    errors: dict[tuple[str, str], dict[tuple[int, str], np.ndarray]] = {}
    order: list[str] = []
    for cell in measured:
        with files.as_written(path := cell.run_dir / result.ROBUSTNESS):
            for line in files.read_rows(path):
                own = figures.setdefault((names[cell], line["mode"]), {})
                key = cell.seed, line["mask_seed"], line["at"]
                if key in own:
                    raise UserError(
                        f"two runs of {names[cell]} seed {cell.seed} at {line['mode']} {line['at']}, one of them "
                        f"{cell.run_dir}; give the folders of one of them"
                    )
                own[key] = {m: float(line[m] or math.nan) for m in protocol.metrics}
        with files.as_written(path := cell.run_dir / result.ROBUSTNESS_ERRORS):
            utterances = files.read_rows(path)
            ids = [utterance["id"] for utterance in utterances]
            order = order or ids
            utterances = [utterances[i] for i in in_order(order, ids, path)]
            for column in [name for name in utterances[0] if name != "id"]:
                mode, at = column.split(" ")
                found = errors.setdefault((names[cell], mode), {})
                found[cell.seed, at] = np.array([float(utterance[column]) for utterance in utterances])
    _refuse_other_masks(figures)
    return [
        _curve(row, complete.get(row), mode, protocol, own, errors[row, mode]) for (row, mode), own in figures.items()
    ]


def _refuse_other_masks(figures: dict[tuple[str, str], dict[tuple[int, str, str], dict[str, float]]]) -> None:
    """What is compared in pairs, and averaged over seeds, has the same parts missing."""
    first: dict[str, tuple[str, list[str]]] = {}
    for (row, mode), own in figures.items():
        for seed in dict.fromkeys(seed for seed, _, _ in own):
            masks = sorted({mask for of, mask, _ in own if of == seed and mask}, key=int)
            run, other = first.setdefault(mode, (f"{row} seed {seed}", masks))
            if masks != other:
                raise UserError(
                    f"{run} was measured with the mask seeds {', '.join(other)}, {row} seed {seed} with "
                    f"{', '.join(masks)}: mmsa robustness with one --mask-seeds measures what is lacking"
                )


def row_names(cells: Sequence[Cell]) -> dict[Cell, str]:
    """The rows of finished runs: of models that were each trained for its own rate, those of all rates are one row."""
    found = {cell: record for cell in cells if (record := result.read(cell.run_dir))}
    a_rate = ["missing.rate"]
    trained = [
        settings(cell.run_dir, record, a_rate if (record.get("missing") or {}).get("train") == "same" else [])
        for cell, record in found.items()
    ]
    names = told_apart([trained_name(record) for record in found.values()], trained)
    return dict(zip(found, names, strict=True))


def _complete(names: dict[Cell, str]) -> dict[str, str]:
    """Of each row that was trained with parts missing, that which was trained on complete data, where there is one."""
    rows: dict[str, tuple[bool, str]] = {}  # by name: whether parts were missing in training, and all else it is
    for cell, row in names.items():
        record = result.read(cell.run_dir) or {}
        missing = record.get("missing") or {"train": "none"}
        if missing["train"] == "none" and missing.get("rate"):
            continue  # chosen where parts are missing
        same = json.dumps([record.get("model"), settings(cell.run_dir, record, ["missing"])], sort_keys=True)
        rows[row] = missing["train"] != "none", same
    complete = {same: row for row, (gaps, same) in rows.items() if not gaps}
    return {row: complete[same] for row, (gaps, same) in rows.items() if gaps and same in complete}


def _curve(
    row: str,
    complete: str | None,
    mode: str,
    protocol: Protocol,
    figures: dict[tuple[int, str, str], dict[str, float]],
    errors: dict[tuple[int, str], np.ndarray],
) -> Curve:
    at = list(dict.fromkeys(at for _, _, at in figures)) if mode == "modality" else [str(rate) for rate in RATES]
    draws = list(dict.fromkeys((seed, mask) for seed, mask, _ in figures))
    values = {
        m: np.array([[figures.get((*draw, a), {}).get(m, math.nan) for a in at] for draw in draws])
        for m in protocol.metrics
    }
    lacking = np.full_like(next(iter(errors.values())), math.nan)
    seeds = list(dict.fromkeys(seed for seed, _ in draws))
    found = np.array([[errors.get((seed, a), lacking) for a in at] for seed in seeds])
    return Curve(row, complete, mode, protocol, at, draws, values, found)


def _measured(run_dir: Path) -> bool:
    return (run_dir / result.ROBUSTNESS).is_file()
