"""Grids and records of rows that were made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.report import tables
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.effects import effects
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Agreement, Row
from mmsa_lightning.report.significance import estimate
from mmsa_lightning.report.wording import short_p
from mmsa_lightning.training.protocols import MOSI, SIMS

PAPER = {"tfn": Printed("TFN", dict.fromkeys(MOSI.headings, "50.00") | {"acc7": ""}, {"corr": "a misprint"})}


MakeRow = Callable[..., Row]


def test_one_seed_has_no_spread(row: MakeRow):
    grid = tables.measured_grid(Comparison([row("tfn", [0.4])], PAPER), "")
    assert grid.rows[0][:4] == ["TFN", "features", "1", "40.00"]


def test_best_is_the_lowest_mae_and_the_highest_of_the_others(row: MakeRow):
    rows = [row("tfn", [0.4], corr=0.1), row("lmf", [0.3], corr=None), row("mfn", [0.5], corr=0.2)]
    grid = tables.measured_grid(Comparison(rows, PAPER), "")
    best = {column: {i for i, j in grid.bold if grid.header[j] == column} for column in ("MAE", "Corr", "Acc7")}
    assert best == {"MAE": {1}, "Corr": {2}, "Acc7": {0, 1, 2}}
    assert grid.rows[1][4] == "undefined"


def test_the_papers_figures_stand_with_the_difference_and_their_errata(row: MakeRow):
    grid = tables.paper_grid(Comparison([row("tfn", [0.4]), row("toy", [0.1])], PAPER))
    assert grid is not None
    assert grid.rows[0] == ["TFN", "50.00 (−10.00)", "50.00†", "", *["50.00 (+0.00)"] * 4]
    assert grid.rows[1] == ["toy", *[""] * 7]
    assert "† TFN, Corr: a misprint." in grid.title


def test_rows_that_the_paper_lacks_are_not_set_beside_nothing(row: MakeRow):
    assert tables.paper_grid(Comparison([row("toy", [0.1])], PAPER)) is None


def test_the_csv_has_both_intervals_what_could_be_shown_and_ranks_to_sensible_digits(row: MakeRow):
    rng = np.random.default_rng(0)
    errors = rng.uniform(size=(2, 50))
    rows = [
        row("tfn", [0.5, 0.5], errors + rng.normal(0.5, 0.05, size=(2, 50))),
        row("interactive_attention", [0.5, 0.5], errors),
    ]
    compared = Comparison(rows, PAPER)
    records = {(r["row"], r["metric"]): r for r in tables.records(compared)}
    tfn, model = records["tfn", "mae"], records["interactive_attention", "mae"]
    found = compared.tests["tfn"]
    for column, value in {
        "mean_low": estimate(compared.samples["tfn"]["mae"]).low,
        "mean_high_utterances": estimate(compared.samples["tfn"]["mae"]).utterances_high,
        "minus_best": -found.difference.value,
        "minus_best_high": -found.difference.low,
        "model_minus_row": found.difference.value,
        "low": found.difference.low,
        "high_utterances": found.difference.utterances_high,
        "detectable": found.difference.detectable,
    }.items():
        assert tfn[column] == round(value, 4), column
    assert (tfn["best"], model["best"], model["minus_best"]) == ("interactive_attention", "interactive_attention", None)
    assert (tfn["best_share"], model["best_share"], model["mean_rank"]) == (0, 1, 1)
    assert (tfn["p_utterances"], tfn["minus_paper"]) == (0.0002, 0)
    assert tfn["p_holm"] == pytest.approx(found.difference.p, rel=1e-3) and len(f"{tfn['p_holm']:.15g}") < 12
    assert (records["tfn", "corr"]["p_holm"], records["tfn", "corr"]["best_share"]) == (None, None)


def test_intervals_stand_below_the_means_and_against_the_best_of_each_metric(row: MakeRow):
    rng = np.random.default_rng(0)
    errors = rng.uniform(size=(2, 50))
    rows = [row("tfn", [0.5, 0.5], errors + 0.1), row("lmf", [0.5, 0.5], errors)]
    compared = Comparison(rows, PAPER)
    means, minus = tables.intervals_grids(compared)
    found = estimate(compared.samples["tfn"]["mae"])
    assert means.rows[0][:3] == ["TFN", f"{found.low:.1f} to {found.high:.1f}", "undefined"]  # all labels are 0
    best, others = compared.best["mae"]
    assert (best, others["tfn"].value) == ("lmf", pytest.approx(10))
    low, high = others["tfn"].low, others["tfn"].high
    assert [cells[:3] for cells in minus.rows] == [
        ["TFN", f"{low:+.1f} to {high:+.1f}".replace("-", "−"), ""],
        ["lmf", "best", ""],
    ]
    assert "one seed" not in means.title
    means, _ = tables.intervals_grids(Comparison([*rows, row("mfn", [0.5], errors[:1])], PAPER))
    assert "where a row has one seed, what another would change is left out" in means.title
    assert len(tables.intervals_grids(Comparison(rows[:1], PAPER))) == 1


def test_effects_of_parts_are_named_and_said_how_many_pairs_they_are_of(row: MakeRow):
    maes = {"none": 0.5, "bi": 0.4, "uni": 0.6, "bi_uni": 0.5}
    rows = [row(name, [mae] * 2, np.full((2, 9), mae)) for name, mae in maes.items()]
    compared = Comparison(rows)
    found = effects(compared)
    grid = tables.effects_grid(compared, found)
    assert [cells[:2] for cells in grid.rows] == [
        ["bi, attention between modalities", "−10.00"],
        ["uni, attention within each", "+10.00"],
    ]
    assert "(bi: 2, uni: 2)" in grid.title and "Holm over 2 comparisons" in grid.title
    records = tables.effects_records(found)
    assert [(r["row"], r["metric"], r["difference"], r["low"]) for r in records] == [
        ("bi", "mae", -10, -10),
        ("uni", "mae", 10, 10),
    ]
    assert all(r["p"] == pytest.approx(0) and r["detectable"] == 0 for r in records)


def test_without_the_papers_model_nothing_is_tested(row: MakeRow):
    assert tables.tests_grid(Comparison([row("tfn", [0.4])], PAPER)) is None


def test_columns_names_and_directions_are_the_protocols(row: MakeRow):
    rows = [row("tfn", [0.4], protocol=SIMS, acc5=0.2), row("lmf", [0.3], protocol=SIMS, acc5=0.3)]
    grid = tables.measured_grid(Comparison(rows), "C.")
    assert grid.header == ["", "text", "n", "MAE", "Corr", "Acc2", "Acc3", "Acc5", "F1"]
    assert (grid.title, grid.rows[0][3:8:4]) == ("C.", ["40.00", "20.00"])
    assert {j for i, j in grid.bold if i == 0} == {4, 5, 6, 8}  # ties with the other row; not MAE, not Acc5
    assert [r["metric"] for r in tables.records(Comparison(rows[:1]))] == list(SIMS.headings)


def test_generated_labels_stand_beside_true_ones_where_there_are_any(row: MakeRow):
    rows = [row("tfn", [0.4]), row("self_mm", [0.3, 0.5])]
    text = Agreement({"corr": np.array([0.7, 0.8])}, {"corr": 0.75})
    vision = Agreement({"corr": np.array([0.6, 0.6])}, {"corr": 0.5})
    rows[1].agreement = {"text": text, "vision": vision}
    grid = tables.measured_grid(Comparison(rows, PAPER), "C.")
    assert grid.header[-2:] == ["gen. text", "gen. vision"]
    assert [cells[-2:] for cells in grid.rows] == [["", ""], ["75.00 ± 7.07", "60.00 ± 0.00"]]
    assert "the utterances' own label reaches text 75.00, vision 50.00." in grid.title
    assert max(j for _, j in grid.bold) == len(grid.header) - 3  # no row is best in them
    (record,) = (r for r in tables.records(Comparison(rows, PAPER)) if r["metric"] == "generated_text")
    assert (record["row"], record["n"], record["mean"], record["p"]) == ("self_mm", 2, 75, None)


def test_the_columns_of_a_record_are_what_they_say(row: MakeRow) -> None:
    rng = np.random.default_rng(0)
    errors = rng.uniform(size=(3, 50))
    rows = [
        row("tfn", [0.4, 0.5, 0.3], errors + rng.normal(0.02, 0.1, size=(3, 50))),
        row("full", [0.5] * 3, errors + np.array([[0.0], [0.05], [-0.05]])),
    ]
    compared = Comparison(rows, PAPER)
    (record,) = [r for r in tables.records(compared) if (r["row"], r["metric"]) == ("tfn", "mae")]
    assert (record["std"], record["minus_paper"]) == (10, -10)  # of .4 ± .1 and the paper's .50, times 100
    assert record["p_holm_utterances"] == short_p(compared.tests["tfn"].corrected_utterances) != record["p_holm"]
