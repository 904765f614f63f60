"""Means, spreads and differences worked by hand on two seeds and a handful of utterances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.report import tables
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.report.wording import signed
from mmsa_lightning.training.protocols import MOSI

PAPER = {"tfn": Printed("TFN", dict.fromkeys(MOSI.headings, "50.00") | {"acc7": ""}, {"corr": "a misprint"})}


MakeRow = Callable[..., Row]


def test_mean_and_sample_deviation_times_100(row: MakeRow):
    found = Comparison([row("tfn", [0.4, 0.6])], PAPER).figures["tfn"]
    assert found["mae"].mean == pytest.approx(50)
    assert found["mae"].std == pytest.approx(100 * math.sqrt(0.02))
    assert (found["mae"].n, found["mae"].printed) == (2, 50.0)
    assert found["corr"].printed is None  # a misprint
    assert found["acc7"].printed is None  # not printed


def test_an_interval_of_a_mean_ends_at_what_is_possible(row: MakeRow):
    errors = np.array([[0.0] * 9 + [1.0], [0.1] * 9 + [9.0], [-5.0] * 9 + [0.0]])  # two seeds hit all but one
    found = Comparison([row("tfn", [0.1, 0.99, 4.5], errors)]).means["tfn"]
    assert found["acc2_has0"].high == 100 and 0 <= found["acc2_has0"].low < found["acc2_has0"].value
    assert found["mae"].low == 0 and found["mae"].high > 100 * 4.5
    assert math.isnan(found["corr"].low)  # all labels are 0


def test_the_papers_model_is_tested_against_each_other_row(row: MakeRow):
    rng = np.random.default_rng(0)
    errors = rng.uniform(size=(2, 50))
    rows = [
        row("tfn", [0.5, 0.5], errors + 0.1),
        row("lmf", [0.5, 0.5], errors + rng.normal(scale=0.1, size=(2, 50))),
        row("interactive_attention", [0.5, 0.5], errors),
    ]
    compared = Comparison(rows, PAPER)
    found = compared.tests
    assert list(found) == ["tfn", "lmf"]
    assert found["tfn"].difference.value == pytest.approx(-10)
    assert found["tfn"].difference.utterances_p == pytest.approx(2 / 10_000)
    assert found["tfn"].corrected_utterances == pytest.approx(4 / 10_000)  # two comparisons
    assert found["lmf"].corrected == found["lmf"].difference.p > found["tfn"].corrected == 2 * found["tfn"].difference.p
    grid = tables.tests_grid(compared)
    assert grid is not None
    difference = found["lmf"].difference
    assert grid.rows[1] == [
        "lmf",
        signed(difference.value),
        f"{signed(difference.low)} to {signed(difference.high)}",
        *[f"{difference.p:.4f}"] * 2,
    ]
    detectable = [found[row].difference.detectable for row in found]
    shown = f"{np.mean(detectable):.2f} (median; {min(detectable):.2f} to {max(detectable):.2f})"
    assert grid.title.endswith(f"80 % power (with two seeds 59 to 68 %) at p < .05 before Holm's correction: {shown}.")


def test_any_row_can_be_the_one_that_is_tested(row: MakeRow):
    rows = [row(name, [0.5, 0.5], np.full((2, 20), error)) for name, error in (("a", 0.5), ("b", 0.25), ("full", 0.75))]
    compared = Comparison(rows, against="b")
    assert {name: test.difference.value for name, test in compared.tests.items()} == {"a": -25, "full": -50}
    grid = tables.tests_grid(compared)
    assert grid is not None and grid.title.startswith("MAE of b minus each other row's (negative: b is better)")
    against_full = tables.tests_grid(Comparison(rows))
    assert against_full is not None and "negative: the paper's model is better" in against_full.title
    differences = {r["row"]: r["model_minus_row"] for r in tables.records(compared) if r["metric"] == "mae"}
    assert differences == {"a": -25, "b": None, "full": -50}
    with pytest.raises(UserError, match="--against c: the rows are a; b; full"):
        Comparison(rows, against="c")


def test_the_best_has_the_highest_of_what_is_not_an_error(row: MakeRow) -> None:
    """All labels are 0, of which a prediction below 0 is wrong."""
    best = Comparison([row("a", [0.5] * 2, np.full((2, 10), 0.5)), row("b", [0.1] * 2, np.full((2, 10), -0.1))]).best
    assert (best["mae"][0], best["acc2_has0"][0]) == ("b", "a")
    assert best["acc2_has0"][1]["b"].value == -100
