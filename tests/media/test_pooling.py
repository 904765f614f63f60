"""Averages of frames within words."""

from __future__ import annotations

import numpy as np

from mmsa_lightning.media.pooling import by_words
from mmsa_lightning.media.words import Word


def test_a_word_is_the_mean_of_the_frames_that_it_overlaps_with() -> None:
    times = np.stack([np.arange(6), np.arange(1, 7)], axis=1) / 10
    values = np.array([[1, 10], [2, 20], [0, 0], [4, 40], [5, 0], [6, 60]], np.float32)
    words = [
        Word("first", 0.0, 0.1),  # ends where the second frame begins
        Word("two", 0.05, 0.15),
        Word("over a missing one", 0.1, 0.35),
        Word("inside", 0.42, 0.44),
        Word("missing", 0.21, 0.29),
        Word("behind", 0.9, 1.0),
    ]
    found = by_words(times, values, words)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 10], [1.5, 15], [3, 30], [5, 0], [0, 0], [0, 0]])


def test_no_frames() -> None:
    assert by_words(np.zeros((0, 2)), np.zeros((0, 3), np.float32), [Word("a", 0, 1)]).tolist() == [[0, 0, 0]]
