"""What a face tells, frame by frame: one file and one line here an extractor."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.vision.face_mesh import FaceMesh
from mmsa_lightning.media.vision.openface import OpenFace
from mmsa_lightning.media.vision.track import Track

__all__ = ["EXTRACTORS", "Extractor", "FaceMesh", "OpenFace", "Track", "extractor"]


class Extractor(Protocol):
    """Makes features of the face in a video.

    Attributes:
        names: of its features.
        rate: frames a second.
        versions: of the packages and weights that its features depend on.
    """

    names: list[str]
    rate: float
    versions: dict[str, str]

    def of_video(self, video: Path, start: float, end: float | None, sound: np.ndarray | None) -> Track:
        """Of a stretch, in seconds; ``sound`` is its own, float32 at 16 kHz. Times count from ``start``."""


EXTRACTORS: dict[str, type[Extractor]] = {
    "face_mesh": FaceMesh,
    "openface": OpenFace,
}


def extractor(name: str) -> Extractor:
    """The extractor of a name.

    Raises:
        UserError: there is none of that name, or a package or weights that it needs are missing.
    """
    if name not in EXTRACTORS:
        raise UserError(f"face features are of {', '.join(EXTRACTORS)}, not {name!r}")
    return EXTRACTORS[name]()
