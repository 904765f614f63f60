"""What is drawn is what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.report.figures.predictions import against_figure, predictions_figure, signs_figure
from mmsa_lightning.report.rows import Row


def test_predictions_and_labels_are_all_shown_whatever_their_range(row: Callable[..., Row]):
    made = row("tfn", [1.0], np.array([[-4.0, 1.0, 7.5, 0.2]]))  # its labels are 0
    (axis,) = predictions_figure(made, "t").axes
    for low, high in (axis.get_xlim(), axis.get_ylim()):
        assert low < -4 and high > 7.5


def test_two_sides_are_drawn_with_the_sign_of_each_label_and_the_diagonal():
    a, b = np.array([1.0, -2.0, 0.5, 3.0, 0.2]), np.array([0.0, -1.0, 0.5, 2.0, 0.1])
    labels = np.array([2.0, -1.0, 0.0, 3.0, np.nan])
    figure = against_figure(a, b, labels)
    axis = figure.axes[0]
    points = {found.get_label(): found for found in axis.collections}
    np.testing.assert_array_equal(points["label above 0"].get_offsets(), [[1, 0], [3, 2]])
    np.testing.assert_array_equal(points["label above 0"].get_array(), [2, 3])
    np.testing.assert_array_equal(points["label below 0"].get_offsets(), [[-2, -1]])
    np.testing.assert_array_equal(points["label 0"].get_offsets(), [[0.5, 0.5]])
    assert {found.get_clim() for found in points.values()} == {(-1, 3)}  # one scale for all
    diagonal, unknown = axis.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [-2, 3]
    assert (list(unknown.get_xdata()), list(unknown.get_ydata())) == ([0.2], [0.1])
    assert len(against_figure(a, b, np.full(5, np.nan)).axes) == 1  # no bar of colours


def test_differences_are_counted_on_both_sides_of_zero():
    values = np.array([-2.0, -0.01, 0.0, 0.01, 0.02, 1.0])
    (axis,) = signs_figure(values, "x", ("left", "right")).axes
    left, right = axis.containers
    assert [sum(bar.get_height() for bar in bars) for bars in (left, right)] == [2, 3]
    assert max(bar.get_x() + bar.get_width() for bar in left if bar.get_height()) == pytest.approx(0, abs=1e-12)
    assert min(bar.get_x() for bar in right if bar.get_height()) == pytest.approx(0, abs=1e-12)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["left: 2", "right: 3", "mean: -0.163"]
    signs_figure(np.zeros(3), "x", ("left", "right"))
