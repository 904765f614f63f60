"""Ranks of rows whose order is known."""

import numpy as np
import pytest

from mmsa_lightning.report.ranks import best_share, mean_rank, rank_shares, ranks
from mmsa_lightning.report.resampling import Sampled, sampled_means


def row(*values: float) -> Sampled:
    """Seeds whose utterances are all alike."""
    return sampled_means([np.array(values)[:, None].repeat(10, 1)])[0]


def test_a_row_that_is_always_better_is_always_first():
    ranked = ranks([row(3.0, 4.0), row(1.0, 2.0), row(5.0)])
    assert best_share(ranked).tolist() == [0, 1, 0]
    assert mean_rank(ranked).tolist() == [2, 1, 3]
    assert rank_shares(ranked).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_seeds_are_drawn_with_replacement():
    # Of two seeds, 1 and 4, the mean is 1, 2.5 or 4 in one, two and one of four draws; below 2 in one of four.
    ranked = ranks([row(1.0, 4.0), row(2.0)])
    assert best_share(ranked) == pytest.approx([0.25, 0.75], abs=0.02)


def test_utterances_are_the_same_of_all_rows():
    errors = np.random.default_rng(0).uniform(0, 100, (1, 40))
    ranked = ranks(sampled_means([errors, errors + 0.1]))  # a difference far below that of two sets of utterances
    assert best_share(ranked).tolist() == [1, 0]


def test_what_is_undefined_is_not_the_best():
    assert best_share(ranks([row(np.nan, 1.0), row(2.0), row(3.0)])).tolist() == [0, 1, 0]


def test_rows_that_tie_are_both_the_best():
    errors = np.random.default_rng(0).uniform(size=(1, 40))
    ranked = ranks(sampled_means([errors, errors, errors + 1]))
    assert best_share(ranked).tolist() == [1, 1, 0]
    assert rank_shares(ranked)[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize("scale", [1, 300])
def test_digits_that_float32_does_not_have_break_no_tie(scale: float):
    drawn = np.random.default_rng(0).uniform(60 * scale, 80 * scale, (1, 1000)).astype(np.float32)
    rows = [Sampled(drawn.mean(axis=1), np.nextafter(drawn, drawn * way), 40) for way in (0, 1, 2)]
    assert (ranks(rows) == 1).all()
    assert best_share(ranks([*rows, Sampled(drawn.mean(axis=1), drawn * 0.9999, 40)])).tolist() == [0, 0, 0, 1]
