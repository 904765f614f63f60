"""Faces from frame to frame: each is looked for where it was, and new ones now and then everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmsa_lightning.media.vision.region import Region

MOST = 4  # faces at once; each costs as much as the first
EVERY = 8  # frames between two detections while faces are followed: half a second


class Faces:
    """Gives each face of a video a number, which it keeps while it is seen.

    Args:
        detect: an image to the regions of its faces, the surest one first.
        place: an image and a region to the points of the face there, or None.
        region_of: the points of a face to its region in the next frame.
    """

    def __init__(
        self,
        detect: Callable[[np.ndarray], list[Region]],
        place: Callable[[np.ndarray, Region], np.ndarray | None],
        region_of: Callable[[np.ndarray], Region],
    ) -> None:
        self.detect, self.place, self.region_of = detect, place, region_of
        self.regions: dict[int, Region] = {}
        self.number = 0  # of the next new face
        self.since = 0  # frames since the last detection

    def __call__(self, image: np.ndarray) -> dict[int, np.ndarray]:
        """The points of each face in the next frame, by its number."""
        before, self.regions = self.regions, {}
        points: dict[int, np.ndarray] = {}
        for number, region in before.items():
            self._see(image, number, region, points)
        self.since += 1
        if not points or len(points) < len(before) or self.since >= EVERY:
            self.since = 0
            for region in self.detect(image):
                if len(points) < MOST and self._is_new(region) and self._see(image, self.number, region, points):
                    self.number += 1
        return points

    def _see(self, image: np.ndarray, number: int, region: Region, points: dict[int, np.ndarray]) -> bool:
        found = self.place(image, region)
        if found is None or not self._is_new(after := self.region_of(found)):  # two regions may run into one face
            return False
        points[number], self.regions[number] = found, after
        return True

    def _is_new(self, region: Region) -> bool:
        return not any(region.is_of(other) for other in self.regions.values())
