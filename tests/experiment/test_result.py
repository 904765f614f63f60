from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from records import MACHINE

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result

KNOWN = {"data": "d", "model": "m", "ablation": "full", "seed": 1, "config_hash": "0", "data_hash": "1"}
KNOWN |= {"epochs": 3, "best_epoch": 2, "text": None, "text_encoder": None, "modalities": ["text"], **MACHINE}


def test_undefined_figures_become_null_and_come_back(tmp_path: Path) -> None:
    figures = {"mae": 1.5, "corr": math.nan}
    rest = KNOWN | {"test": {}}
    result.write(tmp_path, {"valid": figures} | rest)
    expected = {"valid": {"mae": 1.5, "corr": None}} | rest
    assert json.loads((tmp_path / "result.json").read_text()) == expected
    assert result.read(tmp_path) == expected
    assert result.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "changes", [{"test": None}, {"test": {"mae": "low"}}, {"epochs": 2.5}, {"text": 1}, {"config_hash": None}]
)
def test_what_is_no_result_is_not_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    result.write(tmp_path, {"valid": {}, "test": {}} | KNOWN | changes)
    with pytest.raises(UserError, match=r"result\.json is not a result; remove it to run again"):
        result.read(tmp_path)


def test_summary_shows_undefined_figures_and_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"mae": 0.71234, "corr": None}
    outcome = {"model": "m", "ablation": "full", "data": "d", "seed": 1, "epochs": 3, "best_epoch": 2}
    result.print_summary(outcome | {"valid": figures, "test": figures}, tmp_path)
    printed = capsys.readouterr().out
    assert "0.7123" in printed and "undefined" in printed and f"run: {tmp_path}" in printed
    assert "changed nothing" not in printed


def test_summary_says_which_tasks_had_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result.print_summary(KNOWN | {"valid": {}, "test": {}, "idle_tasks": ["audio", "text"]}, tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "best of 3 epochs: 2, before any loss of audio, text" in printed


def test_runs_behind_links_are_found_once(tmp_path: Path) -> None:
    for run in (tmp_path / "runs" / "one", tmp_path / "elsewhere" / "two"):
        run.mkdir(parents=True)
        (run / "result.json").touch()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "two" / "back").symlink_to(tmp_path)  # round and round
    assert result.directories([tmp_path / "runs"]) == [tmp_path / "runs" / "linked" / "two", tmp_path / "runs" / "one"]


def test_the_place_of_a_run_has_no_root() -> None:
    assert result.place(Path("/a/runs/mosi/tfn/full/seed1")) == "mosi/tfn/full/seed1"
    assert result.place(Path("/mine/seed1")) == "mine/seed1"


def test_commit_is_that_of_this_checkout() -> None:
    root = Path(__file__).parents[2]
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        pytest.skip("the tests do not run in a git checkout")
    assert (result.git_commit() or "").removesuffix("-dirty") == head.stdout.strip()


def test_the_summary_has_valid_and_test_in_their_own_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result.print_summary(KNOWN | {"valid": {"mae": 0.25}, "test": {"mae": 0.75}}, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    head = next(line for line in printed if "valid" in line)
    (line,) = (line for line in printed if "mae" in line)
    assert head.index("valid") < head.index("test") and line.index("0.2500") < line.index("0.7500")


def test_the_commit_tells_of_changes_and_is_not_that_of_a_checkout_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        own = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *own, *arguments], check=True, capture_output=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(result, "PACKAGE", package)
    git("init")
    git("commit", "--allow-empty", "-m", "somebody's own")
    assert result.git_commit() is None
    git("add", ".")
    git("commit", "-m", "the package")
    clean = result.git_commit()
    assert clean is not None and len(clean) == 40
    (package / "__init__.py").write_text("changed = True\n")
    assert result.git_commit() == f"{clean}-dirty"
