import h5py
import numpy as np
import pytest

from mmsa_lightning.data.formats.lag import PAUSE, lags, put_right

WORDS = [PAUSE, "a", "so", "the", "film", "really", "terrific", "unbelievable"]


def spoken(n, seed=0, per_letter=0.06):
    """Words that take their time, and half as much again by chance; pauses as long as they like."""
    rng = np.random.default_rng(seed)
    words = rng.choice(WORDS, n)
    seconds = [rng.uniform(0.1, 1.5) if w == PAUSE else per_letter * len(w) * rng.uniform(0.5, 1.5) for w in words]
    edges = 1 + np.cumsum([0, *seconds])
    return np.array(words, object), np.stack([edges[:-1], edges[1:]], axis=1)


def lagging(intervals):
    """As in the files that go round: every word with the interval of the next."""
    return np.concatenate([intervals[1:], [[intervals[-1, 1], intervals[-1, 1] + 0.5]]])


def test_times_that_lag_are_told_from_times_that_do_not():
    videos = [spoken(150, seed) for seed in range(3)]
    words = [one for one, _ in videos]
    assert lags(words, [times for _, times in videos]) is False
    assert lags(words, [lagging(times) for _, times in videos]) is True
    assert lags(words, [put_right(lagging(times)) for _, times in videos]) is False


def test_times_put_right_are_what_they_were_but_for_the_first():
    _, times = spoken(20)
    found = put_right(lagging(times))
    np.testing.assert_array_equal(found[1:], times[1:])
    assert found[0].tolist() == [0, times[0, 1]]  # when the first began is not in the file
    assert put_right(np.array([[-2.0, 0.0], [0.0, 1.0]])).tolist() == [[-2, -2], [-2, 0]]
    assert put_right(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("case", ["few", "none", "all pauses", "one length", "even times", "no relation", "other lag"])
def test_what_cannot_be_decided_is_not(case):
    words, times = spoken(12 if case == "few" else 400)
    if case == "none":
        words, times = words[:0], times[:0]
    if case == "all pauses":
        words[:] = PAUSE
    if case == "one length":
        words[:] = "same"
    if case == "even times":
        times = np.stack([np.arange(400) / 2, np.arange(400) / 2 + 0.5], axis=1)
    if case == "no relation":
        words = np.random.default_rng(1).permutation(words)
    if case == "other lag":
        times = put_right(times)
    assert lags([words], [times]) is None


def test_an_exact_relation_is_decided():
    words = np.array([word for word in WORDS[1:] for _ in range(20)], object)
    words = np.random.default_rng(0).permutation(words)
    edges = np.cumsum([0, *(len(word) / 10 for word in words)])
    assert lags([words], [np.stack([edges[:-1], edges[1:]], axis=1)]) is False


def test_the_real_words_of_mosi_lag(real_data):
    with h5py.File(real_data / "words.csd") as file:
        (root,) = file.values()
        videos = [(video["features"].asstr()[:, 0], video["intervals"][:]) for video in root["data"].values()]
    words = [one for one, _ in videos]
    assert lags(words, [times for _, times in videos]) is True
    assert lags(words, [put_right(times) for _, times in videos]) is False
