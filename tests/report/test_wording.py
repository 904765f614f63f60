"""How figures are written."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mmsa_lightning.report.comparison import Figure, Test
from mmsa_lightning.report.significance import Estimate
from mmsa_lightning.report.wording import ranked, resampled, said_of, short_p, shown_p, signed, spread

FOUND = Estimate(1.0, 0.5, 4.0, 0.1, 1.9, 0.04)


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


def test_what_is_undefined_is_no_number():
    assert (signed(math.nan), shown_p(math.nan), short_p(math.nan)) == ("undefined", "undefined", None)
    undefined = Test(replace(FOUND, value=math.nan, error=math.nan), math.nan, math.nan)
    assert said_of({"a": Test(FOUND, 0.5, 0.5), "b": undefined}, 3) == said_of({"a": Test(FOUND, 0.5, 0.5)}, 3)
    assert said_of({"b": undefined}, 3) == "no comparison is defined."


def test_few_seeds_are_told_of():
    one, two, three = (said_of({"x": Test(FOUND, 0.5, 0.5)}, fewest) for fewest in (1, 2, 3))
    assert one == three and "with 80 % power at p" in one
    assert "with 80 % power (with two seeds 59 to 68 %) at p" in two
    assert "where a row has one seed, what another would change is left out" in resampled(1) and "row" not in resampled(
        2
    )
    assert ranked([3, 2]) == "ranks by MAE over resampled seeds and utterances"
    assert ranked([3, 1]) == "ranks by MAE over resampled seeds and utterances; rows with one seed keep it"
    assert ranked([1, 1]) == "ranks by MAE over resampled utterances, of one seed a row"
