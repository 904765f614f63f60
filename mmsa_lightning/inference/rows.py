"""Utterances from a table, with features beside it, or from lines of text, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from mmsa_lightning.data.formats import delimited
from mmsa_lightning.data.formats.features import Features, read_features
from mmsa_lightning.data.formats.fields import finite, is_whole
from mmsa_lightning.data.store import check_names
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import check_content
from mmsa_lightning.inference.about import About
from mmsa_lightning.inference.inputs import Utterance

LONGEST = 1 << 20  # characters of an utterance
_PARTS = ("video_id", "clip_id")  # of an id, in MMSA's label.csv
COLUMNS = ("id", *_PARTS, "text", "label")


def lines(source: BinaryIO) -> Iterator[Utterance]:
    """An utterance a line, in UTF-8, with the line's number as its id.

    Raises:
        UserError: a line is blank, longer than any utterance, or not text.
    """
    number = 0
    while line := source.readline(4 * LONGEST):  # bytes; a line need not end
        number += 1
        if len(line) == 4 * LONGEST:
            raise UserError(f"line {number} is longer than any utterance: give one a line")
        try:
            text = line.decode().removeprefix("\ufeff" if number == 1 else "")
        except UnicodeError as error:
            raise UserError(f"line {number} is not in UTF-8: convert the input") from error
        if not text.strip():
            raise UserError(f"line {number} is blank: leave it out")
        yield _checked(Utterance(str(number), text.rstrip("\r\n")), f"line {number}")


def table(
    path: Path, about: About, features: Mapping[str, Path], *, separator: str | None, encoding: str | None
) -> Iterator[Utterance]:
    """The rows of a CSV: ``id`` (or ``video_id`` and ``clip_id``), ``text`` where the model reads it, maybe ``label``.

    Args:
        path: the CSV.
        about: of the model.
        features: by modality an .npz, see :mod:`mmsa_lightning.data.formats.features`. It is read whole.
        separator, encoding: of the CSV; see :mod:`mmsa_lightning.data.formats.delimited`.

    Raises:
        UserError: a column, a value or the features of an utterance are missing or malformed.
    """
    check_content(path)
    for modality, file in features.items():
        if about.dims.get(modality) is None:
            raise UserError(f"--{modality} {file}: this model reads no features of {modality}; leave it out")
    found = {m: _features(about, m, file) for m, file in features.items()}
    columns, rows = delimited.stream(
        path, encoding=encoding, separator=separator, usable=lambda c: not _lacks(c, about)
    )
    if missing := _lacks(columns, about):
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns) or 'none'}")
    for name in columns:
        if (known := name.lower()) in COLUMNS and known not in columns:
            raise UserError(f"{path} has the column {name!r}, which would not be read: call it {known}")
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise UserError(f"{path} has the column {twice[0]} twice")
    place = {name: i for i, name in enumerate(columns)}
    return _rows(path, rows, len(columns), place, found)


def _rows(
    path: Path,
    rows: Iterable[tuple[int, list[str]]],
    width: int,
    place: Mapping[str, int],
    features: Mapping[str, Features],
) -> Iterator[Utterance]:
    first: dict[str, int] = {}  # row of each id
    for number, cells in rows:
        where = f"{path}, row {number}"
        if len(cells) != width:
            raise UserError(f"{where}: it has {len(cells)} columns, not {width}")
        parts = ("id",) if "id" in place else _PARTS
        id = "$_$".join(cells[place[part]].strip() for part in parts)  # as an import reads them
        if first.setdefault(id, number) != number:
            raise UserError(f"{where}: the id {id!r} is that of row {first[id]}, too: give each utterance its own")
        utterance = Utterance(id, cells[place["text"]] if "text" in place else None)
        if "label" in place and cells[place["label"]].strip():
            utterance.label = _number(cells[place["label"]], where)
        utterance.features = {m: own.sequences[id] for m, own in features.items() if id in own.sequences}
        yield _checked(utterance, where)
    for m, own in features.items():
        if first.keys().isdisjoint(own.sequences):
            raise UserError(
                f"--{m}: its ids, such as {next(iter(own.sequences))!r}, are none of {path}, such as "
                f"{next(iter(first), '')!r}: no utterance would have {m}"
            )


def _features(about: About, modality: str, path: Path) -> Features:
    check_content(path)
    found = read_features(path, modality)
    check_names(modality, about.modalities[modality].names, found.names, str(path))
    return found


def _lacks(columns: list[str], about: About) -> list[str]:
    """Columns that are needed and missing."""
    lacking = [] if "id" in columns or set(_PARTS) <= set(columns) else ["id"]
    return lacking + (["text"] if about.text_encoder is not None and "text" not in columns else [])


def _number(cell: str, where: str) -> float:
    value = finite(cell)
    if math.isnan(value):
        raise UserError(f"{where}: label is {cell!r}, not a number; leave it blank where it is not known")
    return value


def _checked(utterance: Utterance, where: str) -> Utterance:
    if not utterance.id:
        raise UserError(f"{where}: the id is empty")
    if utterance.text and len(utterance.text) > LONGEST:
        raise UserError(f"{where}: the text has {len(utterance.text)} characters, which is no utterance")
    if not is_whole(f"{utterance.id}{utterance.text}"):
        raise UserError(f"{where}: the id or the text holds half a character: is it in another encoding?")
    return utterance
