"""Against SciPy, Holm's procedure worked by hand, and what must hold of any paired test."""

import numpy as np
import pytest
from scipy import stats

from mmsa_lightning.report.significance import holm, paired_bootstrap


def errors(seeds: int, shift: float, *, rng: np.random.Generator, utterances: int = 200) -> np.ndarray:
    return np.abs(rng.normal(size=(seeds, utterances))) + shift


def test_value_is_the_difference_of_mean_errors():
    rng = np.random.default_rng(1)
    first, second = errors(3, 0.0, rng=rng), errors(5, 0.1, rng=rng)
    assert paired_bootstrap(first, second).value == pytest.approx(first.mean() - second.mean())


def test_interval_and_p_agree_with_the_normal_theory_of_a_paired_mean():
    rng = np.random.default_rng(2)
    first, second = errors(3, 0.0, rng=rng, utterances=2000), errors(3, 0.02, rng=rng, utterances=2000)
    found = paired_bootstrap(first, second)
    paired = stats.ttest_rel(first.mean(0), second.mean(0))
    assert found.p == pytest.approx(paired.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx(tuple(paired.confidence_interval(0.95)), abs=0.003)


def test_utterances_are_drawn_whole():
    """Two copies of a seed bring no more certainty than one: a bootstrap of single errors would claim so."""
    rng = np.random.default_rng(3)
    first, second = errors(1, 0.0, rng=rng), errors(1, 0.1, rng=rng)
    assert paired_bootstrap(first.repeat(2, 0), second.repeat(2, 0)) == paired_bootstrap(first, second)


def test_pairing_is_used():
    """A small, constant difference is certain however much the utterances differ from one another."""
    first = errors(1, 0.0, rng=np.random.default_rng(4)) * 100
    assert paired_bootstrap(first, first + 0.01).p == pytest.approx(2 / 10_000)


def test_no_difference_is_no_finding():
    first = errors(2, 0.0, rng=np.random.default_rng(5))
    found = paired_bootstrap(first, first)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_other_utterances_are_refused():
    with pytest.raises(ValueError, match="3 utterances against 4"):
        paired_bootstrap(np.zeros((1, 3)), np.zeros((1, 4)))


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, the last raised to .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
