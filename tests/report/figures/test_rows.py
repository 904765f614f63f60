"""What is drawn is what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.figures.rows import differences_figure, ranks_figure, rows_figure
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.training.protocols import MOSI, SIMS


def test_long_names_of_rows_leave_room_for_the_figure(row: Callable[..., Row]):
    name = "interactive_attention, objective.positive='>=', objective.generator=crossfit"
    figure = rows_figure(Comparison([row(name, [0.4]), row("tfn", [0.4])], {}), "t")
    figure.canvas.draw()
    assert [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()] == [name, "tfn"]
    assert all(axis.get_window_extent().width > figure.bbox.width / 8 for axis in figure.axes)


def test_rows_show_each_seed_the_mean_and_the_papers_figure(row: Callable[..., Row]):
    paper = {"tfn": Printed("TFN", dict.fromkeys(MOSI.headings, "90.10"), {"corr": "a misprint"})}
    figure = rows_figure(Comparison([row("tfn", [0.4, 0.8])], paper), "t")
    drawn = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines}
    assert drawn["a seed"] == pytest.approx([40, 80])
    assert drawn["paper"] == pytest.approx([90.1])
    (bar,) = figure.axes[0].containers
    assert bar[0].get_xdata() == pytest.approx([60])
    assert "paper" not in {line.get_label() for line in figure.axes[1].lines}  # its corr is a misprint
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["TFN"]


def test_rows_show_the_metrics_of_their_protocol(row: Callable[..., Row]):
    figure = rows_figure(Comparison([row("tfn", [0.4], protocol=SIMS)], {}), "t")
    assert [axis.get_xlabel() for axis in figure.axes] == ["MAE × 100 (lower is better)", "Corr × 100", "Acc2 × 100"]


def test_ranks_show_how_often_each_row_has_each_the_highest_in_the_mean_above():
    ranked = np.array([[2] * 150 + [3] * 50, [1] * 199 + [2], [3] * 150 + [2] * 50])
    figure = ranks_figure(["tfn", "lmf", "mfn"], ranked, {"tfn": Printed("TFN", {}, {})}, "t")
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["lmf", "TFN", "mfn"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3"]
    np.testing.assert_allclose(axis.images[0].get_array(), [[99.5, 0.5, 0], [0, 75, 25], [0, 25, 75]])
    assert [text.get_text() for text in axis.texts] == ["100", "<1", "75", "25", "25", "75"]


def test_the_label_below_two_ranks_is_not_cut_off():
    names = ["interactive_attention, objective.generator=crossfit", "lmf"]
    figure = ranks_figure(names, np.array([[1, 2], [2, 1]]), {}, "t")
    figure.canvas.draw()
    box, whole = figure._supxlabel.get_window_extent(), figure.bbox  # type: ignore[attr-defined]
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1


def test_differences_are_filled_where_they_can_be_told_from_none(row: Callable[..., Row]):
    rng = np.random.default_rng(0)
    errors = rng.random((3, 200))
    rows = [row("interactive_attention", [0.4] * 3, errors), row("tfn", [0.4] * 3, errors + 1)]
    rows.append(row("lmf", [0.4] * 3, rng.permuted(errors, axis=1)))
    (axis,) = differences_figure(Comparison(rows), "t").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["tfn", "lmf"]
    (worse,), (same,) = (line.get_xdata() for line in axis.lines if line.get_marker() == "o")
    assert worse == pytest.approx(-100)
    assert abs(same) < 1
    filled = [line.get_markerfacecolor() != "white" for line in axis.lines if line.get_marker() == "o"]
    assert filled == [True, False]
