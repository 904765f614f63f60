"""MulT's pickles ``mosi_data.pkl``, ``mosei_senti_data.pkl`` and their ``_noalign`` forms.

{train, valid, test} -> ``text`` (n, 50, 300) GloVe vectors, ``audio`` (n, time, dim), ``vision`` (n, time, dim),
``labels`` (n, 1, 1), or with seven columns: the sentiment, then six emotions. Most files have ``id``: (n, 3) of video,
start and end, as bytes in MOSI and text in MOSEI, or (n,) or (n, 1) of segment names. Sequences are zero-padded in
front. There are no words. Published at https://github.com/yaohungt/Multimodal-Transformer and read there by
``src/dataset.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mmsa_lightning.data.formats.fields import (
    by_split,
    column,
    numeric,
    padded,
    sentiment,
    text,
    utterance_id,
    utterance_ids,
)
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError


def read(data: dict[str, dict[str, Any]]) -> Source:
    """Read the unpickled ``data``; it is aligned if all modalities have the same padded length.

    Ids that are missing or not unique are made unique, and reported.

    Raises:
        UserError: something that the layout needs is missing or malformed.
    """
    source = Source("mult", {}, aligned=False)
    seen: dict[str, str] = {}
    for name, part in by_split(data).items():
        source.splits[name] = _split(part, name, seen, source.report)
    times = {np.shape(sequences.values)[1] for split in source.splits.values() for sequences in split.features.values()}
    source.aligned = len(times) == 1
    return source


def _split(part: dict[str, Any], where: str, seen: dict[str, str], report: list[str]) -> SourceSplit:
    labels = numeric(column(part, "labels", where), f"{where}: labels")
    label = sentiment(labels, f"{where}: labels")
    if labels.size > label.size:
        report.append(f"{where}: labels have 7 columns; the first, sentiment, was taken")
    if "id" in part:
        ids = _ids(part["id"], where)
    else:
        ids = [f"{where}$_${row}" for row in range(len(label))]
        report.append(f"{where}: no ids, so the rows were numbered")
    return SourceSplit(
        ids=_unique(ids, seen, where, report),
        label=label,
        features={m: Sequences(padded(part[m], f"{where}: {m}")) for m in ("text", "audio", "vision") if m in part},
    )


def _ids(values: Any, where: str) -> list[str]:
    array = np.asarray(values, dtype=object)
    if array.ndim == 2 and array.shape[1] == 3:
        what = f"{where}: id, row"
        return [
            f"{utterance_id(video, f'{what} {row}')}$_${text(start, f'{what} {row}')}_{text(end, f'{what} {row}')}"
            for row, (video, start, end) in enumerate(array)
        ]
    if array.ndim and array.size == len(array):
        return utterance_ids(array, f"{where}: id")
    raise UserError(f"{where}: id has shape {array.shape}, not (utterances, 3) or (utterances,)")


def _unique(ids: list[str], seen: dict[str, str], where: str, report: list[str]) -> list[str]:
    """The ids, numbered where they repeat one that was ``seen``, which says in what split."""
    repeated, elsewhere = 0, set()
    unique = []
    for name in ids:
        candidate, copy = name, 1
        while candidate in seen:
            copy += 1
            candidate = f"{name}#{copy}"
        repeated += copy > 1
        if seen.get(name, where) != where:
            elsewhere.add(seen[name])
        seen[candidate] = where
        unique.append(candidate)
    if repeated:
        also = f", some of them those of {' and '.join(sorted(elsewhere))}: look for copies" if elsewhere else ""
        report.append(f"{where}: {repeated} ids were not unique and got a number{also}")
    return unique
