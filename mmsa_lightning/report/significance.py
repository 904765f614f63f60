"""Which differences between rows are more than chance: a paired bootstrap over utterances, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9999


@dataclass(frozen=True)
class Difference:
    """The difference between two rows' mean absolute errors.

    Attributes:
        value: as observed; negative where the first row is better.
        low: of the 95 % interval.
        high: of the 95 % interval.
        p: two-sided, of no difference.
    """

    value: float
    low: float
    high: float
    p: float


def paired_bootstrap(first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare two rows on the same utterances, pooled over the seeds of each.

    An utterance is drawn with its errors of all seeds, since those are not independent: the interval says how much
    another sample of utterances would move the difference, not how much other seeds would. Percentile bootstrap (Efron
    & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), :data:`RESAMPLES` resamples, always the same.

    Args:
        first: absolute errors, float (seeds, utterances).
        second: the same of the other row, float (seeds of it, utterances).

    Raises:
        ValueError: not the same utterances.
    """
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} utterances against {second.shape[1]}")
    difference = first.mean(axis=0) - second.mean(axis=0)  # (utterances,)
    drawn = stats.bootstrap(
        (difference,), np.mean, n_resamples=RESAMPLES, batch=100, method="percentile", rng=np.random.default_rng(0)
    )
    means = drawn.bootstrap_distribution
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (beyond + 1) / (len(means) + 1))  # what was observed counts as one resample
    interval = drawn.confidence_interval
    return Difference(float(difference.mean()), float(interval.low), float(interval.high), float(p))


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for as many comparisons (Holm, A simple sequentially rejective multiple test procedure, 1979).

    Args:
        p: one each comparison, in any order, which is kept.
    """
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
