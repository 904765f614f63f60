"""What a page shows of a video. That a whole page comes out is in `tests/inference/test_videos.py`."""

from __future__ import annotations

import base64
import io

import matplotlib.image
import numpy as np
import pytest

from mmsa_lightning.inference.predictor import Attention
from mmsa_lightning.report import video


def test_the_attention_on_each_word_by_hand() -> None:
    """Three words of 1, 2 and 1 pieces between two marks; two targets of one name, one of another."""
    pieces = np.array([-1, 0, 1, 1, 2, -1])
    weights = {
        "text<-audio": np.array([[0.1, 0.2, 0.1, 0.3, 0.1, 0.2], [0.3, 0.0, 0.3, 0.1, 0.1, 0.2]]),
        "vision<-audio": np.array([[0.0, 0.4, 0.0, 0.0, 0.6, 0.0]]),
        "audio<-text": np.array([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]),
        "vision": np.full((2, 9), 1 / 9),
    }
    attention = Attention([], weights, [])
    found = video.over_words(attention, "audio", pieces, 3)
    assert found == pytest.approx([(0.1 + 0.4) / 2, (0.4 + 0.0) / 2, (0.1 + 0.6) / 2])
    assert video.over_words(attention, "text", pieces, 3) == pytest.approx([1, 0, 0])
    assert video.over_words(attention, "vision", pieces, 3) is None  # it has steps of its own
    assert video.over_words(None, "audio", pieces, 3) is None
    assert video.over_words(attention, "audio", None, 3) is None


def test_a_picture_in_the_page_is_small_and_in_its_colours() -> None:
    picture = np.zeros((540, 960, 3), np.uint8)
    picture[:, 480:] = (250, 120, 10)
    kind, _, content = video._address(picture).partition(",")
    assert kind == "data:image/jpeg;base64"
    seen = matplotlib.image.imread(io.BytesIO(base64.b64decode(content)), format="jpg")
    assert seen.shape == (135, 240, 3)
    np.testing.assert_allclose(seen[60, 200], (250, 120, 10), atol=12)
    np.testing.assert_allclose(seen[60, 40], 0, atol=12)
