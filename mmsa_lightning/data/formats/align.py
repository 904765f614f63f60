"""Alignment of what was measured at different times, as ``mmdataset.align`` of CMU's SDK does it.

https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK, ``mmsdk/mmdatasdk/dataset/dataset.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EPSILON = 1e-5  # seconds; the SDK's: what overlaps by no more does not overlap


def overlapping(reference: np.ndarray, intervals: np.ndarray) -> list[np.ndarray]:
    """For each interval of ``reference`` the rows of ``intervals`` that overlap it by more than :data:`EPSILON`.

    An interval that is itself no longer than that overlaps nothing.

    Args:
        reference: float64 (n, 2), start and end in seconds.
        intervals: float64 (rows, 2), in the order of their starts.
    """
    reached = np.maximum.accumulate(intervals[:, 1])  # no interval before the first that reaches a start can touch it
    firsts = np.searchsorted(reached, reference[:, 0], side="right")
    lasts = np.searchsorted(intervals[:, 0], reference[:, 1], side="left")
    rows = []
    for (start, end), first, last in zip(reference, firsts, lasts, strict=True):
        near = intervals[first:last]
        shared = np.minimum(near[:, 1], end) - np.maximum(near[:, 0], start)
        rows.append(first + np.flatnonzero(shared > EPSILON))
    return rows


def averages(features: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
    """float32 (n, width): the mean of each group of ``rows``, however long each overlaps; zeros for an empty group.

    The SDK's examples average in their collapse function, and fill with zeros by ``impute``.
    """
    found = np.zeros((len(rows), features.shape[1]), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # what is infinite or no number is put right later
        for mean, own in zip(found, rows, strict=True):
            if len(own):
                mean[:] = features[own].mean(axis=0, dtype=np.float64)
    return found
