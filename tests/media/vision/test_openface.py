"""OpenFace's table, written by hand as FeatureExtraction and FaceLandmarkVidMulti write it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.vision.openface import UNITS, OpenFace

COLUMNS = ["frame", "face_id", "timestamp", "confidence", "success", *UNITS, "x_0", "y_0"]


def write(folder: Path, rows: list[dict[str, object]], columns: list[str] = COLUMNS, separator: str = ",") -> Path:
    """A table in which every feature of the row i is i and its column's share of a hundred."""
    lines = [separator.join(columns)]
    for i, row in enumerate(rows):
        features = {name: i + column / 100 for column, name in enumerate(UNITS)}
        whole = {"frame": i + 1, "face_id": 0, "confidence": 0.98, "success": 1, "x_0": 5, "y_0": 6, **features, **row}
        lines.append(separator.join(str(whole[name]) for name in columns))
    (folder / "clip.csv").write_text("\n".join(lines) + "\n")
    return folder / "clip.mp4"


def test_the_features_are_those_of_openface() -> None:
    names = OpenFace().names
    assert len(names) == len(set(names)) == 6 + 2 + 6 + 17 + 18
    assert {"gaze_0_x", "gaze_angle_y", "pose_Tz", "pose_Rx", "AU01_r", "AU45_r", "AU28_c"} <= set(names)
    assert "AU28_r" not in names  # it has no intensity


@pytest.mark.parametrize("separator", [",", ", "], ids=["2.1", "2.0, with blanks"])
def test_a_table(tmp_path: Path, separator: str) -> None:
    rows = [{"timestamp": 0.0}, {"timestamp": 0.04, "success": 0, "confidence": 0.1}, {"timestamp": 0.08}]
    track = OpenFace()(write(tmp_path, rows, separator=separator))
    np.testing.assert_allclose(track.times, [[0, 0.04], [0.04, 0.08], [0.08, 0.12]])
    assert track.found.tolist() == [True, False, True]
    columns = np.arange(len(UNITS)) / 100
    np.testing.assert_allclose(track.values, [columns, 0 * columns, 2 + columns], rtol=1e-6)
    assert (track.values.dtype, track.landmarks, track.report) == (np.float32, None, ("a face in 2 of 3 frames (67%)",))


def test_a_table_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    video = write(tmp_path, [{"timestamp": 0.0}])
    assert OpenFace()(video).times.tolist() == [[0.0, 1 / 30]]
    write(tmp_path, [{"timestamp": 5.0}])
    os.utime(tmp_path / "clip.csv", ns=(0, 0))
    assert OpenFace()(video).times[0, 0] == 5.0


def test_a_stretch(tmp_path: Path) -> None:
    video = write(tmp_path, [{"timestamp": i / 10} for i in range(10)])
    track = OpenFace()(video, 0.25, 0.5)
    np.testing.assert_allclose(track.times, [[0.3, 0.4], [0.4, 0.5]])
    np.testing.assert_allclose(track.values[:, 0], [3, 4])
    assert OpenFace()(video, 5, 6).values.shape == (0, len(UNITS))


def test_of_several_faces_the_most_often_found_is_taken(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 0, "face_id": 0},
        {"timestamp": 0, "face_id": 1, "confidence": 0.6},
        {"timestamp": 0.1, "face_id": 0, "success": 0},
        {"timestamp": 0.1, "face_id": 1, "confidence": 0.6},
        {"timestamp": 0.2, "face_id": 0},
        {"timestamp": 0.3, "face_id": 1, "confidence": 0.6},
    ]
    track = OpenFace()(write(tmp_path, rows))
    np.testing.assert_allclose(track.values[:, 0], [1, 3, 0, 5])
    assert track.found.tolist() == [True, True, False, True]
    assert track.report[1] == "2 faces in OpenFace's table; face_id 1 is taken, the one most often found"


def test_among_equals_the_surest_is_taken(tmp_path: Path) -> None:
    rows = [{"timestamp": 0, "face_id": 0, "confidence": 0.8}, {"timestamp": 0, "face_id": 1, "confidence": 0.9}]
    assert OpenFace()(write(tmp_path, rows)).values[0, 0] == 1


def test_what_is_no_number_is_missing(tmp_path: Path) -> None:
    track = OpenFace()(write(tmp_path, [{"timestamp": 0, "gaze_0_x": "-nan"}, {"timestamp": 0.1}]))
    assert track.found.tolist() == [False, True] and (track.values[0] == 0).all()


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [{"timestamp": 0}],
            [name for name in COLUMNS if "_c" not in name],
            r"clip.csv lacks OpenFace's columns AU01_c, AU02_c, AU04_c and 15 more; run FeatureExtraction with",
        ),
        ([{"timestamp": 0}, {"timestamp": "soon"}], COLUMNS, r"clip.csv, line 3: a field is missing or no number \("),
        ([{"timestamp": 0, "success": 2}], COLUMNS, r"clip.csv, line 2: timestamp 0.0 and success 2.0; success is 0"),
    ],
)
def test_another_table_ends_in_one_line(
    rows: list[dict[str, object]], columns: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        OpenFace()(write(tmp_path, rows, columns))


def test_a_row_that_ends_early(tmp_path: Path) -> None:
    video = write(tmp_path, [{"timestamp": 0}])
    with video.with_suffix(".csv").open("a") as file:
        file.write("2,0,0.04\n")
    with pytest.raises(UserError, match=r"clip.csv, line 3: a field is missing"):
        OpenFace()(video)


def test_a_video_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*clip.csv; write it with OpenFace's FeatureExtraction"):
        OpenFace()(tmp_path / "clip.mp4")
    (tmp_path / "clip.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"clip.csv is no CSV"):
        OpenFace()(tmp_path / "clip.mp4")
