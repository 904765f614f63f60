"""Word times that lag: files of MOSI's words go round in which every word has the interval of the next one.

Long words take longer to say. In such a file the length of a word goes with the duration of the interval before its
own (correlation .54 over the 93 videos of MOSI), and not with that of its own (.00).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

PAUSE = "sp"
RELATED = 0.2  # the least correlation of the length of words with their durations that tells anything
SURE = 5.0  # standard errors between two correlations


def lags(words: Sequence[np.ndarray], intervals: Sequence[np.ndarray]) -> bool | None:
    """Whether word i was spoken in interval i - 1; None if the words do not tell.

    Args:
        words: of each video.
        intervals: (words, 2) of each video, in seconds.
    """
    letters, own, before = [], [], []
    for spoken, times in zip(words, intervals, strict=True):
        durations = times[:, 1] - times[:, 0]
        letters += [len(word) if word != PAUSE else 0 for word in spoken[1:]]
        own += durations[1:].tolist()
        before += durations[:-1].tolist()
    table = np.array([letters, own, before])
    table = table[:, (table > 0).all(axis=0)]
    if table.shape[1] < 4 or (np.ptp(table, axis=1) == 0).any():
        return None
    with_own, with_before = np.clip(np.corrcoef(table[0], np.log(table[1:]))[0, 1:], -0.999, 0.999)
    if max(with_own, with_before) < RELATED:
        return None
    apart = (math.atanh(with_before) - math.atanh(with_own)) * math.sqrt((table.shape[1] - 3) / 2)
    return None if abs(apart) < SURE else apart > 0


def put_right(intervals: np.ndarray) -> np.ndarray:
    """The intervals of words that lag: each that of the word before, the first from 0 to where the known ones begin."""
    if not len(intervals):
        return intervals
    begin = intervals[0, 0]
    return np.concatenate([[[min(0.0, begin), begin]], intervals[:-1]])
