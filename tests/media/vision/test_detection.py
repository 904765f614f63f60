"""BlazeFace's boxes, against loops over their elements; the model itself sees no face where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from mmsa_lightning.media.vision.detection import SIDE, STRIDE, Detector, anchors, decode, merge


def test_anchors_are_the_middles_of_cells() -> None:
    """As MediaPipe's SsdAnchorsCalculator, of one layer with one anchor a cell."""
    expected = [((x + 0.5) / 48, (y + 0.5) / 48) for y in range(48) for x in range(48)]
    np.testing.assert_allclose(anchors(SIDE, STRIDE), expected, rtol=1e-6)


def test_boxes_are_decoded(rng: np.random.Generator) -> None:
    """As MediaPipe's TensorsToDetectionsCalculator with all scales 192 and x, y, w, h in order."""
    raw, at = rng.normal(scale=20, size=(5, 16)), rng.uniform(size=(5, 2))
    for row, (ax, ay), face in zip(raw, at, decode(raw, at, 192), strict=True):
        x, y, w, h = row[0] / 192 + ax, row[1] / 192 + ay, row[2] / 192, row[3] / 192
        expected = [(x - w / 2, y - h / 2), (x + w / 2, y + h / 2)]
        expected += [(row[4 + 2 * k] / 192 + ax, row[5 + 2 * k] / 192 + ay) for k in range(6)]
        np.testing.assert_allclose(face, expected)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[1, 0], b[1, 0]) - max(a[0, 0], b[0, 0])
    height = min(a[1, 1], b[1, 1]) - max(a[0, 1], b[0, 1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[1, 0] - c[0, 0]) * (c[1, 1] - c[0, 1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def test_overlapping_boxes_are_merged(rng: np.random.Generator) -> None:
    """As MediaPipe's NonMaxSuppressionCalculator with the algorithm WEIGHTED."""
    corner = rng.uniform(0, 0.6, size=(40, 1, 2))
    faces = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, size=(40, 1, 2)), rng.uniform(size=(40, 6, 2))], 1)
    scores = rng.uniform(0.6, 1, size=40)

    left, expected = sorted(range(40), key=lambda i: -scores[i]), []
    while left:
        same = [i for i in left if _overlap(faces[left[0]], faces[i]) > 0.3]
        expected.append(sum(scores[i] * faces[i] for i in same) / sum(scores[i] for i in same))
        left = [i for i in left if i not in same]
    assert 1 < len(expected) < 40
    np.testing.assert_allclose(merge(faces, scores, 0.3), expected)
    assert merge(faces[:0], scores[:0], 0.3) == []


@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_no_face_is_found_where_there_is_none(kind: str, rng: np.random.Generator) -> None:
    image = {"black": np.zeros, "white": lambda s: np.full(s, 255), "noise": lambda s: rng.integers(0, 256, s)}[kind]
    assert Detector()(image((90, 160, 3)).astype(np.uint8)) == []
