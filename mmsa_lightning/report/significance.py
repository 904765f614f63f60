"""What seeds and test utterances can say: intervals, tests and the smallest difference that could have been shown.

A mean over seeds would be another with other seeds and with other test utterances. Both are random: seeds of a row, and
utterances that all seeds and rows share. Seeds and utterances resampled at once, and percentiles of that, are wrong
both ways: of n seeds the variance comes out (n - 1) / n as large, the normal quantile is too small for few of them, and
what a single seed makes of a single utterance is counted three times (Owen, The pigeonhole bootstrap, Annals of Applied
Statistics 2007). So the variance is put together of its parts, as in studies where several readers judge the same cases
(Obuchowski & Rockette, Communications in Statistics 1995; with readers of their own on each side: Hillis, Statistics in
Medicine 2014):

    V = Σ w² S² / n + max(C, 0),  C = U - Σ w² I / n

The sums are over the rows, of which w is the weight: 1, or -1 of one that is subtracted. S² is the variance of a row's
n seeds (n - 1), U the variance of what is estimated under resampled utterances, and I the variance of a seed against
its row under these, which S² has already: C is what seeds have in common because their utterances are the same.
Student's t has V² / (Σ (w² S² / n)² / (n - 1) + C² / (utterances - 1)) degrees of freedom (Satterthwaite 1946;
Hillis, Statistics in Medicine 2007).
``experiments/benchmarks/intervals.py`` measures how often the intervals hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from mmsa_lightning.report.resampling import Sampled

ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, or a weighted sum of rows' means, such as a difference; NaN where it is undefined.

    Attributes:
        value: as observed.
        error: the standard error over seeds and utterances, the square root of V.
        df: degrees of freedom.
        utterances_low: of the 95 % interval over utterances alone: percentiles of the bootstrap (Efron & Tibshirani, An
            Introduction to the Bootstrap, 1993, chapter 13). It leaves out what other seeds would change.
        utterances_high: of the same.
        utterances_p: two-sided, of zero, over utterances alone.
        within: the lowest and the highest value that are possible; the interval over seeds and utterances ends there.
    """

    value: float
    error: float
    df: float
    utterances_low: float
    utterances_high: float
    utterances_p: float
    within: tuple[float, float] = (-math.inf, math.inf)

    @property
    def low(self) -> float:
        """Of the 95 % interval over seeds and utterances."""
        return self._possible(self.value - self._quantile(1 - ALPHA / 2) * self.error)

    @property
    def high(self) -> float:
        """Of the same."""
        return self._possible(self.value + self._quantile(1 - ALPHA / 2) * self.error)

    @property
    def p(self) -> float:
        """Two-sided, of zero, over seeds and utterances."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * special.stdtr(self.df, -abs(self.value) / self.error))

    @property
    def detectable(self) -> float:
        """The smallest true value that p < .05 would show in 80 % of such experiments, with these variances.

        (t(.975) + t(.8)) · error (Bloom, Minimum detectable effects, Evaluation Review 1995).
        """
        return (self._quantile(1 - ALPHA / 2) + self._quantile(POWER)) * self.error

    def _possible(self, end: float) -> float:
        return float(np.clip(end, *self.within))  # which keeps NaN

    def _quantile(self, p: float) -> float:
        return float(special.stdtrit(self.df, p))


def estimate(
    row: Sampled, other: Sampled | None = None, *, within: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """The mean of a row, or by how much it is above another row's on the same utterances; as :func:`contrast`."""
    return contrast([(1, row)] if other is None else [(1, row), (-1, other)], within=within)


def contrast(rows: Sequence[tuple[float, Sampled]], *, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """A sum of rows' means on the same utterances, each with its weight before it.

    Where a row has one seed, what other seeds would change is not known and left out. With few of them Student's t may
    go beyond what is possible, of an accuracy above 1, say: the interval ends ``within``.

    Raises:
        ValueError: not the same utterances.
    """
    utterances = rows[0][1].utterances
    if other := next((row.utterances for _, row in rows if row.utterances != utterances), None):
        raise ValueError(f"{utterances} utterances against {other}")
    value = sum(weight * row.observed.mean() for weight, row in rows)
    drawn = np.sum([weight * row.drawn.mean(axis=0) for weight, row in rows], axis=0)
    if np.isnan(value) or np.isnan(drawn).any() or utterances < 2:  # of a single one, nobody knows what others are like
        return Estimate(float(value), math.nan, math.nan, math.nan, math.nan, math.nan)
    variance = spread = 0.0
    common = drawn.var()
    for weight, row in rows:
        n = len(row.observed)
        if n > 1:
            seeds = weight**2 * row.observed.var(ddof=1) / n
            common -= weight**2 * (row.drawn - row.observed[:, None]).var(axis=0, ddof=1).mean() / n
            variance, spread = variance + seeds, spread + seeds**2 / (n - 1)
    common, most = max(common, 0), max(utterances - 1, 1)
    variance, spread = variance + common, spread + common**2 / most
    df = variance**2 / spread if spread else most
    low, high = np.quantile(drawn, (ALPHA / 2, 1 - ALPHA / 2))
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))  # what was observed counts as one resample
    return Estimate(float(value), math.sqrt(variance), float(df), float(low), float(high), float(p), within)


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for as many comparisons (Holm, A simple sequentially rejective multiple test procedure, 1979).

    Args:
        p: one each comparison, in any order, which is kept; NaN of one that is undefined, which counts for none.
    """
    corrected = [math.nan] * len(p)
    largest, defined = 0.0, [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    for rank, i in enumerate(defined):
        largest = max(largest, min(1.0, (len(defined) - rank) * p[i]))
        corrected[i] = largest
    return corrected
