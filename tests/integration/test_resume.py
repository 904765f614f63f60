"""A run that is killed and continued ends like one that was left alone: the same weights and figures, bit for bit."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmsa_lightning.app import main

ROOT = Path(__file__).parents[2]
OWN = ("seconds", "git_commit")  # what two runs of the same thing may differ in
EPOCHS = 6


def kill_after(arguments: list[str], run: Path, epochs: int, pause: float) -> None:
    """Start a run, let it finish ``epochs``, wait a little more, and kill it."""
    process = subprocess.Popen([sys.executable, ROOT / "train.py", *arguments], stdout=subprocess.DEVNULL)
    history = run / "metrics.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if history.is_file() and len(history.read_text().splitlines()) > epochs:
            time.sleep(pause)
            break
        time.sleep(0.01)
    assert process.poll() is None, "the run ended before it could be killed"
    process.kill()
    process.wait()


def state(run: Path, name: str) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / name, weights_only=True)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_twice_and_continued(arguments: Callable[..., list[str]], tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    overrides = arguments("keep_last=true", f"trainer.max_epochs={EPOCHS}", f"seed={seed}")
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    (whole,) = (path.parent for path in (tmp_path / "whole").rglob("result.json"))
    run = tmp_path / "killed" / whole.relative_to(tmp_path / "whole")

    overrides += [f"runs={tmp_path / 'killed'}"]
    kill_after(overrides, run, epochs=rng.choice([1, 2]), pause=rng.uniform(0, 0.3))
    kill_after([*overrides, "ckpt_path=last"], run, epochs=rng.choice([3, 4]), pause=rng.uniform(0, 0.3))
    assert not (run / "result.json").exists()
    main([*overrides, "ckpt_path=last"])

    for name in ("best.ckpt", "last.ckpt"):
        assert same(state(run, name)["state_dict"], state(whole, name)["state_dict"]), name
    assert same(state(run, "last.ckpt")["optimizer_states"], state(whole, "last.ckpt")["optimizer_states"])
    results = [json.loads((path / "result.json").read_text()) for path in (run, whole)]
    for outcome in results:
        for key in OWN:
            outcome.pop(key)
    assert results[0] == results[1]
    for name in ("metrics.csv", "predictions.csv", "generated_labels.csv"):
        assert (run / name).read_text() == (whole / name).read_text(), name


def test_nothing_to_resume_starts_from_the_beginning(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("ckpt_path=last"))
    assert "nothing to resume" in capsys.readouterr().out
    assert list((tmp_path / "runs").rglob("result.json"))
