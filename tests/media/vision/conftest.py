"""What tests of the face need: numbers from a seed, and a made-up face with every point that a feature reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

# x to the person's left, y up, z forwards; the eyes are one unit apart, and their middle is the origin.
MIDDLE = {
    (10,): (1.4, -0.1),
    (2,): (-0.8, -0.1),
    (0,): (-1.0, 0.2),
    (13,): (-1.15, 0.15),
    (14,): (-1.25, 0.15),
    (17,): (-1.4, 0.2),
    (152,): (-2.0, 0.0),
}
PAIRS = {  # the person's left and right, at x and -x
    (263, 33): (0.7, 0.0, 0.0),
    (362, 133): (0.3, 0.0, 0.0),
    (385, 158): (0.4, 0.05, 0.05),
    (386, 159): (0.5, 0.06, 0.05),
    (387, 160): (0.6, 0.05, 0.05),
    (380, 153): (0.4, -0.05, 0.05),
    (374, 145): (0.5, -0.06, 0.05),
    (373, 144): (0.6, -0.05, 0.05),
    (285, 55): (0.2, 0.3, 0.1),
    (336, 107): (0.2, 0.4, 0.1),
    (282, 52): (0.5, 0.4, 0.1),
    (334, 105): (0.5, 0.5, 0.1),
    (276, 46): (0.8, 0.3, 0.0),
    (300, 70): (0.8, 0.4, 0.0),
    (356, 127): (1.1, 0.0, -0.6),
    (454, 234): (1.2, -0.4, -0.8),
    (338, 109): (0.3, 1.4, -0.1),
    (327, 98): (0.2, -0.8, -0.1),
    (294, 64): (0.3, -0.7, 0.0),
    (280, 50): (0.6, -0.6, 0.1),
    (291, 61): (0.45, -1.2, 0.0),
    (473, 468): (0.5, 0.0, 0.05),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def head() -> np.ndarray:
    """A face that looks straight ahead, (478, 3). All that no feature reads is one point behind it."""
    points = np.tile([0.0, 0.0, -0.9], (478, 1))
    for (index,), (y, z) in MIDDLE.items():
        points[index] = 0, y, z
    for (left, right), (x, y, z) in PAIRS.items():
        points[left], points[right] = (x, y, z), (-x, y, z)
    return points


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips beside the repository; they may not be distributed."""
    folder = Path(__file__).parents[4] / "shared" / "data" / "clips"
    if not folder.is_dir():
        pytest.skip(f"the real clips are not at {folder}")
    return folder
