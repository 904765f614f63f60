"""``mmsa evaluate``: finished runs on other data, from the ``evaluation.csv`` of runs; a table a store and split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.result import FAR, KEY
from mmsa_lightning.report import comparison, tables, wording
from mmsa_lightning.report.cells import Cell
from mmsa_lightning.report.grid import Grid, write_grids
from mmsa_lightning.report.rows import in_order, refuse_mixtures
from mmsa_lightning.training.protocols import PROTOCOLS, Protocol

OWN = {  # of the splits of the runs' own data
    "train": "These are the runs' own data: they were trained on this split",
    "valid": "These are the runs' own data: their checkpoints were chosen on this split",
    "test": "These are the runs' own data: result.json has figures of this split, too",
}


@dataclass
class Evaluation:
    """What runs of the same data reach on one split of a store.

    Attributes:
        line: the columns of ``evaluation.csv`` that all its runs share.
        trained: name and hash of the runs' own data.
        ids: of its utterances.
        far: the largest number of features of a run whose means lie far apart.
        figures: by row and seed, every metric; NaN where one is undefined.
        errors: by row and seed, absolute errors as the protocol measures them, float64 (utterances,), in the order of
            ``ids``.
    """

    line: dict[str, str]
    trained: tuple[str, str]
    ids: list[str]
    far: int = 0
    figures: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    errors: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)

    @property
    def protocol(self) -> Protocol:
        """Of the store, not of the runs' own data."""
        return PROTOCOLS[self.line["protocol"]]


def read_evaluations(cells: Sequence[Cell]) -> list[Evaluation]:
    """What finished runs were measured on, in the order of measuring; empty where none was.

    Raises:
        UserError: runs of other data or modalities than one another; predictions of other utterances, or put on
            another scale than those of another run.
    """
    measured: dict[Cell, dict[str, Any]] = {
        cell: record
        for cell in cells
        if (cell.run_dir / result.EVALUATION).is_file() and (record := result.read(cell.run_dir))
    }
    refuse_mixtures(measured)
    found: dict[tuple[str, ...], Evaluation] = {}
    for cell, record in measured.items():
        utterances: dict[tuple[str, ...], list[dict[str, str]]] = {}
        with files.as_written(path := cell.run_dir / result.EVALUATION_PREDICTIONS):
            for utterance in files.read_rows(path):
                utterances.setdefault(_key(utterance), []).append(utterance)
        with files.as_written(cell.run_dir):
            for line in files.read_rows(cell.run_dir / result.EVALUATION):
                place = (*_key(line), line["protocol"])
                ids = [utterance["id"] for utterance in utterances[_key(line)]]
                one = found.setdefault(place, Evaluation(line, (record["data"], record["data_hash"]), ids))
                if line["ratio"] != one.line["ratio"]:  # since then a range of labels was said
                    raise UserError(
                        f"{cell.run_dir}: predictions for {_place(one)}, were multiplied by {line['ratio']}, those of "
                        f"another run by {one.line['ratio']}: measure all of them again with mmsa evaluate"
                    )
                own = [utterances[_key(line)][i] for i in in_order(one.ids, ids, path)]
                one.far = max(one.far, int(line["far"]))
                one.figures.setdefault(cell.row, {})[cell.seed] = {
                    m: float(line[m] or math.nan) for m in one.protocol.metrics
                }
                label, prediction = (
                    one.protocol.clipped(np.array([float(utterance[name]) for utterance in own]))
                    for name in ("label", "prediction")
                )
                one.errors.setdefault(cell.row, {})[cell.seed] = np.abs(prediction - label)
    return list(found.values())


def _key(line: dict[str, str]) -> tuple[str, ...]:
    return tuple(line[name] for name in KEY)


def grids(evaluations: Sequence[Evaluation]) -> list[Grid]:
    """Of each store and split its table and, with several rows, its tests."""
    found = []
    for evaluation in evaluations:
        found += [_table(evaluation), *([tested] if (tested := _tests(evaluation)) else [])]
    return found


def _table(evaluation: Evaluation) -> Grid:
    headings = evaluation.protocol.headings
    figures = [
        {m: comparison.over_seeds(np.array([own[m] for own in seeds.values()])) for m in headings}
        for seeds in evaluation.figures.values()
    ]
    rows = [
        [row, str(len(seeds)), *(wording.spread(own[m]) for m in headings)]
        for (row, seeds), own in zip(evaluation.figures.items(), figures, strict=True)
    ]
    bold = tables.best(figures, list(headings), column=2)
    return Grid(_title(evaluation), ["", "n", *headings.values()], rows, bold)


def _title(evaluation: Evaluation) -> str:
    """What was measured, and all that a reader of the figures must know."""
    line, (name, own) = evaluation.line, evaluation.trained
    ratio, seen = float(line["ratio"]), int(line["seen"])
    sentences = [
        f"{_place(evaluation)}: {line['utterances']} utterances (data hash {line['data_hash'][:12]}), predicted by "
        f"runs on {name}, with nothing missing",
        "Mean ± sample standard deviation over n seeds, times 100; best in bold",
    ]
    if line["data_hash"] == own:
        sentences.append(OWN[line["split"]])
    elif seen:
        sentences.append(f"{seen} of the utterances have ids of the train or valid split of the runs' own data")
    if ratio != 1:
        sentences.append(
            f"Predictions are multiplied by {ratio:g}: the largest label that there can be here over that of the "
            "runs' own data"
        )
    if line["standardize"] == "store":
        sentences.append("Audio and vision are standardised with the moments of this store's own train split")
    if evaluation.far:
        sentences.append(
            f"The means of {evaluation.far} features lie more than {FAR:g} standard deviations from those of the runs' "
            "own data"
        )
    return ". ".join([*sentences, *filter(None, [evaluation.protocol.note])]) + "."


def _place(evaluation: Evaluation) -> str:
    return f"{evaluation.line['store']}, {evaluation.line['split']}"


def _tests(evaluation: Evaluation) -> Grid | None:
    """The row with the lowest MAE against each other one."""
    errors = {row: np.stack(list(seeds.values())) for row, seeds in evaluation.errors.items()}  # (seeds, utterances)
    if len(errors) < 2:
        return None
    best, found = comparison.best_against(errors)
    fewest = min(map(len, errors.values()))
    title = (
        f"{_place(evaluation)}: MAE of {best} minus each other row's: paired, over "
        f"{wording.resampled(fewest)}; {wording.said_of(found, fewest)} {best} was chosen as the "
        "best of these rows, which favours it."
    )
    return tables.differences_grid(found, {}, title)


def write_evaluation(cells: Sequence[Cell], out: Path) -> str:
    """Write ``evaluation`` .csv, every run on every store and split on which it was measured, and .md and .tex.

    Args:
        cells: finished runs that were measured.
        out: folder to write to; made if it is not there.

    Returns:
        the Markdown.

    Raises:
        UserError: as :func:`read_evaluations`.
    """
    tables = grids(read_evaluations(cells))
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        {"row": cell.row, "seed": cell.seed, **line, "run": str(cell.run_dir)}
        for cell in cells
        for line in files.read_rows(cell.run_dir / result.EVALUATION)
    ]
    files.write_rows(out / "evaluation.csv", lines)
    return write_grids(tables, out / "evaluation")
