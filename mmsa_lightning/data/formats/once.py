"""Keep every utterance once: exact repetitions in a split are left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mmsa_lightning.data.formats.fields import some
from mmsa_lightning.data.source import Source, SourceSplit
from mmsa_lightning.errors import UserError


def once(source: Source) -> Source:
    """The source without utterances that repeat an earlier one of their split; they are reported.

    Raises:
        UserError: two different utterances of a split have the same id, or columns have different lengths.
    """
    report = list(source.report)
    return replace(source, splits={n: _once(n, split, report) for n, split in source.splits.items()}, report=report)


def _once(name: str, split: SourceSplit, report: list[str]) -> SourceSplit:
    split.check(name)
    first: dict[str, int] = {}
    copies = []
    for row, utterance in enumerate(split.ids):
        if first.setdefault(utterance, row) == row:
            continue
        if other := _difference(split.take([first[utterance]]), split.take([row])):
            raise UserError(
                f"{name}: the id {utterance} occurs twice, as utterances {first[utterance]} and {row}, with another "
                f"{other}; remove one, or give it an id of its own"
            )
        copies.append(utterance)
    if not copies:
        return split
    report.append(f"{name}: {len(copies)} utterances repeat an earlier one and were left out: {some(copies)}")
    return split.take(list(first.values()))


def _difference(one: SourceSplit, other: SourceSplit) -> str | None:
    """The first difference between two splits of one utterance each."""
    for column in ("label", "raw_text", "words"):
        if not _same(getattr(one, column), getattr(other, column)):
            return column
    if one.tokens is not None and other.tokens is not None and not _same(one.tokens[0], other.tokens[0]):
        return "tokens"
    for modality, label in one.unimodal.items():
        if not _same(label, other.unimodal[modality]):
            return f"{modality} label"
    for modality, sequences in one.features.items():
        again = other.features[modality]
        if not _same(sequences.values[0], again.values[0]) or not _same(sequences.lengths, again.lengths):
            return modality
    return None


def _same(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == np.asarray(b).dtype.kind == "f")
