"""What runs that were killed are compared by, and the kill itself; tests/integration/test_resume.py uses both."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kills import differences, kill, only_run


def write(run: Path) -> Path:
    checkpoint: dict[str, Any] = {"state_dict": {"w": torch.arange(3.0)}, "lr_schedulers": [{"last": 1}]}
    checkpoint["optimizer_states"] = [{"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1}]}]
    (run / "checkpoints").mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        torch.save(checkpoint, run / "checkpoints" / name)
    (run / "result.json").write_text(json.dumps({"seconds": 3.0, "git_commit": "a", "valid": {"mae": 1.0}}))
    (run / "metrics.csv").write_text("epoch\n1\n")
    return run


def in_checkpoint(name: str, alter: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def change(run: Path) -> None:
        checkpoint = torch.load(run / "checkpoints" / name, weights_only=True)
        alter(checkpoint)
        torch.save(checkpoint, run / "checkpoints" / name)

    return change


def in_result(**changes: Any) -> Callable[[Path], Any]:
    return lambda run: (run / "result.json").write_text(
        json.dumps(json.loads((run / "result.json").read_text()) | changes)
    )


def half_written(run: Path) -> None:
    (run / "checkpoints" / ".last.ckpt.7.tmp").touch()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (in_result(seconds=9.0, git_commit="b"), []),
        (in_result(valid={"mae": 2.0}), ["valid of result.json"]),
        (in_result(epochs=3), ["epochs of result.json"]),
        (in_checkpoint("best.ckpt", lambda c: c["state_dict"]["w"].add_(1e-6)), ["best.ckpt"]),
        (in_checkpoint("last.ckpt", lambda c: c["state_dict"].pop("w")), ["state_dict of last.ckpt"]),
        (in_checkpoint("last.ckpt", lambda c: c["lr_schedulers"].clear()), ["lr_schedulers of last.ckpt"]),
        (
            in_checkpoint("last.ckpt", lambda c: c["optimizer_states"][0]["state"][0]["step"].add_(1)),
            ["optimizer_states of last.ckpt"],
        ),
        (lambda run: (run / "metrics.csv").write_text("epoch\n2\n"), ["metrics.csv"]),
        (lambda run: (run / "metrics.csv").unlink(), ["metrics.csv"]),
        (lambda run: (run / "more.csv").touch(), ["more.csv"]),
        (half_written, [".last.ckpt.7.tmp"]),
    ],
)
def test_each_difference_is_named(tmp_path: Path, change: Callable[[Path], Any], found: list[str]) -> None:
    whole, run = write(tmp_path / "whole" / "a"), write(tmp_path / "run" / "a")
    assert only_run(tmp_path / "run") == run
    assert differences(run, whole) == []
    change(run)
    assert [Path(name).name for name in differences(run, whole)] == found


def test_a_process_is_killed_when_it_is_ready_and_not_before() -> None:
    code = "import time; time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code])
    asked = itertools.count()
    assert kill(process, lambda: next(asked) == 3)
    assert process.returncode == -9 and next(asked) == 4


def test_one_that_ended_first_was_not_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert not kill(process, lambda: False, pause=600)
    assert process.returncode == 0
