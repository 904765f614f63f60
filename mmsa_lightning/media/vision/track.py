"""The features of one face over time: what every extractor returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """The face of one utterance or video.

    Attributes:
        times: float64 (t, 2), start and end of each frame in seconds. A frame ends where the next begins.
        values: float32 (t, dim), zeros where no face was found, which is how a missing step is marked everywhere.
        found: bool (t,), whether there was a face.
        landmarks: float32 (t, 468, 2), x and y in pixels of the face's mesh, NaN where there is none; to look at. None
            of an extractor that has no mesh.
        report: lines for people: the share of frames with a face, and which was taken of several.
    """

    times: np.ndarray
    values: np.ndarray
    found: np.ndarray
    landmarks: np.ndarray | None
    report: tuple[str, ...]


def spans(starts: np.ndarray, rate: float) -> np.ndarray:
    """Start and end of each frame, float64 (t, 2): each lasts until the next, the last one 1 / ``rate`` seconds."""
    starts = np.asarray(starts, np.float64)
    return np.stack([starts, np.append(starts[1:], starts[-1:] + 1 / rate)], axis=1)


def coverage(found: np.ndarray) -> str:
    """The line of a report on how many of the frames show a face."""
    return f"a face in {found.sum()} of {len(found)} frames ({found.mean() if len(found) else 0:.0%})"
