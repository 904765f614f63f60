"""Where faces are: BlazeFace, as MediaPipe runs it (Bazarevsky et al., CVPR workshops 2019; arXiv:1907.05047).

The model is the one for faces within five metres. Constants are those of MediaPipe's graph face_detection_full_range.
"""

from __future__ import annotations

import numpy as np

from mmsa_lightning.media.vision import weights
from mmsa_lightning.media.vision.region import Region

SIDE = 192  # pixels of the input
STRIDE = 4  # pixels between two anchors
LEAST_SCORE = 0.6
OVERLAP = 0.3  # boxes that overlap more are of one face
SCALE = 1.5  # of the region that the mesh is given, against the box
RIGHT_EYE, LEFT_EYE = 2, 3  # rows of a face, below; the person's


class Detector:
    """Finds the faces of an image.

    Raises:
        UserError: LiteRT or the models are not installed.
    """

    def __init__(self) -> None:
        self.model = weights.load(weights.DETECTION)
        self.anchors = anchors(SIDE, STRIDE)

    def __call__(self, image: np.ndarray) -> list[Region]:
        """The regions of the faces in ``image``, uint8 (h, w, 3) RGB, upright by their eyes; the surest one first."""
        height, width = image.shape[:2]
        whole = Region(width / 2, height / 2, max(width, height))
        boxes, logits = self.model(whole.cut(image, SIDE) / 127.5 - 1)
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
        sure = scores >= LEAST_SCORE
        faces = merge(decode(boxes[sure], self.anchors[sure], SIDE), scores[sure], OVERLAP)
        faces = [whole.back(face) for face in faces]
        return [Region.around(face[:2], face[RIGHT_EYE], face[LEFT_EYE], SCALE) for face in faces]


def anchors(side: int, stride: int) -> np.ndarray:
    """The middles of the cells of ``stride`` pixels, float32 (n, 2), as shares of the side, row by row."""
    cells = side // stride
    middles = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    return np.stack([np.tile(middles, cells), np.repeat(middles, cells)], axis=1)


def decode(raw: np.ndarray, anchors: np.ndarray, side: int) -> np.ndarray:
    """Faces (n, 8, 2) from the model's rows (n, 16), as shares of the side.

    A row is the middle of the box, its width and height, and six points, in pixels; middle and points are from the
    anchor on. A face is the box's corners, then the points: right eye, left eye, nose, mouth, right and left ear.
    """
    points = raw.reshape(-1, 8, 2) / side
    middle, half = points[:, 0] + anchors, points[:, 1] / 2
    return np.concatenate([np.stack([middle - half, middle + half], 1), points[:, 2:] + anchors[:, None]], 1)


def merge(faces: np.ndarray, scores: np.ndarray, overlap: float) -> list[np.ndarray]:
    """Weighted non-maximum suppression: faces whose boxes overlap the surest one's are its mean, by their scores.

    Args:
        faces: (n, 8, 2), as of :func:`decode`.
        scores: (n,).
        overlap: intersection over union from which on two boxes are of one face.
    """
    merged, order = [], np.argsort(-scores, kind="stable")
    while len(order):
        same = iou(faces[order[0], :2], faces[order, :2]) > overlap
        same[0] = True
        merged.append(np.average(faces[order[same]], axis=0, weights=scores[order[same]]))
        order = order[~same]
    return merged


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (2, 2), lower and upper corner, with each of ``boxes`` (n, 2, 2)."""
    common = np.clip(np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0]), 0, None).prod(1)
    return common / np.maximum((box[1] - box[0]).prod() + (boxes[:, 1] - boxes[:, 0]).prod(1) - common, 1e-12)
