"""How a run's parts follow its data."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from settings import composed

from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split, write
from mmsa_lightning.experiment.app import main
from mmsa_lightning.experiment.run import build_data, build_module, restore

SIMS = [-1.0, 1.0]


def make_store(path: Path, label_range: list[float]) -> Path:
    """Eight utterances a split with labels at both ends of the range, a true label of audio known for every other."""
    rng = np.random.default_rng(0)
    label = np.resize(np.float32([*label_range, np.mean(label_range)]), 8)
    sequences: dict[str, Any] = {
        "tokens": Loaded([rng.integers(1, 1000, 3).astype(np.int32) for _ in label]),
        "audio": Loaded([rng.normal(size=(3, 5)).astype(np.float32) for _ in label]),
    }
    audio = np.where(np.arange(8) % 2, label, np.float32(np.nan))
    splits = {
        name: Split([f"{name}$_${i}" for i in range(8)], label, sequences, unimodal={"audio": audio}) for name in SPLITS
    }
    write(path, splits, Meta("own", "made", "x", "0" * 64, None, True, "words", [], label_range=label_range))
    return path


def overrides(store: Path, text_encoder: str, model: str) -> list[str]:
    return ["data=own", f"data.path={store}", f"model={model}", "text=bert", f"text_encoder={text_encoder}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "label_range, override, limit",
    [(SIMS, [], 1.0), ([1.0, 5.0], [], 5.0), ([-3.0, 3.0], [], 3.0), (SIMS, ["{}.limit=2.5"], 2.5)],
)
@pytest.mark.parametrize(
    "model, part", [("self_mm", "objective"), ("interactive_attention", "objective"), ("tfn", "model")]
)
def test_limits_are_those_of_the_labels_or_as_said(
    tmp_path: Path, tiny_bert: str, label_range: list[float], override: list[str], limit: float, model: str, part: str
) -> None:
    store = make_store(tmp_path / "x.h5", label_range)
    config = composed(*overrides(store, tiny_bert, model), *(text.format(part) for text in override))
    module = build_module(config, build_data(config), None)
    assert getattr(getattr(module, part), "ulgm", getattr(module, part)).limit == limit


def test_a_run_on_another_scale(tmp_path: Path, tiny_bert: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "x.h5", SIMS)
    short = ["trainer=cpu", "trainer.max_epochs=3", "trainer.enable_progress_bar=false", f"runs={tmp_path / 'runs'}"]
    main([*overrides(store, tiny_bert, "self_mm"), *short])
    (run,) = (path.parent for path in (tmp_path / "runs").rglob("result.json"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[3::2][:2] for line in lines if line[1:2] in (["acc7"], ["acc5"])] == [["undefined", "undefined"]] * 2

    with (run / "generated_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["true_audio"] for row in rows] == ["", "1.0", "", "-1.0", "", "0.0", "", "1.0"]
    assert all(abs(float(row["generated_audio"])) <= 1 for row in rows)
    with (run / "label_histograms.csv").open() as file:
        counts = list(csv.DictReader(file))
    assert list(counts[0])[2] == "-1.0"
    assert all(sum(int(count) for name, count in row.items() if name not in ("epoch", "task")) == 8 for row in counts)
    module, _ = restore(run)
    assert module.objective.limit == 1


def test_a_run_from_when_the_limit_was_a_number_is_restored(tmp_path: Path, tiny_bert: str) -> None:
    store = make_store(tmp_path / "x.h5", [-3.0, 3.0])
    short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false", f"runs={tmp_path / 'runs'}"]
    main([*overrides(store, tiny_bert, "tfn"), "model.limit=3.0", *short])
    (run,) = (path.parent for path in (tmp_path / "runs").rglob("result.json"))
    assert "limit: 3.0" in (run / "config.yaml").read_text()
    assert restore(run)[0].model.limit == 3.0
