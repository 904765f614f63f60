"""What OpenFace 2 measured: action units, gaze and head pose from the CSV that lies beside a video.

Baltrušaitis et al., *OpenFace 2.0: Facial Behavior Analysis Toolkit*, FG 2018. The columns are those of its
FeatureExtraction and FaceLandmarkVidMulti; older versions write a blank before each name.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.beside import TABLE
from mmsa_lightning.media.vision.track import Track, coverage, spans

UNITS_ACTIVE = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45]
UNITS = {
    **{f"gaze_{eye}_{axis}": "direction" for eye in (0, 1) for axis in "xyz"},
    **{f"gaze_angle_{axis}": "radians" for axis in "xy"},
    **{f"pose_T{axis}": "millimetres" for axis in "xyz"},
    **{f"pose_R{axis}": "radians" for axis in "xyz"},
    **{f"AU{unit:02}_r": "intensity from 0 to 5" for unit in UNITS_ACTIVE},
    **{f"AU{unit:02}_c": "0 or 1" for unit in sorted([*UNITS_ACTIVE, 28])},
}
KEYS = ("timestamp", "confidence", "success")
RATE = 30.0  # frames a second of a stretch of one frame


@dataclass(frozen=True)
class Row:
    """One face in one frame; ``values`` is None where it was not found."""

    start: float
    face: int
    confidence: float
    values: np.ndarray | None


class OpenFace:
    """Reads the table of a video: ``clip.csv`` beside ``clip.mp4``.

    Attributes:
        names: of the features.
        units: of each feature, by name.
        rate: frames a second of most videos; the table's own times count.
        versions: none; the table does not say which OpenFace wrote it.
    """

    rate = RATE

    def __init__(self) -> None:
        self.names, self.units = list(UNITS), UNITS
        self.versions: dict[str, str] = {}

    def __call__(self, video: Path, start: float = 0.0, end: float = math.inf) -> Track:
        """The face in ``video`` from ``start`` to ``end`` in seconds: the frames that begin there.

        A row without success, or with a value that is no number, is a missing step. Of several faces that is taken
        which was found most often and, among equals, with most confidence.

        Raises:
            UserError: there is no table, or it is none of OpenFace's.
        """
        rows = [row for row in read(video.with_suffix(TABLE)) if start <= row.start < end]
        starts = sorted({row.start for row in rows})
        times = spans(np.array(starts), 1 / np.median(np.diff(starts)) if len(starts) > 1 else RATE)
        values, found = np.zeros((len(starts), len(self.names)), np.float32), np.zeros(len(starts), bool)

        faces: dict[int, list[Row]] = {}
        for row in rows:
            if row.values is not None:
                faces.setdefault(row.face, []).append(row)
        lines = []
        if faces:
            taken = max(faces, key=lambda face: (len(faces[face]), sum(row.confidence for row in faces[face])))
            frame = {at: i for i, at in enumerate(starts)}
            for row in faces[taken]:
                values[frame[row.start]], found[frame[row.start]] = row.values, True
            if len(faces) > 1:
                lines.append(
                    f"{len(faces)} faces in OpenFace's table; face_id {taken} is taken, the one most often found"
                )
        return Track(times, values, found, None, (coverage(found), *lines))

    def of_video(self, video: Path, start: float, end: float | None, sound: np.ndarray | None) -> Track:
        """The same, in seconds from ``start``; OpenFace heard nothing."""
        found = self(video, start, math.inf if end is None else end)
        return replace(found, times=found.times - start)


def read(path: Path) -> list[Row]:
    """The rows of a table, which is read once as long as its file does not change.

    Raises:
        UserError: there is no such file, or it is none of OpenFace's.
    """
    if not path.is_file():
        raise UserError(f"there is no {path}; write it with OpenFace's FeatureExtraction -pose -gaze -aus")
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)  # the utterances of one video come one after another
def _read(path: Path, changed: int) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            columns = [column.strip() for column in lines.fieldnames or []]
            lines.fieldnames = columns
            if missing := [name for name in (*KEYS, *UNITS) if name not in columns]:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                raise UserError(
                    f"{path} lacks OpenFace's columns {', '.join(missing[:3])}{more}; "
                    "run FeatureExtraction with -pose -gaze -aus"
                )
            return [_row(path, lines.line_num, line) for line in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV: {error}") from error


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    try:
        start, confidence, success = (float(line[key]) for key in KEYS)
        values = np.array([float(line[name]) for name in UNITS], np.float32)
        face = int(line.get("face_id", 0))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}, line {number}: a field is missing or no number ({error})") from error
    if not math.isfinite(start) or success not in (0, 1):
        raise UserError(f"{path}, line {number}: timestamp {start} and success {success}; success is 0 or 1")
    return Row(start, face, confidence, values if success and np.isfinite(values).all() else None)
