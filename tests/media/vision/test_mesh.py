"""The mesh and the irises, as far as they can be seen without a face."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmsa_lightning.media.vision.mesh import Mesh, region_of
from mmsa_lightning.media.vision.region import Region


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


def test_no_face_is_placed_where_there_is_none(mesh: Mesh, rng: np.random.Generator) -> None:
    assert mesh(np.zeros((100, 100, 3), np.uint8), Region(50, 50, 80)) is None
    assert mesh(rng.integers(0, 256, (100, 100, 3)).astype(np.uint8), Region(50, 50, 80)) is None


def test_the_left_eye_is_the_right_one_of_the_mirror(mesh: Mesh, rng: np.random.Generator) -> None:
    image = np.kron(rng.integers(0, 256, (15, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    points = np.zeros((468, 3))
    points[[33, 133], :2] = [[40, 50], [70, 58]]  # of the right eye, which is on the left of the picture
    right = mesh._eye(image, points, 33, 133, flip=False)
    points[[263, 362], :2] = [[120, 50], [90, 58]]  # the same in the mirror: x of 160 - x
    left = mesh._eye(np.ascontiguousarray(image[:, ::-1]), points, 362, 263, flip=True)
    np.testing.assert_allclose(left, [160, 0] + right * [-1, 1], atol=0.02)
    assert np.ptp(right, axis=0).min() > 1


def test_where_a_face_is_looked_for_next() -> None:
    points = np.full((478, 3), 50.0)
    points[[10, 152], 1] = 20, 100
    points[33, :2], points[263, :2] = (40, 40), (60, 60)
    points[470] = 0  # an iris does not count
    region = region_of(points)
    assert (region.x, region.y, region.size) == (50, 60, 120)
    assert region.angle == pytest.approx(math.pi / 4)
