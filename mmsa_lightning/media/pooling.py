"""Features of frames to features of words: averages within them, as CMU's SDK makes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmsa_lightning.media.words import Word


def by_words(times: np.ndarray, values: np.ndarray, words: Sequence[Word]) -> np.ndarray:
    """The mean over the frames that each word overlaps with.

    Args:
        times: float (t, 2), start and end of each frame in seconds.
        values: float (t, width); a frame that is zero throughout is missing, and counts for no word.
        words: with times on the same clock.

    Returns:
        float32 (words, width); zeros for a word without a frame.
    """
    found = np.zeros((len(words), values.shape[1]), np.float32)
    there = values.any(axis=1)
    for row, word in zip(found, words, strict=True):
        inside = there & (times[:, 0] < word.end) & (times[:, 1] > word.start)
        if inside.any():
            row[:] = values[inside].mean(axis=0, dtype=np.float64)
    return found
