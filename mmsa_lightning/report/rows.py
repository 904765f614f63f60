"""The finished runs of a table, row by row, and whether they may stand in one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.data.releases import protocol
from mmsa_lightning.data.store import UNSTATED, Store
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.report.cells import Cell, listed
from mmsa_lightning.report.names import missing_rate, missing_train
from mmsa_lightning.training.protocols import PROTOCOLS, Protocol, corr, mae


@dataclass(frozen=True)
class Utterance:
    """One of the test split."""

    id: str
    label: float
    text: str


@dataclass(frozen=True)
class Agreement:
    """How generated labels agree with true ones of a modality, over the training utterances that have a true one.

    It is measured by Pearson correlation, ``corr``, and by mean absolute error, ``mae``.

    Attributes:
        generated: by measure, of those of each seed's best epoch, float64 (seeds,).
        label: by measure, of the utterances' own label, which generated labels start from.
    """

    generated: dict[str, np.ndarray]
    label: dict[str, float]


MODALITIES_NAMED = ", modalities="  # in the name of a row


@dataclass
class Row:
    """The finished runs of one row.

    Attributes:
        name: see :mod:`mmsa_lightning.report.names`.
        results: by seed, its ``result.json``.
        run_dirs: by seed, where it lies.
        utterances: of test, in the order of the store: id, label and text.
        predictions: of test, float64 (seeds, utterances), seeds in the order of ``results``.
        agreement: by modality; empty where nothing is generated or nothing true is known.
    """

    name: str
    results: dict[int, dict[str, Any]]
    run_dirs: dict[int, Path]
    utterances: list[Utterance]
    predictions: np.ndarray
    agreement: dict[str, Agreement] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        """float64 (utterances,)."""
        return np.array([utterance.label for utterance in self.utterances])

    @property
    def protocol(self) -> Protocol:
        """By which its runs were measured."""
        return PROTOCOLS[protocol_name(next(iter(self.results.values())))]

    @property
    def errors(self) -> np.ndarray:
        """Absolute errors on test as the protocol measures them, float64 (seeds, utterances)."""
        return np.abs(self.protocol.clipped(self.predictions) - self.protocol.clipped(self.labels))

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
        UserError: cells have no result, or that of other settings than theirs or of other data than their store holds,
            or they are of other data, metrics, modalities or text encoders than one another.
    """
    found = {cell: result.read(cell.run_dir) for cell in cells}
    for cell, record in found.items():
        if record and cell.config_hash not in (None, record["config_hash"]):
            raise UserError(
                f"{cell.run_dir} has a result of other settings than those of {cell.row} seed {cell.seed}: it is of "
                f"{record['model']} seed {record['seed']}, config_hash {record['config_hash'][:8]}, not "
                f"{cell.config_hash[:8]}; give a renamed folder its name back, or train again with overwrite=true"
            )
    finished = {cell: record for cell, record in found.items() if record}
    _refuse_other_data(finished)
    absent = [cell for cell in cells if found[cell] is None]
    if len(absent) == len(cells):
        raise UserError(f"none of {len(cells)} cells has a result; the first would be in {cells[0].run_dir}")
    if absent and not partial:
        raise UserError(
            f"{len(absent)} of {len(cells)} cells have no result: {listed(absent)}; --partial leaves them out"
        )
    refuse_mixtures(finished, named=True)
    rows = []
    order: list[str] = []  # of the first run's utterances; tests pair those of all runs
    truth: dict[str, float] = {}  # and their labels
    for name in dict.fromkeys(cell.row for cell in cells):
        own = [cell for cell in cells if cell.row == name]
        done = {cell.seed: record for cell in own if (record := found[cell])}
        if done:
            run_dirs = {cell.seed: cell.run_dir for cell in own if found[cell]}
            tests = [_test(run_dir, done[seed]) for seed, run_dir in run_dirs.items()]
            order = order or [utterance.id for utterance in tests[0][0]]
            places = [
                in_order(order, [utterance.id for utterance in utterances], run_dir / result.PREDICTIONS)
                for (utterances, _), run_dir in zip(tests, run_dirs.values(), strict=True)
            ]
            utterances = [tests[0][0][i] for i in places[0]]
            truth = truth or {utterance.id: utterance.label for utterance in utterances}
            for (read, _), run_dir in zip(tests, run_dirs.values(), strict=True):
                _check_labels(run_dir / result.PREDICTIONS, read, truth)
            predictions = np.stack([values[chosen] for (_, values), chosen in zip(tests, places, strict=True)])
            rows.append(Row(name, done, run_dirs, utterances, predictions, _agreement(list(run_dirs.values()))))
    return rows


def in_order(order: Sequence[str], ids: Sequence[str], path: Path) -> list[int]:
    """Where each utterance of another run's file is in this one, which other hands may have sorted.

    Args:
        order: the ids of the other's.
        ids: of this one's.
        path: of this one.

    Raises:
        UserError: it has other utterances.
    """
    places = {id: i for i, id in enumerate(ids)}
    if len(order) != len(ids) or places.keys() != set(order):
        raise UserError(f"{path} has other utterances than the runs beside it")
    return [places[id] for id in order]


def run_records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """What a table was made of, for CSV: one record a run. A table built again from the same runs has the same."""
    return [
        run_record(row.name, seed, run_dir, row.results[seed], result.NAME, result.PREDICTIONS)
        for row in rows
        for seed, run_dir in row.run_dirs.items()
    ]


def run_record(row: str, seed: int, run_dir: Path, record: dict[str, Any], *read: str) -> dict[str, object]:
    """A run of which something was made, for CSV.

    Args:
        row: the name of its row.
        seed: of the run.
        run_dir: where it lies.
        record: its ``result.json``.
        read: the files that were read, of which the SHA-256 is said.
    """
    return {
        "row": row,
        "seed": seed,
        "run": result.place(run_dir),
        "valid_mae": round(float(record["valid"]["mae"]), 6),
        **{name: record.get(name) for name in ("best_epoch", "epochs", "seconds")},
        **{name: record.get(name) for name in ("config_hash", "data_hash", "precision", "git_commit")},
        **{f"{Path(name).stem}_sha256": files.sha256(run_dir / name) for name in read},
    }


def protocol_name(record: dict[str, Any]) -> str:
    """The name of the protocol; runs from before it was kept were measured by what is now ``mosi`` or ``other``."""
    return str(record.get("protocol") or protocol("", record.get("label_range", UNSTATED)))


def subject(rows: Sequence[Row]) -> str:
    """Of which data a table is, which modalities its rows read, if names do not say it, and what all have missing."""
    records = {row.name: next(iter(row.results.values())) for row in rows}
    said = [records[rows[0].name]["data"]]
    read = {name: " + ".join(record["modalities"]) for name, record in records.items()}
    if len(set(read.values())) == 1:
        said.append(read[rows[0].name])
    else:
        unnamed = [modalities for name, modalities in read.items() if MODALITIES_NAMED not in name]
        said.append(f"{unnamed[0]} unless a row names others" if unnamed else "the modalities that rows name")
    for missing, of in ((missing_rate, ""), (missing_train, "trained with ")):
        first, *others = {missing(record) for record in records.values()}
        if first and not others:
            said.append(of + first)
    return ", ".join(said)


def refuse_mixtures(found: dict[Cell, dict[str, Any]], *, named: bool = False) -> None:
    """Check that results may stand in one table.

    Args:
        found: result of each cell.
        named: a row whose name says which modalities it reads may have others than the rest.

    Raises:
        UserError: they are of other data, metrics, modalities or text encoders than one another, or those of one row
            of another precision.
    """
    for record in found.values():
        if (name := protocol_name(record)) not in PROTOCOLS:
            raise UserError(f"a run was measured by the protocol {name}, which this version of mmsa-lightning lacks")
    for key, what in (
        ("data_hash", "different data"),
        ("protocol", "different metrics"),
        ("modalities", "different modalities"),
        ("text_encoder", "different text encoders"),
        ("encoder_hash", "different weights of the text encoder"),
    ):
        kinds: dict[str, Cell] = {}
        for cell, record in found.items():
            kind = protocol_name(record) if key == "protocol" else record.get(key)
            told = named and key == "modalities" and MODALITIES_NAMED in cell.row
            if kind is not None and not told:
                kinds.setdefault(str(kind), cell)
        if len(kinds) > 1:
            (one, a), (other, b), *_ = kinds.items()
            raise UserError(
                f"{what} in one table: {a.row} seed {a.seed} has {one}, {b.row} seed {b.seed} has {other} ({b.run_dir})"
            )
    rows: dict[str, tuple[Cell, str]] = {}
    for cell, record in found.items():
        if precision := record.get("precision"):
            first, other = rows.setdefault(cell.row, (cell, precision))
            if precision != other:  # trainer.precision=auto on two kinds of machines
                raise UserError(
                    f"different precision in one row: {cell.row} seed {first.seed} has {other}, seed {cell.seed} has "
                    f"{precision} ({cell.run_dir})"
                )


def _refuse_other_data(found: dict[Cell, dict[str, Any]]) -> None:
    """As training does; a store that is not there says nothing."""
    stores = {cell.store for cell in found if cell.store and cell.store.is_file()}
    holds = {store: Store(store).meta.content_sha256 for store in stores}
    for cell, record in found.items():
        if cell.store in holds and record["data_hash"] != holds[cell.store]:
            raise UserError(
                f"{cell.run_dir} was trained on other data than {cell.store} holds now: train again with "
                "overwrite=true, or name the store that it was trained on, data.path=PATH"
            )


def _test(run_dir: Path, record: dict[str, Any]) -> tuple[list[Utterance], np.ndarray]:
    """The test utterances of a run, in the order of the store, and its predictions, float64 (utterances,).

    Raises:
        UserError: the file is damaged, or is not what the run was measured by.
    """
    path = run_dir / result.PREDICTIONS
    with files.as_written(path):
        lines = [line for line in files.read_rows(path) if line["split"] == "test"]
        utterances = [Utterance(line["id"], float(line["label"]), line["text"]) for line in lines]
        predictions = np.array([float(line["prediction"]) for line in lines])
        if not lines:
            raise ValueError("it has no utterance of test")
    clipped = PROTOCOLS[protocol_name(record)].clipped
    error = np.abs(clipped(predictions) - clipped(np.array([utterance.label for utterance in utterances]))).mean()
    recorded = record["test"].get("mae")
    recorded = math.nan if recorded is None else recorded
    if not math.isclose(error, recorded, abs_tol=1e-5) and not (math.isnan(error) and math.isnan(recorded)):
        raise UserError(
            f"{path}: its MAE on test is {error:.6f}, and {recorded:.6f} is in {result.NAME}: copy the run "
            "again, or remove it and make it again"
        )
    return utterances, predictions


def _check_labels(path: Path, utterances: Sequence[Utterance], truth: dict[str, float]) -> None:
    """Of the same data, so that other labels are those of a file that was changed."""
    for utterance in utterances:
        if not math.isclose(utterance.label, truth[utterance.id], abs_tol=1e-4):
            raise UserError(
                f"{path}: {utterance.id} has the label {utterance.label:g}, and {truth[utterance.id]:g} in a run of "
                "the same data: copy the run again, or remove it and make it again"
            )


def _agreement(run_dirs: Sequence[Path]) -> dict[str, Agreement]:
    """Of one row's runs, from what each left in ``generated_labels.csv``."""
    paths = [run_dir / result.LABELS for run_dir in run_dirs]
    if not all(path.is_file() for path in paths):
        return {}
    tables = [files.read_columns(path) for path in paths]
    agreement = {}
    for modality in MODALITIES:
        made, true = f"generated_{modality}", f"true_{modality}"
        if all({made, true} <= set(table) for table in tables):
            found = [_measured(table[made], table[true]) for table in tables]
            generated = {measure: np.array([own[measure] for own in found]) for measure in found[0]}
            agreement[modality] = Agreement(generated, _measured(tables[0]["label"], tables[0][true]))
    return agreement


def _measured(values: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Where the truth is known; NaN where it is not known at all."""
    import torch  # takes a second, and only labels with a truth need it

    known = ~np.isnan(truth)
    found, true = torch.from_numpy(values[known]), torch.from_numpy(truth[known])
    return {"corr": float(corr(found, true)), "mae": float(mae(found, true))}
