"""Means, spreads and differences worked by hand on two seeds and a handful of utterances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.report import comparison
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.training.protocols import MOSI

PAPER = {"tfn": Printed("TFN", dict.fromkeys(MOSI.headings, "50.00") | {"acc7": ""}, {"corr": "a misprint"})}


MakeRow = Callable[..., Row]


def test_mean_and_sample_deviation_times_100(row: MakeRow):
    found = comparison.figures(row("tfn", [0.4, 0.6]), PAPER["tfn"])
    assert found["mae"].mean == pytest.approx(50)
    assert found["mae"].std == pytest.approx(100 * math.sqrt(0.02))
    assert (found["mae"].n, found["mae"].printed) == (2, 50.0)
    assert found["corr"].printed is None  # a misprint
    assert found["acc7"].printed is None  # not printed


def test_one_seed_has_no_spread(row: MakeRow):
    grid = comparison.measured_grid([row("tfn", [0.4])], PAPER, "")
    assert grid.rows[0][:4] == ["TFN", "features", "1", "40.00"]


def test_best_is_the_lowest_mae_and_the_highest_of_the_others(row: MakeRow):
    rows = [row("tfn", [0.4], corr=0.1), row("lmf", [0.3], corr=None), row("mfn", [0.5], corr=0.2)]
    grid = comparison.measured_grid(rows, PAPER, "")
    best = {column: {i for i, j in grid.bold if grid.header[j] == column} for column in ("MAE", "Corr", "Acc7")}
    assert best == {"MAE": {1}, "Corr": {2}, "Acc7": {0, 1, 2}}
    assert grid.rows[1][4] == "undefined"


def test_the_papers_figures_stand_with_the_difference_and_their_errata(row: MakeRow):
    grid = comparison.paper_grid([row("tfn", [0.4]), row("toy", [0.1])], PAPER)
    assert grid.rows[0] == ["TFN", "50.00 (−10.00)", "50.00†", "", *["50.00 (+0.00)"] * 4]
    assert grid.rows[1] == ["toy", *[""] * 7]
    assert "† TFN, Corr: a misprint." in grid.title


def test_the_papers_model_is_tested_against_each_other_row(row: MakeRow):
    rng = np.random.default_rng(0)
    errors = rng.uniform(size=(2, 50))
    rows = [
        row("tfn", [0.5, 0.5], errors + 0.1),
        row("lmf", [0.5, 0.5], errors + rng.normal(scale=0.1, size=(2, 50))),
        row("interactive_attention", [0.5, 0.5], errors),
    ]
    found = comparison.tests(rows)
    assert list(found) == ["tfn", "lmf"]
    assert found["tfn"].difference.value == pytest.approx(-10)
    assert found["tfn"].difference.p == pytest.approx(2 / 10_000)
    assert found["tfn"].corrected == pytest.approx(4 / 10_000)  # two comparisons
    grid = comparison.tests_grid(rows, PAPER)
    assert grid is not None
    assert grid.rows[0] == ["TFN", "−10.00", "−10.00 to −10.00", "0.0002", "0.0004"]
    records = {(r["row"], r["metric"]): r for r in comparison.records(rows, PAPER)}
    assert records["tfn", "mae"]["p_holm"] == found["tfn"].corrected
    assert records["tfn", "mae"]["minus_paper"] == 0
    assert records["tfn", "corr"]["p_holm"] is None


def test_without_the_papers_model_nothing_is_tested(row: MakeRow):
    assert comparison.tests_grid([row("tfn", [0.4])], PAPER) is None
