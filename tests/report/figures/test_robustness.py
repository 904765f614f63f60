"""What is drawn is what was measured."""

from __future__ import annotations

import numpy as np

from mmsa_lightning.report.curves import Curve
from mmsa_lightning.report.figures.robustness import robustness_figure
from mmsa_lightning.training.protocols import MOSI


def curve(row: str, mode: str, at: list[str], mae: list[list[float]], complete: str | None = None) -> Curve:
    values = {metric: np.full((len(mae), len(at)), 0.5) for metric in MOSI.headings} | {"mae": np.array(mae)}
    draws = [(1, str(mask_seed)) for mask_seed in range(len(mae))]
    return Curve(row, complete, mode, MOSI, at, draws, values, np.ones((1, len(at), 2)))


def test_a_line_is_the_mean_over_seeds_and_masks_where_something_was_measured():
    found = [
        curve("a", "frames", ["0.0", "0.5", "1.0"], [[0.5, 0.75, 1.0], [0.5, 1.25, 2.0]]),
        curve("b", "frames", ["0.0", "0.5", "1.0"], [[0.25, np.nan, 0.75]]),
    ]
    figure = robustness_figure(found, "t")
    (axis,) = (axis for axis in figure.axes if "MAE" in axis.get_ylabel())
    lines = {line.get_label(): line for line in axis.lines}
    np.testing.assert_allclose(lines["a"].get_ydata(), [50, 100, 150])
    np.testing.assert_allclose(lines["b"].get_xdata(), [0, 2])
    np.testing.assert_allclose(lines["b"].get_ydata(), [25, 75])
    assert len(axis.collections) == 1  # the band of a, which alone has several curves
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "50", "100"]
    assert lines["a"].get_marker() != lines["b"].get_marker()


def test_subsets_are_side_by_side_without_a_line():
    found = [curve(row, "modality", ["text", "text+audio"], [[0.5, 0.75]]) for row in "ab"]
    figure = robustness_figure(found, "t")
    (axis,) = (axis for axis in figure.axes if "MAE" in axis.get_ylabel())
    a, b = axis.lines
    assert (a.get_linestyle(), b.get_linestyle()) == ("None", "None")
    assert all(a.get_xdata() < b.get_xdata())
    np.testing.assert_allclose((a.get_xdata() + b.get_xdata()) / 2, [0, 1])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["text", "text\naudio"]


def test_one_model_has_one_shape_and_colour_and_a_line_for_each_way_of_training():
    names = {"a": None, "a [gaps]": "a", "b": None}
    found = [curve(row, "frames", ["0.0", "1.0"], [[0.5, 0.75]], complete) for row, complete in names.items()]
    axis, *_ = robustness_figure(found[::-1], "t").axes
    b, a, gaps = axis.lines
    assert a.get_marker() == gaps.get_marker() != b.get_marker()
    assert np.array_equal(a.get_color(), gaps.get_color()) and not np.array_equal(a.get_color(), b.get_color())
    assert a.get_linestyle() != gaps.get_linestyle()
    assert gaps.get_markerfacecolor() == "white"
    assert np.array_equal(a.get_markerfacecolor(), a.get_color())


def test_each_of_many_models_has_panels_of_its_own_before_the_others():
    models = "abcde"
    found = [
        curve(row, "frames", ["0.0", "1.0"], [[i + 0.5, i + 0.75], [i + 0.5, i + 1.25]], complete)
        for i, model in enumerate(models)
        for row, complete in ((model, None), (f"{model} [gaps]", model))
    ]
    figure = robustness_figure(found, "t")
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == list(models)
    assert "MAE" in panels[0].get_ylabel() and len({axis.get_ylim() for axis in panels}) == 1
    for i, axis in enumerate(panels):
        *others, own, gaps = axis.lines
        assert [line.get_ydata()[0] for line in others] == [100 * (j + 0.5) for j in range(5) if j != i]
        np.testing.assert_allclose(own.get_ydata(), [100 * (i + 0.5), 100 * (i + 1)])
        assert own.get_color() != gaps.get_color() and own.get_linestyle() != gaps.get_linestyle()
        assert len(axis.collections) == 2  # the bands of its own two
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "the other models",
        "trained on complete data",
        "trained with parts missing: gaps",
    ]


def test_subsets_of_many_models_are_named_upright_and_side_by_side():
    found = [
        curve(row, "modality", ["text", "text+audio"], [[0.5, 0.75]], complete)
        for row, complete in (*((model, None) for model in "abcde"), ("e [gaps]", "e"))
    ]
    figure = robustness_figure(found, "t")
    own, gaps = next(axis for axis in figure.axes if axis.get_title() == "e").lines[-2:]
    assert (own.get_linestyle(), gaps.get_linestyle()) == ("None", "None")
    assert all(own.get_xdata() < gaps.get_xdata())
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == ["text", "text+audio"]
    # Of the others nothing says how they were trained: of a row that has no other beside it, its name does.
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "the other models",
        "as named above",
        "trained on complete data",
        "trained with parts missing: gaps",
    ]
