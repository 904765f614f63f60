"""How often a row is the best one, and which rank it has, over resampled seeds and test utterances.

In each resample every row's seeds are drawn with replacement from its own, and utterances are drawn that are the same
for all rows; then rows are ranked by the mean over both. It tells how far an order of rows is that of these seeds and
utterances alone. Of a row with one seed it is always that one, and with few of them the shares look surer than they
are, as the percentiles do that ``experiments/benchmarks/intervals.py`` measures. Rows that tie have the same rank, the
better one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmsa_lightning.report.resampling import Sampled

SAME = 1e-5  # of the largest mean: sums in float32 of the same errors differ by a tenth of it at most


def ranks(rows: Sequence[Sampled]) -> np.ndarray:
    """The rank of each row in each resample, the lowest value first, int64 (rows, resamples); always the same draws."""
    rng = np.random.default_rng(1)  # not those that draw utterances
    means = []
    for row in rows:
        seeds, resamples = row.drawn.shape
        chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
        means.append(np.einsum("sr,rs->r", row.drawn, chosen))
    found = np.nan_to_num(means, nan=np.inf)  # what is undefined is not the best
    tie = SAME * np.abs(found, where=np.isfinite(found), out=np.zeros_like(found)).max(axis=0)
    return 1 + (found < (found - tie)[:, None]).sum(axis=1)


def best_share(ranked: np.ndarray) -> np.ndarray:
    """The share of resamples in which each row is the best, float64 (rows,)."""
    return (ranked == 1).mean(axis=1)


def mean_rank(ranked: np.ndarray) -> np.ndarray:
    """float64 (rows,)."""
    return ranked.mean(axis=1)


def rank_shares(ranked: np.ndarray) -> np.ndarray:
    """The share of resamples in which each row has each rank from 1, float64 (rows, ranks)."""
    return np.array([np.bincount(own, minlength=len(ranked) + 1)[1:] for own in ranked]) / ranked.shape[1]
