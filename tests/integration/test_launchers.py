"""Sweeps in processes of their own: the same figures as one after another, and failures that come back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from warm import Python

from mmsa_lightning.experiment import app
from mmsa_lightning.experiment.config import config_dir

ROOT = Path(__file__).parents[2]
SWEEPS = {  # a launcher's overrides, its seeds and the exit code; no run takes a seed of 2^32
    "joblib": (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], "seed=4294967296,1", 2),
    "submitit_local": (["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"], "seed=1", 0),
}


def figures(runs: Path) -> dict[str, dict[str, float]]:
    records = [json.loads(path.read_text()) for path in runs.rglob("result.json")]
    return {record["model"]: record["test"] for record in records}


@pytest.mark.parametrize("launcher", SWEEPS)
def test_a_launcher_gives_the_figures_of_a_sweep_in_one_process(
    launcher: str, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Also where other jobs fail, each in its own process: then the sweep ends with 2."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over another number of threads differ in their last digits
    try:
        app.main(["-m", *arguments("model=tfn,lmf")])
    finally:
        torch.set_num_threads(threads)
    expected = figures(tmp_path / "runs")
    options, seeds, code = SWEEPS[launcher]
    overrides = [*arguments("model=tfn,lmf", seeds), f"runs={tmp_path / 'launched'}", *options]
    process = Python([ROOT / "train.py", "-m", *overrides], tmp_path, os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.wait() == code, process.stderr
    last = (process.stderr.splitlines() or [""])[-1]
    assert last.startswith("error: seed=4294967296: give a whole number") == bool(code)
    assert len(expected) == 2
    assert figures(tmp_path / "launched") == expected
    if launcher == "joblib":
        first, *ended = [line for line in process.stdout.splitlines() if "sweep: " in line]
        assert first == "sweep: 4 runs, 2 at once"
        assert ended[-1].endswith("; sweep: 4 of 4 done, 2 failed")
        assert {line.partition(";")[0].partition(":")[0] for line in ended} == {
            f"{model} (full) on demo, seed {seed}" for model in ("tfn", "lmf") for seed in (1, 2**32)
        }


def test_every_job_of_a_sweep_has_its_own_ranks(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], forked_ranks: None
) -> None:
    """And a mistake that only the ranks find is one line, which names them."""
    overrides = arguments("trainer=ddp_cpu", "trainer.max_epochs=1", "model=tfn,lmf", "text=features")
    with pytest.raises(SystemExit) as stop:
        app.main(["-m", *overrides, "++model.rank=-1"])
    assert stop.value.code == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert re.match(r"error: (rank \d of 2: )?model: TFN takes no rank", first)
    assert "1 jobs failed" in last or "2 jobs failed" in last
    app.main(["-m", *overrides])
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")]
    assert sorted((record["model"], record["processes"]) for record in records) == [("lmf", 2), ("tfn", 2)]


def test_ranks_start_in_each_process_of_a_sweep(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    """joblib's default way to start processes is one that they do not know."""
    overrides = arguments("trainer=ddp_cpu", "trainer.max_epochs=1", "model=lmf", "text=features", "seed=1,2")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = Python([ROOT / "train.py", "-m", *overrides, *launcher], tmp_path)
    assert process.wait() == 0, process.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")]
    assert sorted((record["seed"], record["processes"]) for record in records) == [(1, 2), (2, 2)]


def test_processes_are_started_whatever_somebody_left_in_the_environment(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    """As NVIDIA's images leave LOCAL_RANK. Nobody answers, and rank 0 is not taken for another, which logs nothing."""
    left = {"LOCAL_RANK": "0", "RANK": "1", "NODE_RANK": "1", "WORLD_SIZE": "4", "OMP_NUM_THREADS": "1"}
    overrides = arguments("trainer=ddp_cpu", "trainer.max_epochs=1", "model=lmf", "text=features", "modalities=[audio]")
    command = [sys.executable, "train.py", *overrides, "logger=wandb", "logger.offline=true"]
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # of this process
    subprocess.run(command, cwd=ROOT, env=alone | left, check=True, capture_output=True, timeout=300)
    (path,) = (tmp_path / "runs").rglob("result.json")
    assert json.loads(path.read_text())["processes"] == 2
    assert len(list(path.parent.rglob("run-*.wandb"))) == 1


def test_slurms_settings_compose() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", ["hydra/launcher=slurm", "hydra.launcher.partition=gpu"], return_hydra_config=True)
    assert cfg.hydra.launcher._target_.endswith("SlurmLauncher")
    assert (cfg.hydra.launcher.partition, cfg.hydra.launcher.gres) == ("gpu", "gpu:1")
