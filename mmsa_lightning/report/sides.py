"""The two sides of ``mmsa compare``: the finished runs of one row, or a CSV of predictions; and what they share."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.data.formats.fields import finite
from mmsa_lightning.data.releases import protocol
from mmsa_lightning.data.store import UNSTATED
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import config, result
from mmsa_lightning.report.cells import find_cells
from mmsa_lightning.report.rows import Row, read_rows
from mmsa_lightning.training.protocols import PROTOCOLS, Protocol

SAME = 1e-3  # labels that differ by no more are one label, written with fewer digits
NOWHERE = "—"  # for the value of a setting that there is not


@dataclass(frozen=True)
class Side:
    """What is compared.

    Attributes:
        name: of the row, or of the file.
        sources: the files that its predictions were read from.
        ids: of its utterances; of runs those of test.
        texts: one an utterance, empty where it is not known.
        labels: float64 (utterances,), NaN where it is not known.
        predictions: float64 (members, utterances); a member is a seed, and a CSV is one.
        label_range: the lowest and the highest label that there can be; None of a CSV, which does not say.
        row: the runs; None of a CSV.
    """

    name: str
    sources: list[Path]
    ids: list[str]
    texts: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    label_range: tuple[float, float] | None = None
    row: Row | None = None

    @property
    def mean(self) -> np.ndarray:
        """Its prediction, mean over the members, float64 (utterances,)."""
        return self.predictions.mean(axis=0)

    def at(self, places: Sequence[int]) -> Side:
        """The same of these utterances."""
        ids, texts = ([column[i] for i in places] for column in (self.ids, self.texts))
        return replace(self, ids=ids, texts=texts, labels=self.labels[places], predictions=self.predictions[:, places])


@dataclass(frozen=True)
class Pair:
    """Two sides on the same utterances, in the same order.

    Attributes:
        a: the first, cut to the utterances that both have.
        b: the second, likewise.
        labels: float64 (utterances,), from either side; NaN where neither knows it.
        texts: likewise, empty where neither has it.
        left_out: how many utterances of each side the other has not.
        protocol: that errors are measured by.
        label_range: the lowest and the highest label that there can be, or of two CSV that there is.
    """

    a: Side
    b: Side
    labels: np.ndarray
    texts: list[str]
    left_out: tuple[int, int]
    protocol: Protocol
    label_range: tuple[float, float]

    @property
    def known(self) -> np.ndarray:
        """Whose label is known, bool (utterances,); of a single one nothing can be tested, and it counts for none."""
        known = ~np.isnan(self.labels)
        return known if known.sum() > 1 else np.zeros_like(known)

    def errors(self, side: Side) -> np.ndarray:
        """Absolute errors as the protocol measures them, float64 (members, utterances), NaN where no label is known."""
        return np.abs(self.protocol.clipped(side.predictions) - self.protocol.clipped(self.labels))


def read_side(path: Path) -> Side:
    """A folder as :func:`read_runs`, a file as :func:`read_predictions`.

    Raises:
        UserError: as these, or nothing is there.
    """
    if not path.exists():
        raise UserError(f"there is no {path}: give a run, a folder with the seeds of one row, or a CSV of predictions")
    return read_predictions(path) if path.is_file() else read_runs(path)


def read_runs(folder: Path) -> Side:
    """The finished runs below a folder, which are the seeds of one row.

    Raises:
        UserError: none, or runs of several rows: those that differ in more than their seed; a prediction is no number.
    """
    cells = find_cells([folder])
    names = list(dict.fromkeys(cell.row for cell in cells))
    if len(names) > 1:
        raise UserError(f"{folder} holds {len(names)} rows: {', '.join(names)}; give the folder of one of them")
    (row,) = read_rows(cells)
    if undefined := int((~np.isfinite(row.predictions)).any(axis=0).sum()):
        raise UserError(
            f"{folder}: the predictions for {undefined} utterances of test are no numbers, as of a run that diverged: "
            "there is nothing to compare"
        )
    low, high = next(iter(row.results.values())).get("label_range", UNSTATED)
    return Side(
        row.name,
        [run_dir / result.PREDICTIONS for run_dir in row.run_dirs.values()],
        [utterance.id for utterance in row.utterances],
        [utterance.text for utterance in row.utterances],
        row.labels,
        row.predictions,
        (low, high),
        row,
    )


def read_predictions(path: Path) -> Side:
    """A CSV in UTF-8 with the columns ``id`` and ``prediction``, and optionally ``label``, which may be blank, ``text``
    and ``split``, of which ``test`` is read alone; other columns are not read.

    Raises:
        UserError: a column, an id or a number is missing, or a column or an id is there twice.
    """
    ids: dict[str, int] = {}
    texts, labels, predictions = [], [], []
    for number, record in _records(path):
        if record.get("split", "test") != "test":
            continue
        where = f"{path}, row {number}"
        id = record["id"]
        if not id:
            raise UserError(f"{where}: the id is empty")
        if id in ids:
            raise UserError(f"{where}: the id {id} is already in row {ids[id]}; leave one of them")
        ids[id] = number
        texts.append(record.get("text", ""))
        labels.append(_number(record["label"], f"{where}: label") if record.get("label") else math.nan)
        predictions.append(_number(record["prediction"], f"{where}: prediction"))
    if not ids:
        raise UserError(f"{path} has no predictions (where it has a column split, those of test count)")
    return Side(path.name, [path], list(ids), texts, np.array(labels), np.array([predictions]))


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of the CSV, each with the number of its last line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or [])
            if missing := [name for name in ("id", "prediction") if name not in columns]:
                raise UserError(
                    f"{path} is no CSV of predictions: it lacks the column {' and '.join(missing)}, its first line has "
                    f"{', '.join(columns)[:200] or 'none'}"
                )
            if twice := [name for name in columns if columns.count(name) > 1]:
                raise UserError(f"{path} has the column {twice[0]} twice: leave one of them")
            for record in reader:
                if None in record or None in record.values():
                    raise UserError(
                        f"{path}, row {reader.line_num}: it has not the {len(columns)} columns of the first"
                    )
                yield reader.line_num, record
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV in UTF-8 ({error}): save it as one") from error


def _number(value: str, what: str) -> float:
    number = finite(value)
    if math.isnan(number):
        raise UserError(f"{what} is {value!r}, not a number")
    return number


def pair(a: Side, b: Side) -> Pair:
    """Bring two sides together by the ids of their utterances, in the order of ``a``.

    Raises:
        UserError: they are the same, of different data, metrics or labels, or share fewer than two utterances.
    """
    if same := {path.resolve() for path in a.sources} & {path.resolve() for path in b.sources}:
        raise UserError(f"A and B both hold {min(same)}: give two different ones")
    if a.row and b.row:
        _refuse_mixtures(a.row, b.row)
    places = {id: i for i, id in enumerate(b.ids)}
    common = [i for i, id in enumerate(a.ids) if id in places]
    if len(common) < 2:
        raise UserError(
            f"A has {len(a.ids)} utterances, such as {a.ids[0]}, and B {len(b.ids)}, such as {b.ids[0]}, of which they "
            f"share {len(common)}: give predictions for the same utterances"
        )
    left_out = len(a.ids) - len(common), len(b.ids) - len(common)
    a, b = a.at(common), b.at([places[a.ids[i]] for i in common])
    if (other := np.abs(a.labels - b.labels) > SAME).any():
        i = int(other.argmax())
        raise UserError(
            f"different data: {a.ids[i]} has the label {a.labels[i]:g} in A and {b.labels[i]:g} in B; give predictions "
            "for the same data"
        )
    labels = np.where(np.isnan(a.labels), b.labels, a.labels)
    stated = next((side for side in (a, b) if side.row), None)
    low, high = stated.label_range if stated and stated.label_range else _found(labels)
    measured = stated.row.protocol if stated and stated.row else PROTOCOLS[protocol("", (low, high))]
    texts = [one or other for one, other in zip(a.texts, b.texts, strict=True)]
    return Pair(a, b, labels, texts, left_out, measured, (low, high))


def _found(labels: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest label that is known."""
    known = labels[~np.isnan(labels)]
    return (float(known.min()), float(known.max())) if len(known) else UNSTATED


def _refuse_mixtures(a: Row, b: Row) -> None:
    """Other modalities and text encoders may well be compared; other data, metrics and label ranges may not."""
    one, other = (next(iter(row.results.values())) for row in (a, b))
    hashes = one.get("data_hash"), other.get("data_hash")
    if None not in hashes and hashes[0] != hashes[1]:
        raise UserError(
            f"different data: A is of {one['data']} (data_hash {hashes[0]}), B of {other['data']} ({hashes[1]}); where "
            "only their stores differ, and not the utterances, give the predictions.csv of both"
        )
    if a.protocol is not b.protocol:
        raise UserError(f"different metrics: A was measured by the protocol {a.protocol.name}, B by {b.protocol.name}")
    ranges = [tuple(record.get("label_range", UNSTATED)) for record in (one, other)]
    if ranges[0] != ranges[1]:
        said = (f"[{low:g}, {high:g}]" for low, high in ranges)
        raise UserError(f"different labels: A is of labels in {next(said)}, B in {next(said)}")


def read_settings(run_dir: Path) -> dict[str, str]:
    """What makes a run what it is, except for its seed, such as ``optim.lr.bert``: from its ``config.yaml``."""
    return dict(_leaves(config.identifying(config.read(run_dir / "config.yaml"), ["seed"])))


def differing(one: dict[str, str], other: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Every setting in which two runs differ, with both values. What a run was before a setting came is that value."""
    before = {name: _written(value) for name, value in config.ADDED.items()}
    for name in dict.fromkeys([*one, *other]):
        first, second = (settings.get(name, before.get(name, NOWHERE)) for settings in (one, other))
        if first != second:
            yield name, first, second


def _leaves(node: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _written(value)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
