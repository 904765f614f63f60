"""What is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from mmsa_lightning.report.agreement import Course
from mmsa_lightning.report.figures.training import (
    agreement_figure,
    label_histograms_figure,
    labels_figure,
    losses_figure,
)


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
        return Course("sims", row, modality, {"corr": [np.array(values) for values in seeds]}, {}, {"corr": 0.75})

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


def test_histograms_of_labels_end_at_their_limit():
    bins = [f"{-1 + i / 30:.4g}" for i in range(60)]
    figure = label_histograms_figure([{"epoch": "1", "task": "text"} | dict.fromkeys(bins, "1")], "t")
    assert figure.axes[0].images[0].get_extent() == [-1, 1, 1.5, 0.5]


def test_a_long_title_is_not_cut_off():
    title = "Figure 2: training loss of interactive_attention on demo, text + audio + vision, seeds 1, 2, 3, 4, 5"
    figure = losses_figure([{"train/loss": np.array([2.0, 1.0])}], title)
    figure.canvas.draw()
    box, whole = figure.axes[0].title.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    assert figure.axes[0].get_title().split() == title.split()
