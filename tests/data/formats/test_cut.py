"""Utterances of one video, by hand: words of one second each, from 0 on, and utterances of which the last has none."""

import numpy as np
import pytest

from mmsa_lightning.data.formats.cut import by_time, by_word
from mmsa_lightning.data.formats.sequence import Budget, Entry
from mmsa_lightning.errors import UserError

LABELS = np.array([[0, 2], [2, 4.5], [9, 9.5]])
SECONDS = np.stack([np.arange(5.0), np.arange(5.0) + 1], axis=1)
HALVES = np.stack([np.arange(0, 4, 0.5), np.arange(0, 4, 0.5) + 0.5], axis=1)


@pytest.fixture
def budget():
    return Budget([])


@pytest.fixture
def words():
    return Entry(np.array(["so", "sp", "it", "is", "good"], object), SECONDS)


def column(*values):
    return np.array(values, np.float64)[:, None]


def lists(arrays):
    return [array.ravel().tolist() for array in arrays]


def test_words_and_what_overlaps_them(words, budget):
    halves = Entry(column(*range(8)), HALVES)  # nothing after 4
    cut = by_word(LABELS, words, {"audio": [halves]}, budget)
    assert cut.words == [["so"], ["it", "is", "good"], []]
    assert lists(cut.features["audio"]) == [[0.5], [4.5, 6.5, 0], []]
    assert (cut.pauses, cut.total, cut.empty) == (1, 4, {"audio": 1})
    assert cut.whole() == [True, True, False]


def test_sequences_of_a_modality_are_joined(words, budget):
    halves, seconds = Entry(column(*range(8)), HALVES), Entry(column(*range(10, 15)), SECONDS)
    cut = by_word(LABELS, words, {"audio": [seconds, halves], "vision": [halves]}, budget)
    assert cut.features["audio"][1].tolist() == [[12, 4.5], [13, 6.5], [14, 0]]
    assert cut.features["vision"][1].tolist() == [[4.5], [6.5], [0]]


def test_a_word_on_the_edge_is_in_both_utterances(words, budget):
    cut = by_word(np.array([[0, 2.5], [2.5, 3]]), words, {"audio": [Entry(column(*range(5)), SECONDS)]}, budget)
    assert cut.words == [["so", "it"], ["it"]] and cut.total == 2
    assert lists(cut.features["audio"]) == [[0, 2], [2]]


def test_word_vectors_are_steps_without_words(budget):
    """Their own values are taken as they are; vectors that overlap them are averaged."""
    vectors = Entry(column(*range(5)), SECONDS + np.array([-0.2, 0.2]))
    cut = by_word(LABELS, vectors, {"text": [vectors, Entry(column(*range(8)), HALVES)]}, budget)
    assert cut.words is None and cut.whole() == [True, True, False]
    assert [row[0] for row in cut.features["text"][0].tolist()] == [0, 1, 2]
    assert cut.features["text"][0][1].tolist() == [1, 2.5]


def test_words_alone(words, budget):
    cut = by_word(LABELS, words, {}, budget)
    assert (cut.words, cut.features, cut.whole()) == ([["so"], ["it", "is", "good"], []], {}, [True, True, False])


def test_without_words_every_modality_keeps_its_steps(budget):
    halves, seconds = Entry(column(*range(8)), HALVES), Entry(column(*range(10, 15)), SECONDS)
    cut = by_time(LABELS, {"audio": [halves], "vision": [seconds, seconds]}, budget)
    assert lists(cut.features["audio"]) == [[0, 1, 2, 3], [4, 5, 6, 7], []]
    assert cut.features["vision"][0].tolist() == [[10, 10], [11, 11]]
    assert (cut.words, cut.whole(), cut.empty) == (None, [True, True, False], {})
    with pytest.raises(UserError, match="sequences of audio have other times"):
        by_time(LABELS, {"audio": [halves, seconds]}, budget)


@pytest.mark.parametrize("cut", ["by_word", "by_time"])
def test_utterances_that_all_hold_everything_are_not_made(cut, budget, words):
    """Many labels over the same steps multiply them."""
    labels = np.tile([[0.0, 5.0]], (20000, 1))
    audio = {"audio": [Entry(np.ones((5, 300)), SECONDS)]}
    with pytest.raises(UserError, match="too much for files of this size"):
        if cut == "by_word":
            by_word(labels, words, audio, budget)
        else:
            by_time(labels, audio, budget)
