"""Against an analysis of the eight rows by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.effects import effects, pairs
from mmsa_lightning.report.rows import Row

MakeRow = Callable[..., Row]

WITH = {
    "none": (0, 0, 0),
    "bi": (1, 0, 0),
    "uni": (0, 1, 0),
    "weight": (0, 0, 1),
    "bi_uni": (1, 1, 0),
    "bi_weight": (1, 0, 1),
    "uni_weight": (0, 1, 1),
    "full": (1, 1, 1),
}
CHANGES = np.array([-0.05, 0.0, 0.08])


@pytest.fixture
def rows(row: MakeRow) -> list[Row]:
    """Errors that each part changes alike in every row; seeds differ, and utterances do not."""
    rng = np.random.default_rng(0)
    maes = {name: 0.8 + CHANGES @ own + rng.normal(0, 0.02, 3) for name, own in WITH.items()}
    return [row(name, list(own), own[:, None].repeat(50, 1)) for name, own in maes.items()]


def test_rows_that_differ_in_one_part_alone_are_pairs() -> None:
    assert pairs(WITH) == {
        "bi": [("bi", "none"), ("bi_uni", "uni"), ("bi_weight", "weight"), ("full", "uni_weight")],
        "uni": [("uni", "none"), ("bi_uni", "bi"), ("uni_weight", "weight"), ("full", "bi_weight")],
        "weight": [("weight", "none"), ("bi_weight", "bi"), ("uni_weight", "uni"), ("full", "bi_uni")],
    }
    assert pairs(["bi", "full", "uni_weight", "tfn"]) == {"bi": [("full", "uni_weight")]}


def test_an_effect_is_the_contrast_of_means_with_the_variance_of_all_runs(rows: list[Row]) -> None:
    found = effects(Comparison(rows))
    means = np.array([100 * own.errors.mean() for own in rows])
    variances = np.array([(100 * own.errors[:, 0]).var(ddof=1) / 3 for own in rows]) / 16
    signs = 2 * np.array(list(WITH.values())) - 1
    df = variances.sum() ** 2 / (variances**2 / 2).sum()
    for part, sign in zip(("bi", "uni", "weight"), signs.T, strict=True):
        estimate = found[part].difference
        assert estimate.value == pytest.approx((sign * means).sum() / 4)
        reach = stats.t.ppf(0.975, df) * np.sqrt(variances.sum())
        assert (estimate.low, estimate.high) == pytest.approx(
            (estimate.value - reach, estimate.value + reach), rel=1e-3
        )
    assert found["bi"].corrected == pytest.approx(2 * found["bi"].difference.p)  # the second smallest of three


def test_it_is_surer_than_one_pair_of_rows(rows: list[Row]) -> None:
    compared = Comparison(rows)
    assert effects(compared)["weight"].difference.error < compared.tests["bi_uni"].difference.error


def test_a_single_pair_is_left_to_the_tests_of_the_rows(rows: list[Row]) -> None:
    assert effects(Comparison([own for own in rows if own.name in ("none", "bi")])) == {}
    assert effects(Comparison(rows[:1])) == {}
