"""Data of your own: a CSV of utterances, to which :mod:`.features` can be added.

The CSV has the columns ``id`` (``video$_$clip``), ``text``, ``label`` and ``split``, optionally ``label_text``,
``label_audio`` and ``label_vision``, which may be blank; or those of MMSA's ``label.csv``: ``video_id``, ``clip_id``,
``text``, ``label``, ``label_T``, ``label_A``, ``label_V``, ``mode``. Other columns are ignored and reported. For
encoding and separator see :mod:`.delimited`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmsa_lightning.data.formats import delimited
from mmsa_lightning.data.formats.fields import SPLIT_NAMES, finite
from mmsa_lightning.data.source import Source, SourceSplit
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES

# What a column holds, and its name in MMSA's label.csv (https://github.com/thuiar/MMSA); an id is two columns there.
_COLUMNS = {
    "text": "text",
    "label": "label",
    "split": "mode",
    "label_text": "label_T",
    "label_audio": "label_A",
    "label_vision": "label_V",
}
_PARTS = ("video_id", "clip_id")
_WANTED = (
    "id (or video_id and clip_id), text, label and split (or mode); optional are label_text, label_audio, label_vision"
)


class _Row(NamedTuple):
    """An utterance; a blank unimodal label is NaN."""

    id: str
    text: str
    label: float
    split: str
    unimodal: dict[str, float]


def read(path: Path, *, separator: str | None = None, encoding: str | None = None) -> Source:
    """Read the CSV at ``path``. Without a column ``split`` it becomes the split ``all``, which is still to be divided.

    Args:
        path: the CSV.
        separator, encoding: of the CSV; see :func:`mmsa_lightning.data.formats.delimited.read`.

    Raises:
        UserError: a column or a value is missing or malformed.
    """
    source = Source("table", {}, aligned=False)
    rows = _rows(path, separator, encoding, source.report)
    for name in dict.fromkeys(row.split for row in rows):
        mine = [row for row in rows if row.split == name]
        source.splits[name] = SourceSplit(
            ids=[row.id for row in mine],
            label=np.array([row.label for row in mine]),
            raw_text=[row.text for row in mine],
            unimodal={m: np.array([row.unimodal[m] for row in mine]) for m in mine[0].unimodal},
        )
    return source


def _rows(path: Path, separator: str | None, encoding: str | None, report: list[str]) -> list[_Row]:
    columns, found = delimited.read(path, encoding=encoding, separator=separator, usable=lambda c: not _missing(c))
    if missing := _missing(columns):
        raise UserError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns) or 'none'}; wanted: {_WANTED}"
        )
    names = _names(columns)
    if twice := [name for name in names.values() if columns.count(name) > 1]:
        raise UserError(f"{path} has the column {twice[0]} twice")
    if not found:
        raise UserError(f"{path} has no rows")
    if unread := [name for name in columns if name and name not in names.values()]:
        report.append(f"columns that were not read: {', '.join(unread)}")
    place = {role: columns.index(name) for role, name in names.items()}
    rows: list[_Row] = []
    first_seen: dict[str, tuple[int, list[str]]] = {}
    spelled: dict[str, str] = {}
    for number, cells in found:
        if len(cells) != len(columns):
            raise UserError(f"{path}, row {number}: it has {len(cells)} columns, not {len(columns)}")
        row = _row({role: cells[i] for role, i in place.items()}, names, f"{path}, row {number}", spelled)
        earlier, same = first_seen.setdefault(row.id, (number, cells))
        if cells != same:
            differing = ", ".join(name for name, a, b in zip(columns, same, cells, strict=True) if a != b)
            raise UserError(
                f"{path}, row {number}: the id {row.id} is already in row {earlier}, with another {differing}"
            )
        rows.append(row)
    return rows


def _names(columns: list[str]) -> dict[str, str]:
    """The column of each thing that the CSV has; our names go before MMSA's."""
    names = {"id": "id"} if "id" in columns else {part: part for part in _PARTS if part in columns}
    for role, other in _COLUMNS.items():
        if found := next((name for name in (role, other) if name in columns), None):
            names[role] = found
    return names


def _missing(columns: list[str]) -> list[str]:
    """Columns that are needed and missing, or are there in other capitals: these are hardly meant to be ignored."""
    names = _names(columns)
    lower = {name.lower() for name in columns}
    missing = [
        role
        for role, other in _COLUMNS.items()
        if role not in names and (role in ("text", "label") or lower & {role.lower(), other.lower()})
    ]
    return missing if {"id"} <= set(names) or set(_PARTS) <= set(names) else ["id", *missing]


def _row(cells: dict[str, str], names: dict[str, str], where: str, spelled: dict[str, str]) -> _Row:
    """Check one row; ``spelled`` keeps the name that each split had so far."""
    parts = [cells[part].strip() for part in ("id", *_PARTS) if part in cells]
    if not all(parts):
        raise UserError(f"{where}: the id is empty")
    labels = {role: finite(value) for role, value in cells.items() if role.startswith("label")}
    for role, number in labels.items():
        blank = role != "label" and cells[role].strip().lower() in ("", "nan")
        if not math.isfinite(number) and not blank:
            comma = ": write a point, not a comma" if math.isfinite(finite(cells[role].replace(",", "."))) else ""
            raise UserError(f"{where}: {names[role]} is {cells[role]!r}, not a number{comma}")
    split = "all"
    if "split" in cells:
        called = cells["split"].strip().lower()
        if called not in SPLIT_NAMES:
            raise UserError(f"{where}: {names['split']} is {cells['split']!r}, not train, valid or test")
        split = SPLIT_NAMES[called]
        if spelled.setdefault(split, called) != called:
            raise UserError(f"{where}: {names['split']} is {called}, but {spelled[split]} above: give a split one name")
    unimodal = {m: labels[f"label_{m}"] for m in MODALITIES if f"label_{m}" in labels}
    return _Row("$_$".join(parts), cells["text"], labels["label"], split, unimodal)
