"""The face of a video by MediaPipe's models: what eyes, brows, mouth and head do, in 40 features a frame."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from mmsa_lightning.media import decode
from mmsa_lightning.media.vision import geometry, speaker, weights
from mmsa_lightning.media.vision.detection import Detector
from mmsa_lightning.media.vision.following import Faces
from mmsa_lightning.media.vision.mesh import POINTS, Mesh, region_of
from mmsa_lightning.media.vision.track import Track, coverage, spans

SIZE, MOUTH = geometry.NAMES.index("face_height"), geometry.NAMES.index("mouth_open")


class FaceMesh:
    """Finds, follows and measures the face that speaks; one thread.

    Attributes:
        names: of the features.
        units: of each feature, by name.
        rate: frames a second that are looked at. A blink lasts two of them, a word four,
            and a mouth opens and closes at most seven times a second, so that 15 is just enough.
        versions: of what the features depend on.

    Raises:
        UserError: LiteRT or the models are not installed, or their files are not those that were published.
    """

    names = geometry.NAMES
    units = geometry.UNITS
    rate = 15.0

    def __init__(self) -> None:
        self.detector, self.mesh = Detector(), Mesh()
        name, _, version = weights.PACKAGE.partition("==")
        self.versions = {"ai-edge-litert": metadata.version("ai-edge-litert"), name: version}

    def __call__(self, frames: Iterator[tuple[float, np.ndarray]], sound: np.ndarray | None = None) -> Track:
        """The face in a stretch of video.

        Args:
            frames: each frame's start in seconds, in order, and its picture, uint8 (h, w, 3) RGB; at most :attr:`rate`
                a second.
            sound: float32 at 16 kHz, mono, from the first frame on; decides who speaks where several faces are seen.
        """
        faces = Faces(self.detector, self.mesh, region_of)
        starts: list[float] = []
        seen: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = {}  # by face: frame, features, mesh
        for start, image in frames:
            for number, points in faces(image).items():
                row = geometry.features(points, *image.shape[:2])
                seen.setdefault(number, []).append((len(starts), row, points[:POINTS, :2].copy()))
            starts.append(start)
        times = spans(np.array(starts), self.rate)

        size, mouth = np.full((2, len(seen), len(starts)), np.nan)
        for n, face in enumerate(seen.values()):
            at = [frame for frame, *_ in face]
            size[n, at], mouth[n, at] = ([row[column] for _, row, _ in face] for column in (SIZE, MOUTH))
        energy = None if sound is None or not starts else speaker.energies(sound, times)
        taken, lines = speaker.choose(size, mouth, energy)

        values = np.zeros((len(starts), len(self.names)), np.float32)
        found = np.zeros(len(starts), bool)
        landmarks = np.full((len(starts), POINTS, 2), np.nan, np.float32)
        numbered = list(seen.values())
        for n in taken:
            for frame, row, points in numbered[n]:
                values[frame], landmarks[frame], found[frame] = row, points, True
        geometry.add_speeds(values, times, found)
        return Track(times, values, found, landmarks, (coverage(found), *lines))

    def of_video(self, video: Path, start: float, end: float | None, sound: np.ndarray | None) -> Track:
        """The face in a video from ``start`` to ``end``; times are in seconds from ``start``."""
        return self(decode.frames(video, start, end, self.rate), sound)
