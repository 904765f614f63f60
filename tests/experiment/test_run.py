"""How a run's parts follow its data."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from settings import composed

from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split, write
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.app import main
from mmsa_lightning.experiment.assembly import build_data, build_module
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.models.layers.text_encoder import TextEncoder

SIMS = [-1.0, 1.0]


def make_store(path: Path, label_range: list[float], dataset: str = "own") -> Path:
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
    write(path, splits, Meta(dataset, "made", "x", "0" * 64, None, True, "words", [], label_range=label_range))
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


LORA = "encoder.lora={rank: 2, alpha: 4, modules: [query]}"


@pytest.fixture
def trained(tmp_path: Path, tiny_bert: str) -> Callable[..., Path]:
    """A function that trains LMF for an epoch, on a copy of the tiny BERT, and tells the run's folder."""
    bert = shutil.copytree(tiny_bert, tmp_path / "bert")
    store = make_store(tmp_path / "x.h5", [-3.0, 3.0])

    def train(*more: str) -> Path:
        short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
        main([*overrides(store, str(bert), "lmf"), *short, f"runs={tmp_path / 'runs'}", *more])
        return max((tmp_path / "runs").rglob("result.json"), key=lambda path: path.stat().st_mtime_ns).parent

    return train


def saved(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("option", ["encoder.freeze=embeddings", "encoder.freeze=all", LORA])
def test_a_run_keeps_what_trains_and_is_restored(trained: Callable[..., Path], tiny_bert: str, option: str) -> None:
    run = trained(option)
    module, data = restore(run)
    outcome = json.loads((run / "result.json").read_text())
    own = {f"model.{name}": p for name, p in module.model.named_parameters()}
    assert outcome["parameters"] == sum(p.numel() for p in own.values())
    assert outcome["trainable_parameters"] == sum(p.numel() for p in own.values() if p.requires_grad)
    assert 0 < outcome["trainable_parameters"] < outcome["parameters"]
    assert {key for key in saved(run) if key in own} == {name for name, p in own.items() if p.requires_grad}
    pretrained = TextEncoder(tiny_bert).bert.embeddings.word_embeddings.weight
    (found,) = (p for name, p in own.items() if name.endswith("word_embeddings.weight"))
    assert torch.equal(found, pretrained)
    with (run / "predictions.csv").open() as file:
        left = [float(row["prediction"]) for row in csv.DictReader(file) if row["split"] == "test"]
    with torch.no_grad():
        assert module.eval().model(data.split("test")[list(range(8))]).prediction.tolist() == pytest.approx(left)


def test_a_run_is_not_restored_with_an_encoder_of_which_nothing_is_known(
    trained: Callable[..., Path], tmp_path: Path
) -> None:
    """As on the hub, where a name comes to stand for other weights, and the old ones are no longer here."""
    run = trained("encoder.freeze=embeddings")
    outcome = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(outcome | {"encoder_hash": None}))
    restore(run)
    weights = load_file(tmp_path / "bert" / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] += 1e-5
    save_file(weights, tmp_path / "bert" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"best.ckpt does not hold .* has other weights there: put back"):
        restore(run)


def test_a_run_from_before_the_encoder_had_settings_is_found_and_restored(
    trained: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained()
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["encoder"], config["optim"]["layer_decay"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert not [key for key in saved(run) if "frozen" in key]
    restore(run)
    assert trained() == run and "already finished" in capsys.readouterr().out
    longer = trained("trainer.max_epochs=2", "ckpt_path=last")
    assert longer != run and f"continues from {run}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["modalities=[audio]", "encoder.freeze=1"],
            "encoder.freeze=1: this model reads no tokens with a text encoder",
        ),
        (["modalities=[audio]", "encoder.gradient_checkpointing=true"], "encoder.gradient_checkpointing=True: this"),
        (["modalities=[audio]", "optim.layer_decay=0.5"], "optim.layer_decay=0.5: no layer of a text encoder"),
        (["encoder.freeze=all", "optim.layer_decay=0.5"], "optim.layer_decay=0.5: no layer of a text encoder"),
        (["encoder.freeze=2"], "encoder.freeze=2: this encoder has 1 layers"),
        (["modalities=[audio]", "encoder.freeze=some"], "encoder.freeze=some: give none"),
    ],
)
def test_settings_that_a_model_has_no_place_for_are_one_line(
    tmp_path: Path, tiny_bert: str, options: list[str], words: str
) -> None:
    store = make_store(tmp_path / "x.h5", [-3.0, 3.0])
    with pytest.raises(UserError, match=re.escape(words)):
        config = composed(*overrides(store, tiny_bert, "lmf"), *options)
        build_module(config, build_data(config), None)
