"""Every metric of several runs on the same resampled test utterances, by sums.

Each metric of :mod:`mmsa_lightning.training.protocols` is a function of sums over utterances, such as how
often a class is hit. An utterance that is drawn k times counts k times, so that one matrix product has the sums of all
resamples. Where a resample leaves a metric undefined, as no label but zero does, it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmsa_lightning.training import protocols
from mmsa_lightning.training.protocols import Function, Protocol

RESAMPLES = 9999
_AT_ONCE = 1 << 21  # numbers of a batch of resamples: 8 MB

# (columns, ..., utterances) of predictions (runs, utterances) and labels (utterances,), both as the protocol has them.
_Columns = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Of the columns' sums, divided by the number of utterances: (columns, ...) to (...,).
_Value = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sampled:
    """One metric of the runs of a row.

    Attributes:
        observed: on the test utterances, float64 (seeds,); NaN where it is undefined.
        drawn: on resamples of them, float64 (seeds, resamples). The i-th resample is the same of all rows.
        utterances: of test.
    """

    observed: np.ndarray
    drawn: np.ndarray
    utterances: int

    def times(self, factor: float) -> Sampled:
        """In another unit."""
        return Sampled(factor * self.observed, factor * self.drawn, self.utterances)


def sampled_metrics(
    protocol: Protocol, rows: Sequence[np.ndarray], labels: np.ndarray, resamples: int = RESAMPLES
) -> list[dict[str, Sampled]]:
    """The metrics that tables show, of several rows; all are NaN of a run that predicted NaN for any utterance.

    Args:
        protocol: of the metrics.
        rows: predictions of each, float64 (seeds, utterances).
        labels: float64 (utterances,).
        resamples: how many.

    Raises:
        ValueError: rows of other utterances than one another.
    """
    p, y = protocol.clipped(np.concatenate(rows)), protocol.clipped(labels)
    parts = {metric: _SUMS[protocol.metrics[metric]] for metric in protocol.headings}
    columns = [made(p, y) for made, _ in parts.values()]
    means = np.split(_means(np.concatenate(columns), resamples), np.cumsum([len(own) for own in columns])[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {metric: value(own) for (metric, (_, value)), own in zip(parts.items(), means, strict=True)}
    broken = np.isnan(p).any(axis=1, keepdims=True)  # a class would count NaN as negative
    found = {metric: _by_row(np.where(broken, np.nan, own), rows) for metric, own in values.items()}
    return [{metric: found[metric][i] for metric in found} for i in range(len(rows))]


def sampled_means(rows: Sequence[np.ndarray], resamples: int = RESAMPLES) -> list[Sampled]:
    """The mean over utterances of what each has, such as its absolute error: of each row float64 (seeds, utterances).

    Raises:
        ValueError: rows of other utterances than one another.
    """
    return _by_row(_means(np.concatenate(rows)[None], resamples)[0], rows)


def counts(utterances: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each utterance is drawn, float32 (resamples of a batch, utterances); always the same draws."""
    rng = np.random.default_rng(0)
    batch = max(1, _AT_ONCE // utterances)
    for first in range(0, resamples, batch):
        n = min(batch, resamples - first)
        places = rng.integers(0, utterances, (n, utterances)) + np.arange(n)[:, None] * utterances
        yield np.bincount(places.ravel(), minlength=n * utterances).reshape(n, utterances).astype(np.float32)


def _means(columns: np.ndarray, resamples: int) -> np.ndarray:
    """Means over utterances: over those observed first, then over each resample.

    Args:
        columns: float64 (columns, runs, utterances).

    Returns:
        float64 (columns, runs, 1 + resamples).
    """
    utterances = columns.shape[-1]
    flat = columns.reshape(-1, utterances)
    single = flat.astype(np.float32)  # twice as fast; counts are exact, and the rest to seven digits
    drawn = [single @ batch.T for batch in counts(utterances, resamples)]
    sums = np.concatenate([flat.sum(axis=1, keepdims=True), *drawn], axis=1, dtype=np.float64)
    return sums.reshape(*columns.shape[:-1], -1) / utterances


def _by_row(values: np.ndarray, rows: Sequence[np.ndarray]) -> list[Sampled]:
    """Values (runs, 1 + resamples), row by row."""
    own = np.split(values, np.cumsum([len(row) for row in rows])[:-1])
    return [Sampled(v[:, 0], v[:, 1:], row.shape[1]) for v, row in zip(own, rows, strict=True)]


def _errors(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(p - y)[None]


def _products(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Compare the values: the computed deviation of a constant need not be 0, since its mean is rounded.
    p = np.where((p == p[:, :1]).all(axis=1, keepdims=True), np.nan, p)
    x, z = p - p.mean(axis=1, keepdims=True), np.broadcast_to(y - y.mean(), p.shape)
    return np.stack([x, z, x * x, z * z, x * z])


def _corr(means: np.ndarray) -> np.ndarray:
    x, z, xx, zz, xz = means
    left, right = xx - x * x, zz - z * z  # of a constant nearly 0
    found = (xz - x * z) / np.sqrt(left * right)
    return np.where((left > 1e-6 * xx) & (right > 1e-6 * zz), found.clip(-1, 1), np.nan)


def _hits(classes: Callable[[np.ndarray], np.ndarray], *, zeros: bool = True) -> _Columns:
    """Whether a class is hit, and whether the utterance counts."""

    def columns(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        kept = np.broadcast_to(zeros | (y != 0), p.shape)
        return np.stack([kept & (classes(p) == classes(y)), kept]).astype(np.float64)

    return columns


def _share(means: np.ndarray) -> np.ndarray:
    hit, kept = means
    return hit / kept


def _two(positive: Callable[[np.ndarray], np.ndarray], *, zeros: bool = True) -> _Columns:
    """Hits of the positive class, predictions of it, labels of it, and whether the utterance counts."""

    def columns(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        kept = np.broadcast_to(zeros | (y != 0), p.shape)
        predicted, true = positive(p) & kept, np.broadcast_to(positive(y), p.shape) & kept
        return np.stack([predicted & true, predicted, true, kept]).astype(np.float64)

    return columns


def _weighted_f1(means: np.ndarray) -> np.ndarray:
    hit, predicted, true, kept = means
    f1 = np.zeros_like(hit)
    for h, p, t in ((hit, predicted, true), (kept - predicted - true + hit, kept - predicted, kept - true)):
        f1 += np.where(t > 0, t * 2 * h / (p + t), 0)
    return f1 / kept


def _between(*edges: float) -> Callable[[np.ndarray], np.ndarray]:
    """In float32, as the protocol compares."""
    return lambda values: np.searchsorted(np.array(edges, np.float32), values.astype(np.float32))


def _nothing(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.full((1, *p.shape), np.nan)


_SUMS: dict[Function, tuple[_Columns, _Value]] = {
    protocols.mae: (_errors, lambda means: means[0]),
    protocols.corr: (_products, _corr),
    protocols.acc7: (_hits(lambda v: v.clip(-3, 3).round()), _share),
    protocols.acc2_has0: (_hits(lambda v: v >= 0), _share),
    protocols.f1_has0: (_two(lambda v: v >= 0), _weighted_f1),
    protocols.acc2_non0: (_hits(lambda v: v > 0, zeros=False), _share),
    protocols.f1_non0: (_two(lambda v: v > 0, zeros=False), _weighted_f1),
    protocols.sims_acc2: (_hits(_between(0.0)), _share),
    protocols.sims_f1: (_two(lambda v: v.astype(np.float32) > 0), _weighted_f1),
    protocols.sims_acc3: (_hits(_between(-0.1, 0.1)), _share),
    protocols.sims_acc5: (_hits(_between(-0.7, -0.1, 0.1, 0.7)), _share),
    protocols.undefined: (_nothing, lambda means: means[0]),
}
