"""What a finished run left, read again."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from labelled import make_store, overrides
from safetensors.torch import load_file, save_file

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.app import main
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.models.layers.text_encoder import TextEncoder

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


def test_a_run_from_when_the_limit_was_a_number_is_restored(tmp_path: Path, tiny_bert: str) -> None:
    store = make_store(tmp_path / "x.h5", [-3.0, 3.0])
    short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false", f"runs={tmp_path / 'runs'}"]
    main([*overrides(store, tiny_bert, "tfn"), "model.limit=3.0", *short])
    (run,) = (path.parent for path in (tmp_path / "runs").rglob("result.json"))
    assert "limit: 3.0" in (run / "config.yaml").read_text()
    assert restore(run)[0].model.limit == 3.0


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
