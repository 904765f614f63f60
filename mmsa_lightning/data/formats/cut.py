"""A video's sequences as utterances: one for each interval of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmsa_lightning.data.formats.align import averages, overlapping
from mmsa_lightning.data.formats.lag import PAUSE
from mmsa_lightning.data.formats.sequence import Budget, Entry
from mmsa_lightning.errors import UserError


@dataclass
class Cut:
    """The utterances of one video, in the order of its labels.

    Attributes:
        features: of each modality, float (steps, width) of each utterance.
        words: of each utterance, where there are words: one for each step.
        pauses: steps that were left out, being no words.
        total: steps that were kept, a word in two utterances once.
        empty: of each modality, in how many of these it has nothing.
    """

    features: dict[str, list[np.ndarray]]
    words: list[list[str]] | None = None
    pauses: int = 0
    total: int = 0
    empty: dict[str, int] = field(default_factory=dict)

    def whole(self) -> list[bool]:
        """Which utterances have words and every modality."""
        columns = [*self.features.values(), *([self.words] if self.words is not None else [])]
        return [all(map(len, row)) for row in zip(*columns, strict=True)]


def by_word(labels: np.ndarray, steps: Entry, features: Mapping[str, Sequence[Entry]], budget: Budget) -> Cut:
    """Utterances whose steps are words.

    Args:
        labels: (utterances, 2), start and end of each in seconds.
        steps: the words, or one of the entries of ``features``, whose rows are the steps; like these sorted.
        features: of each modality the entries that are joined: what overlaps a step is averaged over it.
        budget: what the result takes from.
    """
    rows = overlapping(labels, steps.intervals)
    spoken = steps.features.dtype == object
    pauses = 0
    if spoken:
        silent = steps.features == PAUSE
        pauses = len(np.unique(np.concatenate(rows)[silent[np.concatenate(rows)]]))
        rows = [own[~silent[own]] for own in rows]
    kept, place = np.unique(np.concatenate(rows), return_inverse=True)
    width = sum(entry.features.shape[1] for several in features.values() for entry in several)
    budget.spend(4 * width * (len(kept) + len(place)), "what overlaps the words")
    ends = np.cumsum([len(own) for own in rows])[:-1]
    cut = Cut({}, [list(steps.features[own]) for own in rows] if spoken else None, pauses, len(kept))
    for modality, several in features.items():
        parts = []
        cut.empty[modality] = 0
        for entry in several:
            own = [kept[i : i + 1] for i in range(len(kept))]
            if entry is not steps:
                own = overlapping(steps.intervals[kept], entry.intervals)
                cut.empty[modality] += sum(not len(near) for near in own)
            parts.append(averages(entry.features, own))
        cut.features[modality] = np.split(np.concatenate(parts, axis=1)[place], ends)
    return cut


def by_time(labels: np.ndarray, features: Mapping[str, Sequence[Entry]], budget: Budget) -> Cut:
    """Utterances whose modalities have steps of their own, for want of words.

    Raises:
        UserError: the entries of a modality have other times, so that they cannot be joined.
    """
    cut = Cut({})
    for modality, (first, *others) in features.items():
        if not all(np.array_equal(first.intervals, other.intervals) for other in others):
            raise UserError(f"sequences of {modality} have other times; only with words can they be joined: name one")
        values = np.concatenate([first.features, *(other.features for other in others)], axis=1)
        rows = overlapping(labels, first.intervals)
        budget.spend(values.itemsize * values.shape[1] * sum(map(len, rows)), f"{modality} of the utterances")
        cut.features[modality] = [values[own] for own in rows]
    return cut
