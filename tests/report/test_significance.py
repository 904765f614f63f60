"""Against SciPy's tests where these are exact, the analysis of variance by hand, and made-up experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from intervals import World, coverage
from scipy import stats

from mmsa_lightning.report.resampling import sampled_means
from mmsa_lightning.report.significance import Estimate, estimate, holm
from mmsa_lightning.training.protocols import MOSI


def errors(seeds: int, shift: float, *, rng: np.random.Generator, utterances: int = 200) -> np.ndarray:
    return np.abs(rng.normal(size=(seeds, utterances))) + shift


def difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    return estimate(*sampled_means([first, second]))


def test_value_is_the_difference_of_means():
    rng = np.random.default_rng(1)
    first, second = errors(3, 0.0, rng=rng), errors(5, 0.1, rng=rng)
    assert difference(first, second).value == pytest.approx(first.mean() - second.mean())
    assert estimate(sampled_means([first])[0]).value == pytest.approx(first.mean())


def test_of_one_seed_each_it_is_the_paired_test_over_utterances():
    rng = np.random.default_rng(2)
    first, second = errors(1, 0.0, rng=rng), errors(1, 0.1, rng=rng)
    found, paired = difference(first, second), stats.ttest_rel(first[0], second[0])
    interval = paired.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.004)
    assert found.p == pytest.approx(paired.pvalue, abs=0.01)
    assert found.df == pytest.approx(199)
    assert (found.utterances_low, found.utterances_high) == pytest.approx((interval.low, interval.high), abs=0.01)
    assert found.utterances_p == pytest.approx(paired.pvalue, abs=0.02)


def test_where_utterances_do_not_differ_it_is_welchs_test_of_the_seeds():
    first, second = (np.array(means)[:, None].repeat(50, 1) for means in ([1.0, 1.2, 1.5], [1.6, 1.7, 1.9, 2.0, 1.6]))
    found, welch = difference(first, second), stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-4)
    assert (found.p, found.df) == pytest.approx((welch.pvalue, welch.df), rel=1e-3)


def test_variance_is_that_of_seeds_crossed_with_utterances():
    """S² / n and the covariance that seeds share, as by Obuchowski and Rockette; not its interaction three times."""
    rng = np.random.default_rng(3)
    first, second = (
        rng.normal(size=200) + 2 * rng.normal(size=(5, 200)) + rng.normal(scale=0.5, size=(5, 1)) for _ in range(2)
    )
    seeds = sum(values.mean(1).var(ddof=1) / 5 for values in (first, second))
    covariance = np.cov(np.concatenate([first, second])) / 200
    own, other = covariance[:5, :5], covariance[5:, 5:]
    shared = sum((block.sum() - np.trace(block)) / 20 for block in (own, other)) - 2 * covariance[:5, 5:].mean()
    assert difference(first, second).error ** 2 == pytest.approx(seeds + shared, rel=0.02)


def test_seeds_that_do_not_differ_bring_no_more_certainty_than_one():
    rng = np.random.default_rng(4)
    first, second = errors(1, 0.0, rng=rng), errors(1, 0.1, rng=rng)
    one, copies = difference(first, second), difference(first.repeat(3, 0), second.repeat(3, 0))
    assert (copies.error, copies.p) == pytest.approx((one.error, one.p), rel=1e-4)


def test_seeds_that_differ_take_certainty_away():
    rng = np.random.default_rng(5)
    first, second = errors(3, 0.0, rng=rng), errors(3, 0.3, rng=rng)
    wide = difference(first + np.array([[-0.3], [0.0], [0.3]]), second)
    assert wide.p > 0.1 > 0.01 > difference(first, second).p
    assert wide.utterances_p == pytest.approx(difference(first, second).utterances_p)  # which knows nothing of it


def test_seeds_of_two_rows_are_not_paired():
    """Seed 1 of a row has nothing to do with seed 1 of another, even where they happen to vary together."""
    first = errors(3, 0.0, rng=np.random.default_rng(6))
    found, seeds = difference(first, first + 0.1), first.mean(axis=1).var(ddof=1)
    assert (found.error, found.df) == pytest.approx((np.sqrt(2 * seeds / 3), 4), rel=1e-4)


def test_pairing_is_used():
    """A small, constant difference is certain however much the utterances differ from one another."""
    first = errors(1, 0.0, rng=np.random.default_rng(4)) * 100
    found = difference(first, first + 0.01)
    assert found.p < 1e-9
    assert found.utterances_p == pytest.approx(2 / 10_000)


def test_no_difference_is_no_finding():
    first = errors(2, 0.0, rng=np.random.default_rng(5))
    same = difference(np.ones((1, 4)), np.ones((1, 4)))
    assert (same.value, same.low, same.high, same.p, same.utterances_p) == (0, 0, 0, 1, 1)
    assert difference(first, first).p == 1


def test_what_is_undefined_for_a_seed_has_no_interval():
    first = np.array([[1.0, 2.0], [np.nan, 1.0]])
    found = difference(first, first)
    assert all(math.isnan(v) for v in (found.value, found.low, found.high, found.p, found.detectable))


def test_of_a_single_utterance_nothing_can_be_said():
    found = difference(np.array([[1.0], [1.1]]), np.array([[2.0], [2.1]]))
    assert found.value == pytest.approx(-1)
    assert all(math.isnan(v) for v in (found.low, found.high, found.p, found.detectable))


def test_other_utterances_are_refused():
    with pytest.raises(ValueError, match="3 utterances against 4"):
        estimate(sampled_means([np.zeros((1, 3))])[0], sampled_means([np.zeros((1, 4))])[0])


def test_what_can_be_shown_is_what_is_found_in_80_of_100_experiments():
    found = Estimate(0.0, 0.5, 1e6, 0.0, 0.0, 1.0)
    assert found.detectable == pytest.approx((1.96 + 0.8416) * 0.5, abs=1e-3)
    few = Estimate(0.0, 0.5, 8.0, 0.0, 0.0, 1.0)
    power = stats.nct.sf(stats.t.ppf(0.975, 8), 8, few.detectable / 0.5)  # of Student's t about another centre
    assert power == pytest.approx(0.8, abs=0.01)


def test_intervals_hold_the_true_value():
    """As experiments/benchmarks/intervals.py measures it, with few experiments: wide bounds."""
    found = coverage(World(0.1), experiments=60, utterances=120, seeds=[3, 5])
    held = np.array([own[0] for own in found.values()])
    assert held.mean() == pytest.approx(95, abs=3)
    assert held.min() >= 88
    assert found[3, "Δ mae"][2] < 88  # over utterances alone
    assert np.mean([own[3] for (_, name), own in found.items() if name.startswith("Δ")]) == pytest.approx(80, abs=12)


def test_true_values_are_those_of_many_seeds_and_utterances():
    predictions, labels = World(0.1).systems(np.random.default_rng(0), 200, 4000)
    truth = World(0.1).truth()
    for metric, value in truth.items():
        many = [float(MOSI.metrics[metric](torch.from_numpy(p), torch.from_numpy(labels))) for p in predictions[0]]
        assert np.mean(many) == pytest.approx(value, abs=0.015)


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, the last raised to .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_is_undefined_is_no_comparison():
    np.testing.assert_allclose(holm([0.01, math.nan, 0.02]), [0.02, math.nan, 0.02])
    np.testing.assert_array_equal(holm([math.nan]), [math.nan])
