"""The search beside the published rates: what is tried, what is chosen, and that the file does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tuning
import yaml
from settings import composed


def test_the_best_rates_on_validation_become_a_file(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = arguments("data=demo", "text=features", "tuned=lmf_mosi")
    command = ["--models", "lmf", "--trials", "2", "--name", "own", "--out", str(tmp_path / "conf" / "tuned"), *own]
    (tmp_path / "conf" / "tuned").mkdir(parents=True)
    tuning.main(command)
    path = tmp_path / "conf" / "tuned" / "lmf_demo_own.yaml"
    assert capsys.readouterr().out.splitlines()[-1] == str(path)

    results = {p.parent: json.loads(p.read_text()) for p in (tmp_path / "runs" / "demo").rglob("result.json")}
    configs = {run: yaml.safe_load((run / "config.yaml").read_text()) for run in results}
    published = composed("model=lmf", *own)
    assert len(results) == 3 and published["optim"]["lr"] in [config["optim"]["lr"] for config in configs.values()]
    for config in configs.values():
        rates = {group: config["optim"]["lr"].pop(group) / rate for group, rate in published["optim"]["lr"].items()}
        assert all(1 / 3.01 <= factor <= 3.01 for factor in rates.values())
        assert config["optim"]["weight_decay"] == published["optim"]["weight_decay"]
        assert config["data"]["batch_size"] == published["data"]["batch_size"]
    best = min(results, key=lambda run: results[run]["valid"]["mae"])
    rates = yaml.safe_load((best / "config.yaml").read_text())["optim"]["lr"]
    text = path.read_text()
    assert f"{results[best]['valid']['mae']:.4f}" in text

    searched = [word for word in own if not word.startswith("tuned=")]
    made = composed("model=lmf", *searched, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "tuned=lmf_demo_own")
    assert made["optim"]["lr"] == rates
    assert made | {"optim": None} == published | {"optim": None}

    path.unlink()
    tuning.main(command)  # from the results that are there
    assert path.read_text() == text
