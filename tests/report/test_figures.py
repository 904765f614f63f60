"""What is drawn is what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.report.figures import losses_figure, rows_figure
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import METRICS, Row


def test_losses_are_means_over_the_seeds_of_the_tasks_that_there_are():
    names = ("train/loss", "train/loss_text")
    histories = [{name: np.array([4.0, 2.0, 9.0][:epochs]) for name in names} for epochs in (2, 3)]
    histories[0]["train/loss"] = np.array([2.0, 1.0])
    (axis,) = losses_figure(histories, "a title").axes
    lines = {line.get_label(): line for line in axis.lines}
    assert list(lines) == ["total", "text"]
    np.testing.assert_array_equal(lines["total"].get_xdata(), [1, 2])
    np.testing.assert_array_equal(lines["total"].get_ydata(), [3, 1.5])
    assert len({line.get_linestyle() for line in lines.values()}) == 2  # told apart without colour


def test_rows_show_each_seed_the_mean_and_the_papers_figure(row: Callable[..., Row]):
    paper = {"tfn": Printed("TFN", dict.fromkeys(METRICS, "90.10"), {"corr": "a misprint"})}
    figure = rows_figure([row("tfn", [0.4, 0.8])], paper, "t")
    drawn = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines}
    assert drawn["a seed"] == pytest.approx([40, 80])
    assert drawn["paper"] == pytest.approx([90.1])
    (bar,) = figure.axes[0].containers
    assert bar[0].get_xdata() == pytest.approx([60])
    assert "paper" not in {line.get_label() for line in figure.axes[1].lines}  # its corr is a misprint
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["TFN"]
