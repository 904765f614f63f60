"""One's own data: a CSV of utterances and an ``.npz`` of features per modality.

The CSV has the columns ``id`` (``video$_$clip``), ``text``, ``label`` and ``split`` (train, valid | dev | val, test),
optionally ``label_text``, ``label_audio`` and ``label_vision``; others are ignored. An ``.npz`` has ``id`` (n,) and
``features``: (n, dim) with one step per utterance, or (sum of lengths, dim) beside ``lengths`` (n,). Word vectors are
an ``.npz`` of ``words`` (m,) and ``vectors`` (m, dim).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from mmsa_lightning.data.formats.fields import SPLIT_NAMES, numeric, text
from mmsa_lightning.data.formats.npz import Archive
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError

_UNKNOWN = ("<unk>", "unk", "[unk]", "<unknown>", "unknown")


def read(path: Path, *, word_vectors: Path | None = None, **features: Path | None) -> Source:
    """Read the CSV at ``path``; without a column ``split`` it becomes the one split ``all``, still to be divided.

    Args:
        path: the CSV.
        word_vectors: the ``.npz`` that gives each word of the text its vector.
        features: the ``.npz`` of each of text, audio and vision; None where there is none.

    Raises:
        UserError: a column, a value, or the features of an utterance are missing or malformed.
    """
    if word_vectors and features.get("text"):
        raise UserError("--text-features and --word-vectors both give the text's features; choose one")
    rows = _rows(path)
    source = Source("table", {}, aligned=False)
    for row in rows:
        split = source.splits.setdefault(row["split"], SourceSplit([], np.empty(0), raw_text=[]))
        split.ids.append(row["id"])
        assert split.raw_text is not None
        split.raw_text.append(row["text"])
    for name, split in source.splits.items():
        mine = [row for row in rows if row["split"] == name]
        split.label = np.array([float(row["label"]) for row in mine])
        for modality in ("text", "audio", "vision"):
            if f"label_{modality}" in mine[0]:
                split.unimodal[modality] = np.array([float(row[f"label_{modality}"]) for row in mine])
    for modality, file in features.items():
        if file is not None:
            _add_features(source, modality, file)
    if word_vectors is not None:
        _add_vectors(source, word_vectors)
    return source


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path} as CSV in UTF-8: {getattr(error, 'strerror', None) or error}") from error
    if missing := [name for name in ("id", "text", "label") if name not in columns]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns) or 'none'}")
    if not rows:
        raise UserError(f"{path} has no rows")
    first_seen: dict[str, int] = {}
    for number, row in rows:
        where = f"{path}, row {number}"
        if None in row or None in row.values():
            raise UserError(f"{where}: it does not have {len(columns)} columns")
        if not row["id"]:
            raise UserError(f"{where}: the id is empty")
        if row["id"] in first_seen:
            raise UserError(f"{where}: the id {row['id']} stands in row {first_seen[row['id']]} already")
        first_seen[row["id"]] = number
        for name in ("label", "label_text", "label_audio", "label_vision"):
            if name in row and not _is_finite(row[name]):
                raise UserError(f"{where}: {name} is {row[name]!r}, not a number")
        if "split" in columns and row["split"].strip().lower() not in SPLIT_NAMES:
            raise UserError(f"{where}: split is {row['split']!r}, not train, valid or test")
        row["split"] = SPLIT_NAMES[row["split"].strip().lower()] if "split" in columns else "all"
    return [row for _, row in rows]


def _is_finite(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _add_features(source: Source, modality: str, path: Path) -> None:
    archive = Archive(path)
    ids = [text(i) for i in archive["id"].ravel()]
    values = numeric(archive["features"], f"{path}: features")
    if values.ndim != 2:
        raise UserError(f"{path}: features have shape {values.shape}, not (steps, width)")
    if "lengths" in archive:
        lengths = numeric(archive["lengths"], f"{path}: lengths").ravel()
        if (lengths < 0).any() or (lengths != np.floor(lengths)).any() or lengths.sum() != len(values):
            raise UserError(f"{path}: lengths do not add up to the {len(values)} rows of features")
    else:
        lengths = np.ones(len(values))
    if len(lengths) != len(ids):
        raise UserError(f"{path}: {len(ids)} ids but {len(lengths)} sequences")
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: an id stands there twice")
    sequences = dict(zip(ids, np.split(values, np.cumsum(lengths.astype(np.int64))[:-1]), strict=True))
    wanted = [i for split in source.splits.values() for i in split.ids]
    if missing := [i for i in wanted if i not in sequences]:
        raise UserError(f"{path} has no features for {len(missing)} of {len(wanted)} utterances; first: {missing[0]}")
    if spare := len(ids) - len(wanted):
        source.report.append(f"{modality}: {spare} sequences of {path.name} belong to no utterance and were left out")
    for split in source.splits.values():
        split.features[modality] = Sequences([sequences[i] for i in split.ids])


def _add_vectors(source: Source, path: Path) -> None:
    archive = Archive(path)
    words = [text(word).lower() for word in archive["words"].ravel()]
    vectors = numeric(archive["vectors"], f"{path}: vectors")
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise UserError(f"{path}: {len(words)} words but vectors of shape {vectors.shape}")
    row_of: dict[str, int] = {}
    for row, word in enumerate(words):
        row_of.setdefault(word, row)
    unknown = next((word for word in _UNKNOWN if word in row_of), None)
    vector_of_unknown = np.zeros(vectors.shape[1], vectors.dtype) if unknown is None else vectors[row_of[unknown]]
    table = np.vstack([vectors, vector_of_unknown])
    total = missed = 0
    for split in source.splits.values():
        assert split.raw_text is not None
        split.words = [spoken.split() for spoken in split.raw_text]
        rows = [[row_of.get(word.lower(), len(vectors)) for word in spoken] for spoken in split.words]
        split.features["text"] = Sequences([table[np.array(row, dtype=np.int64)] for row in rows])
        total += sum(len(row) for row in rows)
        missed += sum(row.count(len(vectors)) for row in rows)
    got = "zeros" if unknown is None else f"the vector of {unknown!r}"
    source.report.append(f"text: {missed} of {total} words have no vector and got {got}")
