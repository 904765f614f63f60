"""What ``make`` would run: a table is built from what its sweep runs, and overrides reach both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def commands(target: str, *settings: str) -> list[list[str]]:
    """The last word of each program's path and its arguments, but those of the set-up."""
    made = subprocess.run(["make", "-n", target, *settings], cwd=ROOT, check=True, capture_output=True, text=True)
    lines = [line.split() for line in made.stdout.splitlines() if "train.py" in line or "/mmsa " in line]
    return [[word if "=" in word else Path(word).name for word in line] for line in lines]


@pytest.mark.parametrize("number", [1, 2])
def test_a_table_without_runs_takes_no_seeds(number: int) -> None:
    (command,) = commands(f"table{number}", "DATA=demo", "SEEDS=1,2", "ROWS=misa")
    assert command == ["mmsa", "table", str(number), "--out", "report", "data=demo"]


@pytest.mark.parametrize(
    ("target", "rows"), [("table3", "model=misa"), ("table4", "model=misa"), ("table5", "+ablation=misa")]
)
def test_a_table_is_of_what_its_sweep_runs(target: str, rows: str) -> None:
    sweep, table = commands(target, "DATA=demo", "SEEDS=1,2", "ROWS=misa", "OUT=here", "PARTIAL=1", "ARGS=text=bert")
    overrides = ["data=demo", "text=bert", "seed=1,2", rows]
    assert sweep == ["python", "train.py", "-m", f"experiment={target}", "hydra/launcher=joblib", *overrides]
    assert table == ["mmsa", "table", target[-1], "--out", "here", "--partial", *overrides]


def test_robustness_is_of_what_its_sweep_runs() -> None:
    sweep, measured = commands("robustness", "DATA=demo", "SEEDS=1,2", "ROWS=misa", "OUT=here")
    overrides = ["data=demo", "seed=1,2", "model=misa"]
    assert sweep == ["python", "train.py", "-m", "experiment=robustness", "hydra/launcher=joblib", *overrides]
    assert measured == ["mmsa", "robustness", "demo", "--out", "here"]
    for settings, folder in ((), "runs/robustness/mosi"), (("ARGS=text=bert runs=/x", "DATA=sims"), "/x/sims"):
        made = subprocess.run(["make", "-n", "robustness", *settings], cwd=ROOT, capture_output=True, text=True).stdout
        assert f"robustness {folder} --out" in made


@pytest.mark.parametrize("target", ["table3", "table5", "figure2", "robustness"])
def test_jobs_are_those_of_the_sweep(target: str) -> None:
    """joblib's own name for them, which the table does not take."""
    sweep, built = commands(target, "JOBS=3")
    assert sweep[3:] == [f"experiment={target}", "hydra/launcher=joblib", "hydra.launcher.n_jobs=3"]
    assert not any("hydra" in word for word in built)


def test_the_pictures_are_of_the_demo_alone() -> None:
    sweep, table, report, served = commands("pictures")
    assert sweep[:4] == ["python", "train.py", "-m", "experiment=table3"]
    assert table[:3] == ["mmsa", "table", "3"]
    assert sweep[4:] == table[5:] and "data=demo" in sweep
    assert report[:3] == ["mmsa", "report", "demo"]
    assert served[:3] == ["python", "train.py", "-m"] and "data=demo" in served


def test_tables_and_figures_are_all_of_them() -> None:
    built = [command[1:3] for name in ("tables", "figures", "report") for command in commands(name)]
    assert [words for words in built if words[0] != "train.py"] == [
        *(["table", str(number)] for number in range(1, 7)),
        ["figure", "2"],
        ["figure", "3"],
        ["report", "demo"],
    ]


def test_the_site_is_built_strictly() -> None:
    made = subprocess.run(["make", "-n", "docs"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (line,) = [line.split() for line in made.splitlines() if "mkdocs" in line]
    assert "--strict" in line and not {"-q", "--quiet"} & set(line)  # quiet, it counts no warning
    assert (ROOT / line[-1]).is_file()
