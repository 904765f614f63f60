"""Faces from frame to frame, where an image is the list of the faces in it, each at a place on a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmsa_lightning.media.vision.following import EVERY, MOST, Faces
from mmsa_lightning.media.vision.region import Region


class World:
    """Faces 10 wide; one is seen in a region that is at most 6 from it."""

    def __init__(self) -> None:
        self.detections = 0

    def detect(self, image: Any) -> list[Region]:
        self.detections += 1
        return [Region(x, 0, 10) for x in image]

    def place(self, image: Any, region: Region) -> np.ndarray | None:
        near = [x for x in image if abs(x - region.x) <= 6]
        return np.array([min(near, key=lambda x: abs(x - region.x))]) if near else None

    def follow(self, *images: list[float]) -> list[dict[int, float]]:
        faces = Faces(self.detect, self.place, lambda points: Region(points[0], 0, 10))
        seen = [faces(image) for image in images]  # type: ignore[arg-type]
        return [{number: points[0] for number, points in faces.items()} for faces in seen]


@pytest.fixture
def world() -> World:
    return World()


def test_a_face_is_detected_once_and_then_followed(world: World) -> None:
    assert world.follow([0], [5], [10], [15]) == [{0: 0}, {0: 5}, {0: 10}, {0: 15}]
    assert world.detections == 1


def test_a_lost_face_is_detected_anew_in_the_same_frame(world: World) -> None:
    assert world.follow([0], [100], [101]) == [{0: 0}, {1: 100}, {1: 101}]
    assert world.detections == 2


def test_every_frame_without_a_face_is_searched(world: World) -> None:
    assert world.follow([], [], [3], [3]) == [{}, {}, {0: 3}, {0: 3}]
    assert world.detections == 3


def test_a_second_face_is_found_after_a_while(world: World) -> None:
    seen = world.follow([0], *[[0, 50]] * (EVERY + 1))
    assert [len(faces) for faces in seen] == [1] * EVERY + [2, 2]
    assert seen[-1] == {0: 0, 1: 50}
    assert world.detections == 2


def test_a_face_that_is_lost_is_searched_at_once_beside_another(world: World) -> None:
    assert world.follow([0, 50], [0, 90]) == [{0: 0, 1: 50}, {0: 0, 2: 90}]


def test_two_regions_that_run_into_one_face_are_one(world: World) -> None:
    assert world.follow([0, 10], [5]) == [{0: 0, 1: 10}, {0: 5}]


def test_no_more_than_so_many(world: World) -> None:
    (seen,) = world.follow([20.0 * n for n in range(MOST + 3)])
    assert len(seen) == MOST
