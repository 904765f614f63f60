"""Agreement of generated labels by epoch, by hand, from what runs leave."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.report.agreement import Course, courses, grids, records, write_agreement
from mmsa_lightning.report.rows import Agreement, Row

CORR = {1: [0.8, 0.6, 0.4, 0.2], 2: [0.8, 0.5]}  # by seed, after each epoch


@pytest.fixture
def trained(row: Callable[..., Row], tmp_path: Path) -> Row:
    """A row that was trained as :data:`CORR` says, with true text labels."""
    made = row("self_mm", [0.3, 0.4])
    best = {"corr": np.array([0.6, 0.8]), "mae": np.array([0.5, 0.3])}
    made.agreement = {"text": Agreement(best, {"corr": 0.85, "mae": 0.25})}
    for seed, values in CORR.items():
        made.run_dirs[seed] = tmp_path / str(seed)
        made.run_dirs[seed].mkdir()
        lines = [f"{i},{value},{1 - value}\n" for i, value in enumerate(values, start=1)]
        header = "epoch,ulgm/corr_true_text,ulgm/mae_true_text\n"
        (made.run_dirs[seed] / "metrics.csv").write_text(header + "".join(lines))
    return made


@pytest.fixture
def found(trained: Row, row: Callable[..., Row]) -> list[Course]:
    """Of this row, and of one that generates no labels."""
    return courses([trained, row("tfn", [0.5])])


def test_an_epoch_is_over_the_seeds_that_were_trained_so_long(found: list[Course]) -> None:
    (course,) = found
    assert (course.row, course.modality) == ("self_mm", "text")
    shown = {epoch: course.after("corr", epoch).tolist() for epoch in (1, 2, 3, 4, 5, "best", "last")}
    assert shown == {1: [0.8, 0.8], 2: [0.6, 0.5], 3: [0.4], 4: [0.2], 5: [], "best": [0.6, 0.8], "last": [0.2, 0.5]}
    np.testing.assert_allclose(course.after("mae", "last"), [0.8, 0.5])


def test_the_table_has_the_label_itself_first_and_says_over_how_many_seeds(found: list[Course]) -> None:
    (grid,) = grids(found)
    assert grid.header == ["", "n", "epoch 1", "epoch 3", "best", "last", "MAE, best"]
    own, row = grid.rows
    assert own == ["the label itself", "", "85.00", "85.00", "85.00", "85.00", "25.00"]
    assert row == [
        *("self_mm", "2", "80.00 ± 0.00", "40.00 (1)"),
        *("70.00 ± 14.14", "35.00 ± 21.21", "40.00 ± 14.14"),
    ]


def test_a_run_that_did_not_log_it_is_known_after_its_best_epoch_alone(trained: Row, tmp_path: Path) -> None:
    for run_dir in trained.run_dirs.values():
        (run_dir / "metrics.csv").write_text("epoch,train/loss\n1,2.0\n")
    found = courses([trained])
    (grid,) = grids(found)
    assert grid.rows[1] == ["self_mm", "2", "70.00 ± 14.14", "", "40.00 ± 14.14"]
    assert {record["epoch"] for record in records(found)} == {"best"}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "agreement.png").write_text("of an earlier call")
    assert [path.suffix for path in write_agreement(found, tmp_path / "out")] == [".csv", ".md", ".tex"]
    assert not (tmp_path / "out" / "agreement.png").exists()


def test_an_undefined_correlation_is_not_left_out_of_a_mean(found: list[Course]) -> None:
    found[0].epochs["corr"][0][0] = np.nan  # all labels alike
    assert grids(found)[0].rows[1][2] == "undefined"


def test_what_is_written(found: list[Course], tmp_path: Path) -> None:
    written = write_agreement(found, tmp_path / "a" / "b")
    assert [path.name for path in written] == [f"agreement.{kind}" for kind in ("csv", "md", "tex", "png", "svg")]
    assert all(path.stat().st_size for path in written)
    with written[0].open() as file:
        lines = {(line["metric"], line["epoch"]): line for line in csv.DictReader(file)}
    assert set(lines) == {(metric, epoch) for metric in ("corr", "mae") for epoch in ("1", "3", "best", "last")}
    line = lines["mae", "last"]
    assert (line["row"], line["modality"], line["n"], line["mean"], line["label"]) == (
        *("self_mm", "text", "2"),
        *("65.0", "25.0"),
    )
    assert float(line["std"]) == pytest.approx(100 * np.std([0.8, 0.5], ddof=1), abs=1e-4)


def test_each_modality_has_a_table_and_epochs_of_its_own(trained: Row) -> None:
    best = {"corr": np.array([0.1, 0.2]), "mae": np.array([0.9, 0.7])}
    trained.agreement["audio"] = Agreement(best, {"corr": 0.3, "mae": 0.65})
    for run_dir in trained.run_dirs.values():
        header, *lines = (run_dir / "metrics.csv").read_text().splitlines()
        lines = [f"{header},ulgm/corr_true_audio,ulgm/mae_true_audio", *(f"{line},0.15,0.9" for line in lines)]
        (run_dir / "metrics.csv").write_text("\n".join(lines) + "\n")
    text, audio = grids(courses([trained]))
    assert (len(text.rows), len(audio.rows)) == (2, 2)
    assert audio.title == "Agreement of generated labels with true ones, demo, audio."
    assert [row[2] for row in text.rows] == ["85.00", "80.00 ± 0.00"]
    assert audio.rows == [
        ["the label itself", "", "30.00", "30.00", "30.00", "30.00", "65.00"],
        ["self_mm", "2", "15.00 ± 0.00", "15.00 (1)", "15.00 ± 7.07", "15.00 ± 0.00", "80.00 ± 14.14"],
    ]
