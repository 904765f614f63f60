"""The search beside the published settings: what is tried, what is chosen, and that the file does what it says."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import tuning
import yaml
from settings import composed

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import app


def test_the_best_settings_on_validation_become_a_file(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = arguments("data=demo", "text=features", "tuned=lmf_mosi")
    out = tmp_path / "conf" / "tuned"
    command = ["--models", "lmf", "--trials", "3", "--name", "own", "--out", str(out), *own]
    tuning.main([*command[:2], "--list", *command[2:]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and len(set(lines)) == 4 and not (tmp_path / "runs").exists()
    app.main(shlex.split(lines[2])[2:])  # one run elsewhere, which the search finds
    (before,) = (tmp_path / "runs").rglob("result.json")
    finished = before.stat().st_mtime_ns

    tuning.main(command)
    path = out / "lmf_demo_own.yaml"
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    assert before.stat().st_mtime_ns == finished
    results = {p.parent: json.loads(p.read_text()) for p in (tmp_path / "runs" / "demo").rglob("result.json")}
    configs = {run: yaml.safe_load((run / "config.yaml").read_text()) for run in results}
    published = composed("model=lmf", *own)
    assert len(results) == 4
    drawn = [config for config in configs.values() if config["patience"] != published["patience"]]
    assert len(drawn) == 3 and {config["optim"]["weight_decay"]["bert"] for config in drawn} == {0, 0.00025}
    factors = [
        config["optim"]["lr"][group] / rate for config in drawn for group, rate in published["optim"]["lr"].items()
    ]
    assert all(1 / 3.02 <= factor <= 3.02 for factor in factors) and min(factors) < 1 < max(factors)
    for config in drawn:
        decays = config["optim"]["weight_decay"] | {"bert": published["optim"]["weight_decay"]["bert"]}
        assert decays == published["optim"]["weight_decay"]
        assert config["data"]["batch_size"] == published["data"]["batch_size"]

    best = configs[min(results, key=lambda run: results[run]["valid"]["mae"])]
    text = path.read_text()
    assert "tuned=lmf_mosi" in text and str(tmp_path) not in text
    assert re.search(r"^# python train.py model=lmf data=demo .*\btext=features .*tuned=lmf_demo_own$", text, re.M)
    assert f"{min(found['valid']['mae'] for found in results.values()):.4f}" in text
    searched = [word for word in own if not word.startswith("tuned=")]
    made = composed("model=lmf", *searched, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "tuned=lmf_demo_own")
    assert made["optim"] == best["optim"] and made["patience"] == best["patience"]
    same = {"optim": None, "patience": None}
    assert made | same == published | same

    path.unlink()
    tuning.main(command)  # from the results that are there
    assert path.read_text() == text
    with pytest.raises(
        UserError, match=r"lmf_demo_own\.yaml is not of a search with .*data\.batch_size=8: give another --name"
    ):
        tuning.tune("lmf", [*own, "data.batch_size=8"], 3, "own", out)
    other = [f"data.path={tmp_path}/other.h5" if word.startswith("data.path=") else word for word in own]
    with pytest.raises(UserError, match=r"is not of a search with .*data\.path=other\.h5"):
        tuning.tune("lmf", other, 3, "own", out)
    with pytest.raises(UserError, match=r"lmf_demo_own\.yaml is of 3 trials, not 2"):
        tuning.tune("lmf", own, 2, "own", out)
    assert path.read_text() == text


def test_a_trial_that_fails_is_not_chosen_and_does_not_end_the_search(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = arguments("data=demo", "text=features")
    monkeypatch.setattr(tuning, "FACTOR", 1e60)  # rates with which the loss is no number
    published, *drawn = tuning.runs("lmf", own, 1)
    assert [math.isfinite(tuning.validation(run)) for run in (published, *drawn)] == [True, False]
    text = tuning.tune("lmf", own, 1, "own", tmp_path).read_text()
    assert yaml.safe_load(text)["optim"]["lr"] == composed("model=lmf", *own)["optim"]["lr"]
    monkeypatch.setattr(tuning, "validation", lambda run: math.inf)
    with pytest.raises(UserError, match="lmf: its run with the published settings failed"):
        tuning.tune("lmf", own, 1, "own", tmp_path)


def test_settings_of_a_model_that_has_no_tuned_ones_can_be_used(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = arguments("data=demo", "text=features")
    out = tmp_path / "conf" / "tuned"
    out.mkdir(parents=True)
    path = tuning.tune("lmf", own, 1, "own", out)
    assert composed("model=lmf", *own, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "tuned=lmf_demo_own")
    assert "defaults" not in yaml.safe_load(path.read_text())
    with pytest.raises(SystemExit) as end:
        tuning.main(["--models", "lmf", "--trials", "0", "--name", "own", *own])
    assert end.value.code == 2 and "--trials 0: give 1 or more" in capsys.readouterr().err


def test_a_search_that_is_asked_to_stop_stops(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(overrides: list[str]) -> None:
        raise SystemExit(130)

    monkeypatch.setattr(app, "main", interrupted)
    with pytest.raises(SystemExit) as end:
        tuning.tune("lmf", arguments("data=demo"), 1, "own", tmp_path)
    assert end.value.code == 130 and not list(tmp_path.glob("*.yaml"))


def test_the_file_tells_the_published_figure_from_the_best_drawn_one(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([0.5, 0.75, 0.625])
    monkeypatch.setattr(tuning, "validation", lambda run: next(found))
    text = tuning.tune("lmf", arguments("data=demo", "text=features"), 2, "own", tmp_path).read_text()
    assert "# MAE with the published settings: 0.5000; with the best of 2 drawn ones: 0.6250.\n" in text
