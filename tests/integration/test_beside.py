"""Others' results beside ours."""

from __future__ import annotations

import sys
from pathlib import Path

import beside
import numpy as np
import pytest
from scipy import stats

from mmsa_lightning import files

THEIRS = [0.93, 0.88, 0.97]
OURS = [0.91, 0.90, 0.86, 0.87, 0.95]


def line(row: str, mean: float, std: float, n: int) -> dict[str, object]:
    return {"row": row, "metric": "mae", "mean": mean, "std": std, "n": n}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    runs = [{"model": "tfn", "seed": seed, "mae": mae, "seconds": 9.0} for seed, mae in enumerate(THEIRS)]
    files.write_rows(tmp_path / "originals_runs.csv", runs)
    ours = 100 * np.array(OURS)
    files.write_rows(tmp_path / "first.csv", [line("tfn", ours.mean(), ours.std(ddof=1), 5), line("lmf", 50, 1, 3)])
    files.write_rows(tmp_path / "second.csv", [line("tfn", 10, 1, 5)])
    monkeypatch.setattr(sys, "argv", ["beside.py", str(tmp_path), "--tables", "first.csv", "second.csv"])
    return tmp_path


def test_means_over_seeds(folder: Path) -> None:
    beside.main()
    (found,) = files.read_rows(folder / "originals.csv")
    assert (found["row"], found["metric"], found["n"]) == ("tfn", "mae", "3")
    assert float(found["mean"]) == pytest.approx(100 * np.mean(THEIRS), abs=1e-3)
    assert float(found["std"]) == pytest.approx(100 * np.std(THEIRS, ddof=1), abs=1e-3)


def test_the_difference_to_the_first_table_that_has_the_model_has_welchs_interval(folder: Path) -> None:
    beside.main()
    (found,) = files.read_rows(folder / "difference.csv")
    test = stats.ttest_ind(100 * np.array(OURS), 100 * np.array(THEIRS), equal_var=False)
    interval = test.confidence_interval(0.95)
    given = [float(found[name]) for name in ("difference", "low", "high")]
    assert given == pytest.approx([100 * (np.mean(OURS) - np.mean(THEIRS)), interval.low, interval.high], abs=1e-3)


def test_a_model_that_is_not_ours_and_a_single_seed_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = files.read_rows(folder / "originals_runs.csv")
    for given, words in (
        ([*runs, *({**run, "model": "mult"} for run in runs)], "mult, mae: in none of first.csv, second.csv"),
        (runs[:1], "tfn, mae: one seed has no spread"),
        ([*runs, runs[0]], "tfn seed 0 is there twice"),
        ([{**run, "mae": ""} for run in runs], "originals_runs.csv is damaged"),
    ):
        files.write_rows(folder / "originals_runs.csv", given)
        with pytest.raises(SystemExit) as stop:
            beside.main()
        assert stop.value.code == 2 and words in capsys.readouterr().err
        assert not (folder / "difference.csv").exists()


def test_each_model_is_over_its_own_seeds(folder: Path) -> None:
    runs = files.read_rows(folder / "originals_runs.csv")
    others = [{**run, "model": "lmf", "mae": str(0.5 + int(run["seed"]) / 10)} for run in runs]
    files.write_rows(folder / "originals_runs.csv", [*runs, *others])
    beside.main()
    means = {line["row"]: float(line["mean"]) for line in files.read_rows(folder / "originals.csv")}
    assert means == pytest.approx({"tfn": 100 * np.mean(THEIRS), "lmf": 60.0}, abs=1e-3)
    assert {line["n"] for line in files.read_rows(folder / "originals.csv")} == {"3"}
