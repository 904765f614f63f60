"""A search over settings: what it is guided by, what it leaves, and that the same command goes on with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from mmsa_lightning.experiment import app
from mmsa_lightning.experiment.config import config_dir

ROOT = Path(__file__).parents[2]
Arguments = Callable[..., list[str]]


def search(arguments: list[str], trials: int) -> None:
    learning = "hydra.sweeper.sampler.n_startup_trials=1"  # trials depend on those before from the second on
    app.main(["-m", "experiment=search", f"hydra.sweeper.n_trials={trials}", learning, "text=features", *arguments])


def results(runs: Path) -> dict[Path, dict[str, Any]]:
    return {path.parent: json.loads(path.read_text()) for path in runs.rglob("result.json")}


def outcome(runs: Path, model: str) -> dict[str, Any]:
    (path,) = (runs / "search" / "demo" / model).rglob("optimization_results.yaml")
    return OmegaConf.to_container(OmegaConf.load(path))


def test_a_search_finds_the_best_validation_mae_and_goes_on(arguments: Arguments, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    search(arguments("model=lmf"), trials=2)
    first = {path: (path / "result.json").stat().st_mtime_ns for path in results(runs)}
    assert len(first) == 2

    search(arguments("model=lmf"), trials=3)
    trials = results(runs)
    assert len(trials) == 3
    assert {path: (path / "result.json").stat().st_mtime_ns for path in first} == first  # not trained again
    assert {path.parent for path in trials} == {runs / "demo" / "lmf" / "full"}  # where a run always is
    best = min(trials, key=lambda path: trials[path]["valid"]["mae"])
    found = outcome(runs, "lmf")
    assert found["best_value"] == trials[best]["valid"]["mae"]
    settings = OmegaConf.load(best / "config.yaml")
    assert len(found["best_params"]) == 9
    for name, value in found["best_params"].items():
        assert OmegaConf.select(settings, name) == value

    search(arguments("model=tfn"), trials=1)
    assert len(results(runs)) == 4
    assert outcome(runs, "lmf") == found
    assert outcome(runs, "tfn")["best_value"] not in {trial["valid"]["mae"] for trial in trials.values()}

    search(arguments("model=lmf"), trials=3)
    assert outcome(runs, "lmf") == found
    assert len(results(runs)) == 4


def test_a_search_goes_on_after_a_trial_that_fails(arguments: Arguments, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        search(arguments("model=lmf", "data.batch_size=0,32"), trials=4)
    assert stop.value.code == 2
    trials = results(tmp_path / "runs")
    assert 0 < len(trials) < 4
    assert outcome(tmp_path / "runs", "lmf")["best_value"] == min(trial["valid"]["mae"] for trial in trials.values())


@pytest.mark.parametrize("data", ["mosi", "mosei"])
def test_the_learning_rates_and_decays_searched_take_in_what_was_published(data: str) -> None:
    def composed(*overrides: str) -> Any:
        return compose("train", [f"data={data}", *overrides], return_hydra_config=True)

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        space = composed("experiment=search").hydra.sweeper.params
        published = [composed(f"model={path.stem}") for path in (config_dir() / "model").glob("*.yaml")]
    for override in OverridesParser.create().parse_overrides([f"{name}={values}" for name, values in space.items()]):
        if override.is_interval_sweep():
            values = {float(OmegaConf.select(cfg, override.key_or_group)) for cfg in published} - {0.0}
            interval = override.value()
            assert interval.start <= min(values) and max(values) <= interval.end, override.key_or_group


@pytest.mark.parametrize(
    ("override", "extra"),
    [("experiment=search", "search"), ("hydra/launcher=joblib", "launchers"), ("hydra/launcher=slurm", "launchers")],
)
def test_a_plugin_that_is_not_installed_is_named_with_its_extra(override: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "__init__.py").touch()  # hides the installed ones
    (tmp_path / "srun").touch(mode=0o755)  # of SLURM, without which nobody needs its plugin
    command = [sys.executable, "train.py", "-m", override]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith(f"is not installed: pip install 'mmsa-lightning[{extra}]'\n")
    assert done.stderr.count("\n") == 1
