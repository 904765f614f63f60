"""What is drawn is what was measured."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest

from mmsa_lightning.report.agreement import Course
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.figures import (
    against_figure,
    agreement_figure,
    attention_figure,
    label_histograms_figure,
    labels_figure,
    losses_figure,
    predictions_figure,
    ranks_figure,
    rows_figure,
    signs_figure,
)
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.training.protocols import MOSI, SIMS


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


def test_labels_are_followed_where_they_are_generated_and_their_truth_where_it_is_known():
    drift = {f"ulgm/{name}_{task}": np.array([1.0, 0.5]) for name in ("corr", "flipped") for task in ("text", "audio")}
    histories = [drift | {"ulgm/corr_true_text": np.array([0.75, value])} for value in (0.25, -0.25)]
    figure = labels_figure(histories, "t")
    assert figure is not None
    panels = {axis.get_title(): axis for axis in figure.axes}
    assert list(panels) == ["correlation with true labels", "correlation with the label", "share of changed signs"]
    (line,) = panels["correlation with true labels"].lines
    np.testing.assert_allclose(line.get_ydata(), [0.75, 0.0])
    assert len({line.get_linestyle() for line in panels["share of changed signs"].lines}) == 2
    assert labels_figure([{"train/loss": np.array([2.0])}], "t") is None


def test_agreement_is_over_the_seeds_that_were_trained_so_long_beside_the_label_itself():
    def course(row: str, modality: str, *seeds: list[float]) -> Course:
        return Course(row, modality, {"corr": [np.array(values) for values in seeds]}, {}, {"corr": 0.75})

    found = [course("a", "text", [0.5, 0.25, 0.125], [0.25]), course("b", "text", [0.5]), course("a", "audio", [1.0])]
    figure = agreement_figure(found, "t")
    text, audio = figure.axes
    assert (text.get_title(), audio.get_title()) == ("text", "audio")
    lines = {line.get_label(): line for line in text.lines}
    assert list(lines) == ["a", "b", "the label itself"]
    np.testing.assert_array_equal(lines["a"].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(lines["a"].get_ydata(), [0.375, 0.25, 0.125])
    assert list(lines["the label itself"].get_ydata()) == [0.75, 0.75]
    (band,) = text.collections  # b has one seed; one deviation of a, where it has two
    heights = band.get_paths()[0].vertices[:, 1]
    std = np.std([0.5, 0.25], ddof=1)
    assert (heights.min(), heights.max()) == pytest.approx((0.375 - std, 0.375 + std))
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines.values()}) == 3  # told apart in grey, too
    (legend,) = figure.legends
    assert [words.get_text() for words in legend.get_texts()] == list(lines)


def test_long_names_of_rows_leave_room_for_the_figure(row: Callable[..., Row]):
    name = "interactive_attention, objective.positive='>=', objective.generator=crossfit"
    figure = rows_figure(Comparison([row(name, [0.4]), row("tfn", [0.4])], {}), "t")
    figure.canvas.draw()
    assert [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()] == [name, "tfn"]
    assert all(axis.get_window_extent().width > figure.bbox.width / 8 for axis in figure.axes)


def test_a_long_title_is_not_cut_off():
    title = "Figure 2: training loss of interactive_attention on demo, text + audio + vision, seeds 1, 2, 3, 4, 5"
    figure = losses_figure([{"train/loss": np.array([2.0, 1.0])}], title)
    figure.canvas.draw()
    box, whole = figure.axes[0].title.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    assert figure.axes[0].get_title().split() == title.split()


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


def test_attention_shows_each_map_with_the_words_of_both_sides():
    steps = {"text": ["[CLS]", "good"], "audio": ["1", "2", "3"]}
    weights = {"text<-audio": [[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], "audio": np.eye(3).tolist()}
    figure = attention_figure({"id": "v$_$1", "steps": steps, "weights": weights}, "v$_$1")
    cross, within = figure.axes
    np.testing.assert_array_equal(cross.images[0].get_array(), weights["text<-audio"])
    assert [label.get_text() for label in cross.get_yticklabels()] == steps["text"]
    assert [label.get_text() for label in cross.get_xticklabels()] == steps["audio"]
    assert [label.get_text() for label in within.get_xticklabels()] == steps["audio"]
    assert cross.get_title() == "text ← audio, 0 to 0.80"
    figure.savefig(io.BytesIO())  # an id with dollar signs is no formula


def test_predictions_and_labels_are_all_shown_whatever_their_range(row: Callable[..., Row]):
    made = row("tfn", [1.0], np.array([[-4.0, 1.0, 7.5, 0.2]]))  # its labels are 0
    (axis,) = predictions_figure(made, "t").axes
    for low, high in (axis.get_xlim(), axis.get_ylim()):
        assert low < -4 and high > 7.5


def test_histograms_of_labels_end_at_their_limit():
    bins = [f"{-1 + i / 30:.4g}" for i in range(60)]
    figure = label_histograms_figure([{"epoch": "1", "task": "text"} | dict.fromkeys(bins, "1")], "t")
    assert figure.axes[0].images[0].get_extent() == [-1, 1, 1.5, 0.5]


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
