"""What is drawn is what was measured."""

from __future__ import annotations

import io

import numpy as np

from mmsa_lightning.report.figures.attention import attention_figure


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
