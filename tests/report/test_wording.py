"""How figures are written."""

from __future__ import annotations

import math

import pytest

from mmsa_lightning.report.comparison import Figure
from mmsa_lightning.report.wording import shown_p, signed, spread


@pytest.mark.parametrize(
    ("mean", "std", "shown"),
    [
        (-7.891, 7.18, "−7.89 ± 7.18"),
        (71.0, math.nan, "71.00"),
        (-0.5, math.nan, "−0.50"),
        (math.nan, 1.0, "undefined"),
    ],
)
def test_a_mean_has_its_spread_and_a_minus_as_far_as_they_are_defined(mean: float, std: float, shown: str):
    assert spread(Figure(mean, std, 3, None)) == shown


def test_differences_have_a_sign_and_a_small_p_is_not_nought():
    assert [signed(value) for value in (1.005, -0.25, 0)] == ["+1.00", "−0.25", "+0.00"]
    assert [shown_p(value) for value in (0.00004, 0.0462)] == ["< 0.0001", "0.0462"]
