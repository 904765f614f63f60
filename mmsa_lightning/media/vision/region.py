"""A square of an image, turned by any angle: cutting it out, and bringing points in it back.

Coordinates are pixels of the image: x to the right, y down, (0, 0) the corner of its first pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Region:
    """A square with centre ``x``, ``y`` and side ``size`` in pixels, turned by ``angle`` in radians, clockwise."""

    x: float
    y: float
    size: float
    angle: float = 0.0

    @classmethod
    def around(cls, points: np.ndarray, start: np.ndarray, end: np.ndarray, scale: float) -> Region:
        """The square on the box of ``points`` (n, 2), ``scale`` times its longer side, upright along start → end."""
        low, high = points.min(0), points.max(0)
        (x, y), (dx, dy) = (low + high) / 2, end - start
        return cls(float(x), float(y), float((high - low).max()) * scale, math.atan2(dy, dx))

    def is_of(self, other: Region) -> bool:
        """Whether two regions are of one face: their centres are nearer than half of the smaller side."""
        return math.hypot(self.x - other.x, self.y - other.y) < min(self.size, other.size) / 2

    def back(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2 or 3) of this square, as shares of its side, in pixels of the image; depth is scaled alike."""
        shifted = (points - np.array([0.5, 0.5, 0.0])[: points.shape[1]]) * self.size
        c, s = math.cos(self.angle), math.sin(self.angle)
        x, y = self.x + c * shifted[:, 0] - s * shifted[:, 1], self.y + s * shifted[:, 0] + c * shifted[:, 1]
        return np.column_stack([x, y, shifted[:, 2:]])

    def cut(self, image: np.ndarray, side: int) -> np.ndarray:
        """This square of ``image``, uint8 (h, w, 3), as float32 (side, side, 3) from 0 to 255; black beyond the image.

        Bilinear. A square of many pixels is first reduced by means of whole blocks, so that none is left out.
        """
        radius = self.size * (abs(math.cos(self.angle)) + abs(math.sin(self.angle))) / 2 + 2
        height, width = image.shape[:2]
        left, right = (int(np.clip(self.x + r, 0, width)) for r in (-radius, radius))
        top, bottom = (int(np.clip(self.y + r, 0, height)) for r in (-radius, radius))
        block = max(1, int(self.size / side))
        part = _means(image[top:bottom, left:right], block)
        if not part.size:
            return np.zeros((side, side, 3), np.float32)
        u, v = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2)
        placed = (self.back(np.column_stack([u.ravel(), v.ravel()])) - [left, top]) / block - 0.5
        return _bilinear(part, placed).reshape(side, side, 3)


def _means(image: np.ndarray, block: int) -> np.ndarray:
    """Means of blocks of ``block`` x ``block`` pixels, float32; rows and columns that fill none are left out."""
    if block == 1:
        return image.astype(np.float32)
    height, width = (n - n % block for n in image.shape[:2])
    total = np.zeros((height // block, width // block, 3), np.uint32)
    for i in range(block):
        for j in range(block):
            total += image[i:height:block, j:width:block]
    return total.astype(np.float32) / block**2


def _bilinear(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The colours (n, 3) at ``points`` (n, 2), where (0, 0) is the middle of the first pixel; beyond it, black."""
    height, width = image.shape[:2]
    framed = np.pad(image, ((1, 2), (1, 2), (0, 0)))
    rows, row = framed.reshape(-1, 3), width + 3
    points = np.clip(points + 1, 0, [width + 1, height + 1]).astype(np.float32)
    whole = points.astype(np.int32)
    fx, fy = (points - whole.astype(np.float32)).T[..., None]
    at = whole[:, 1] * row + whole[:, 0]
    upper = rows[at] * (1 - fx) + rows[at + 1] * fx
    return upper * (1 - fy) + (rows[at + row] * (1 - fx) + rows[at + row + 1] * fx) * fy
