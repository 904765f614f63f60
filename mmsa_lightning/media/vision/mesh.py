"""The surface of a face, 468 points, and its two irises, as MediaPipe's graphs face_landmark and iris_landmark.

Kartynnik et al., CVPR workshops 2019, arXiv:1907.06724; Ablavatski et al., 2020, arXiv:2006.11341.
"""

from __future__ import annotations

import numpy as np

from mmsa_lightning.media.vision import weights
from mmsa_lightning.media.vision.region import Region

POINTS = 468
SIDE, EYE_SIDE = 192, 64  # pixels of the inputs
LEAST_PRESENCE = 0.5
SCALE, EYE_SCALE = 1.5, 2.3  # of a region, against the box of its points
RIGHT_IRIS, LEFT_IRIS = POINTS, POINTS + 5  # the first of five points each, after the mesh; the person's right and left
OUTER_RIGHT, INNER_RIGHT, INNER_LEFT, OUTER_LEFT = 33, 133, 362, 263  # corners of the eyes

# Where the contours of the iris model, lower lid and upper lid, stand in the mesh.
RIGHT_LIDS = [33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173]
LEFT_LIDS = [263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398]


class Mesh:
    """Places the points of a face.

    Raises:
        UserError: LiteRT or the models are not installed.
    """

    def __init__(self) -> None:
        self.face, self.iris = weights.load(weights.MESH), weights.load(weights.IRIS)

    def __call__(self, image: np.ndarray, region: Region) -> np.ndarray | None:
        """The points of the face in a region, float32 (478, 3): the mesh, then the right and the left iris.

        x and y are pixels of ``image``, z is depth on the same scale, smaller towards the camera. The lids are those
        of the iris model, which sees the eyes larger; irises lie at the depth of their eye's corners.

        Returns None where the region shows no face.
        """
        points, presence = self.face(region.cut(image, SIDE) / 255)
        if 1 / (1 + np.exp(-presence.item())) < LEAST_PRESENCE:
            return None
        mesh = region.back(points.reshape(POINTS, 3) / SIDE)
        right = self._eye(image, mesh, OUTER_RIGHT, INNER_RIGHT, flip=False)
        left = self._eye(image, mesh, INNER_LEFT, OUTER_LEFT, flip=True)
        mesh[RIGHT_LIDS, :2], mesh[LEFT_LIDS, :2] = right[: len(RIGHT_LIDS)], left[: len(LEFT_LIDS)]
        irises = [
            np.column_stack([eye[-5:], np.full(5, mesh[corners, 2].mean())])
            for eye, corners in ((right, [OUTER_RIGHT, INNER_RIGHT]), (left, [INNER_LEFT, OUTER_LEFT]))
        ]
        return np.concatenate([mesh, *irises]).astype(np.float32)

    def _eye(self, image: np.ndarray, mesh: np.ndarray, start: int, end: int, *, flip: bool) -> np.ndarray:
        """Contours (71, 2) and iris (5, 2) of one eye; the model knows right eyes, so that a left one is mirrored."""
        corners = mesh[[start, end], :2]
        region = Region.around(corners, corners[0], corners[1], EYE_SCALE)
        eye = region.cut(image, EYE_SIDE) / 255
        contours, iris = self.iris(np.ascontiguousarray(eye[:, ::-1]) if flip else eye)
        points = np.concatenate([contours.reshape(-1, 3), iris.reshape(-1, 3)])[:, :2] / EYE_SIDE
        if flip:
            points[:, 0] = 1 - points[:, 0]
        return region.back(points)


def region_of(points: np.ndarray) -> Region:
    """Where the face with these points (at least 468, 3) is looked for in the next frame."""
    return Region.around(points[:POINTS, :2], points[OUTER_RIGHT, :2], points[OUTER_LEFT, :2], SCALE)
