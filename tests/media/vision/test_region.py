"""A turned square of an image: by hand, and on an image whose colours are its coordinates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmsa_lightning.media.vision.region import Region


@pytest.fixture
def coordinates() -> np.ndarray:
    """An image of 120 x 160 pixels: red is x, green is y, blue is 7."""
    y, x = np.mgrid[:120, :160]
    return np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def test_a_whole_square_is_cut_as_it_is(coordinates: np.ndarray) -> None:
    square = coordinates[:, :120]
    cut = Region(60, 60, 120).cut(square, 120)
    assert cut.dtype == np.float32
    np.testing.assert_allclose(cut, square, atol=1e-3)


def test_a_quarter_turn(coordinates: np.ndarray) -> None:
    square = coordinates[:, :120]
    np.testing.assert_allclose(Region(60, 60, 120, math.pi / 2).cut(square, 120), np.rot90(square), atol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
@pytest.mark.parametrize("size", [30.0, 75.0], ids=["enlarged", "reduced"])
def test_colours_lie_where_points_are_brought_back_to(coordinates: np.ndarray, size: float, angle: float) -> None:
    region = Region(82.3, 61.1, size, angle)
    cut = region.cut(coordinates, 32)
    for row, column in ((3, 5), (16, 16), (30, 1)):
        ((x, y),) = region.back(np.array([[(column + 0.5) / 32, (row + 0.5) / 32]]))
        np.testing.assert_allclose(cut[row, column], [x - 0.5, y - 0.5, 7], atol=1e-2)  # of a pixel, the colour is 7.5


def test_points_are_brought_back_by_hand() -> None:
    points = np.array([[0.5, 0.5, 0.0], [1.0, 0.5, 0.1], [0.5, 1.0, -0.1]])
    back = Region(10, 20, 8, math.pi / 2).back(points)
    np.testing.assert_allclose(back, [[10, 20, 0], [10, 24, 0.8], [6, 20, -0.8]], atol=1e-12)


def test_beyond_the_image_is_black(coordinates: np.ndarray) -> None:
    cut = Region(0, 60, 40).cut(coordinates, 40)
    assert (cut[:, :20] == 0).all() and (cut[:, 21:, 2] == 7).all()
    assert (Region(-500, -500, 40).cut(coordinates, 8) == 0).all()


def test_every_pixel_counts_when_a_square_is_reduced() -> None:
    """Two white columns in eight are a quarter of white; those in the middle of eight would be white alone."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 3::8] = image[:, 4::8] = 255
    np.testing.assert_allclose(Region(32, 32, 64).cut(image, 8), 255 / 4)


def test_the_square_around_points() -> None:
    points = np.array([[0.0, 10.0], [40.0, 20.0]])
    region = Region.around(points, np.array([0.0, 0.0]), np.array([1.0, 1.0]), 1.5)
    assert (region.x, region.y, region.size) == (20, 15, 60)
    assert region.angle == pytest.approx(math.pi / 4)


@pytest.mark.parametrize(("x", "size", "same"), [(19, 40, True), (21, 40, False), (19, 30, False)])
def test_regions_of_one_face(x: float, size: float, same: bool) -> None:
    assert Region(0, 0, 40).is_of(Region(x, 0, size)) is Region(x, 0, size).is_of(Region(0, 0, 40)) is same
