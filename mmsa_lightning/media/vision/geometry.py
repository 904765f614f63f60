"""From the points of a face to features that can be named, whatever way the head is turned and however large it is.

Points are turned upright with the head, put with the middle of the eyes at the origin, and divided by the distance
between the eyes: the middles of the left and of the right eye. Then x runs to the person's left, y up, z forwards.
Left and right are the person's. Indices are those of MediaPipe's mesh.
"""

from __future__ import annotations

import numpy as np

from mmsa_lightning.media.vision.mesh import (
    INNER_LEFT,
    INNER_RIGHT,
    LEFT_IRIS,
    OUTER_LEFT,
    OUTER_RIGHT,
    POINTS,
    RIGHT_IRIS,
)

EYES = "distances between the eyes"
UNITS = {  # of every feature, in order
    "eye_open_left": "height of the opening / width of the eye",
    "eye_open_right": "height of the opening / width of the eye",
    "brow_inner_left": f"{EYES}, above the inner corner of the eye",
    "brow_inner_right": f"{EYES}, above the inner corner of the eye",
    "brow_middle_left": f"{EYES}, above the middle of the eye",
    "brow_middle_right": f"{EYES}, above the middle of the eye",
    "brow_outer_left": f"{EYES}, above the outer corner of the eye",
    "brow_outer_right": f"{EYES}, above the outer corner of the eye",
    "brow_gap": f"{EYES}, from brow to brow; less in a frown",
    "nose_wing_left": f"{EYES}, below the inner corner of the eye; less when the nose wrinkles",
    "nose_wing_right": f"{EYES}, below the inner corner of the eye; less when the nose wrinkles",
    "nose_width": EYES,
    "cheek_left": f"{EYES}, from the lower lid to the cheekbone; less when the cheek rises",
    "cheek_right": f"{EYES}, from the lower lid to the cheekbone; less when the cheek rises",
    "mouth_open": f"{EYES}, between the inner edges of the lips",
    "mouth_width": EYES,
    "mouth_corner_left": f"{EYES}, above the base of the nose (so below 0); more in a smile",
    "mouth_corner_right": f"{EYES}, above the base of the nose (so below 0); more in a smile",
    "mouth_curve": f"{EYES}, of the corners above the middle of the lips",
    "mouth_shift": f"{EYES}, of the mouth to the left",
    "lip_pucker": f"{EYES}, of the lips in front of the corners of the mouth",
    "lip_upper_raise": f"{EYES}, from the base of the nose to the upper lip; less when the lip rises",
    "lip_upper": f"{EYES}, thickness",
    "lip_lower": f"{EYES}, thickness",
    "lip_to_chin": f"{EYES}, from the lower lip to the chin",
    "jaw_open": f"{EYES}, from the base of the nose to the chin",
    "jaw_shift": f"{EYES}, of the chin to the left",
    "gaze_left_x": "widths of the eye, of the iris to the person's left from the middle of the eye",
    "gaze_left_y": "widths of the eye, of the iris above the line between the corners",
    "gaze_right_x": "widths of the eye, of the iris to the person's left from the middle of the eye",
    "gaze_right_y": "widths of the eye, of the iris above the line between the corners",
    "face_height": "share of the picture's height",
    "face_x": "share of the picture's width, of the face's middle from the left edge",
    "face_y": "share of the picture's height, of the face's middle from the upper edge",
    "head_yaw": "degrees, to the person's left",
    "head_pitch": "degrees, up, of the line from the base of the nose to the forehead",
    "head_roll": "degrees, towards the left shoulder",
    "head_yaw_speed": "degrees per second",
    "head_pitch_speed": "degrees per second",
    "head_roll_speed": "degrees per second",
}
NAMES = list(UNITS)
POSE = slice(NAMES.index("head_yaw"), NAMES.index("head_roll") + 1)
SPEED = slice(POSE.stop, len(NAMES))

LEFT_SIDE, RIGHT_SIDE = [OUTER_LEFT, INNER_LEFT, 356, 454], [OUTER_RIGHT, INNER_RIGHT, 127, 234]  # eyes, temple, ear
FOREHEAD, NOSE_BASE = [10, 109, 338], [2, 98, 327]  # no muscle moves them far


def features(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The features :data:`NAMES` of one face in one picture, float32; speeds are 0, for :func:`add_speeds`.

    Args:
        points: (478, 3), as :class:`~mmsa_lightning.media.vision.mesh.Mesh` gives them.
        height, width: of the picture, in pixels.
    """
    p, turned = upright(points)
    low, high = points[:POINTS, :2].min(0), points[:POINTS, :2].max(0)

    def apart(a: int, b: int) -> float:
        return float(np.linalg.norm(p[a] - p[b]))

    def above(a: list[int], b: list[int]) -> float:
        return float(p[a, 1].mean() - p[b, 1].mean())

    values = [
        np.mean([apart(387, 373), apart(386, 374), apart(385, 380)]) / apart(OUTER_LEFT, INNER_LEFT),
        np.mean([apart(160, 144), apart(159, 145), apart(158, 153)]) / apart(OUTER_RIGHT, INNER_RIGHT),
        above([285, 336], [INNER_LEFT]),
        above([55, 107], [INNER_RIGHT]),
        above([282, 334], [INNER_LEFT, OUTER_LEFT]),
        above([52, 105], [INNER_RIGHT, OUTER_RIGHT]),
        above([276, 300], [OUTER_LEFT]),
        above([46, 70], [OUTER_RIGHT]),
        apart(55, 285),
        above([INNER_LEFT], [294]),
        above([INNER_RIGHT], [64]),
        apart(64, 294),
        apart(374, 280),
        apart(145, 50),
        apart(13, 14),
        apart(61, 291),
        above([291], [2]),
        above([61], [2]),
        above([61, 291], [13, 14]),
        p[[61, 291], 0].mean(),
        p[[0, 17], 2].mean() - p[[61, 291], 2].mean(),
        apart(2, 0),
        apart(0, 13),
        apart(14, 17),
        apart(17, 152),
        above([2], [152]),
        p[152, 0],
        *gaze(p[LEFT_IRIS], p[INNER_LEFT], p[OUTER_LEFT]),
        *gaze(p[RIGHT_IRIS], p[OUTER_RIGHT], p[INNER_RIGHT]),
        (high[1] - low[1]) / height,
        (low[0] + high[0]) / 2 / width,
        (low[1] + high[1]) / 2 / height,
        *pose(turned),
    ]
    return np.array([*values, 0, 0, 0], np.float32)


def upright(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points (478, 3), turned, moved and scaled, and the head's rotation (3, 3).

    The rows of the rotation are the head's directions left, up and forwards, as x to the right, y up and z towards
    the camera. Left is that from the right side's points to the left side's; up is from the base of the nose to the
    forehead, at right angles to left.
    """
    seen = points.astype(np.float64) * [1, -1, -1]
    left = _unit(seen[LEFT_SIDE].mean(0) - seen[RIGHT_SIDE].mean(0))
    up = seen[FOREHEAD].mean(0) - seen[NOSE_BASE].mean(0)
    up = _unit(up - up @ left * left)
    turned = np.stack([left, up, np.cross(left, up)])
    left_eye, right_eye = seen[[INNER_LEFT, OUTER_LEFT]].mean(0), seen[[INNER_RIGHT, OUTER_RIGHT]].mean(0)
    return (seen - (left_eye + right_eye) / 2) @ turned.T / np.linalg.norm(left_eye - right_eye), turned


def pose(turned: np.ndarray) -> tuple[float, float, float]:
    """Yaw to the left, pitch up and roll towards the left shoulder, in degrees, of a head's rotation (3, 3)."""
    left, up, forwards = turned
    yaw, pitch = np.arctan2(forwards[0], forwards[2]), np.arcsin(np.clip(forwards[1], -1, 1))
    return tuple(np.degrees([yaw, pitch, np.arctan2(-left[1], up[1])]).tolist())


def gaze(iris: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[float, float]:
    """How far left and up an iris stands between the corners of its eye; ``start`` is the one on the right."""
    across = end - start
    offset, width = iris - (start + end) / 2, np.linalg.norm(across)
    above = np.cross([0, 0, 1], across)
    return float(offset @ across / width**2), float(offset @ _unit(above) / width)


def add_speeds(values: np.ndarray, times: np.ndarray, found: np.ndarray) -> None:
    """Write how fast the head turns into ``values`` (t, dim): 0 where the frame before shows no face.

    Args:
        times: (t, 2), start and end of each frame in seconds.
        found: (t,) bool.
    """
    turn = (np.diff(values[:, POSE], axis=0) + 180) % 360 - 180
    values[1:, SPEED] = turn / np.diff(times[:, :1], axis=0) * (found[1:] & found[:-1])[:, None]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
