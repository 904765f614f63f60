"""Which steps of a padded grid are data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from mmsa_lightning.data.grid import common_lengths
from mmsa_lightning.data.store import SPLITS


def test_steps_after_the_words_are_kept() -> None:
    """Most utterances end with their words, one a step later."""
    steps = np.arange(5) < np.array([2, 2, 3])[:, None]
    splits: Any = dict.fromkeys(SPLITS, SimpleNamespace(spoken=[["a", "b"]] * 3))
    tokens: Any = dict.fromkeys(SPLITS, [np.zeros(4, int)] * 3)
    left: dict[str, list[str]] = {name: [] for name in SPLITS}
    found: Any = common_lengths({"audio": dict.fromkeys(SPLITS, steps)}, splits, tokens, left)
    assert found["train"].tolist() == [2, 2, 3]
