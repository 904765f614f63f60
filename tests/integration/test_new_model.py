"""A model of one's own is one file and one YAML in a folder of one's own; the package is not touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmsa_lightning.app import main

TOY = '''
"""Late fusion of mean features."""

import torch
from torch import nn

from mmsa_lightning.models.output import ModelOutput


class Toy(nn.Module):
    def __init__(self, dims, width):
        super().__init__()
        self.modalities = [m for m in dims if m != "text"]
        self.hidden = nn.Linear(sum(dims[m] for m in self.modalities), width)
        self.head = nn.Linear(width, 1)

    def forward(self, batch):
        means = []
        for m in self.modalities:
            sequence = batch.sequence(m)
            means.append(sequence.values.sum(dim=1) / sequence.mask.sum(dim=1, keepdim=True))
        return ModelOutput(self.head(torch.relu(self.hidden(torch.cat(means, dim=-1)))).squeeze(-1))
'''

YAML = """# @package _global_
# python train.py --config-dir . model=toy
model:
  _target_: toy.Toy
  width: 16
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "toy.py").write_text(TOY)
    (tmp_path / "mine" / "model" / "toy.yaml").write_text(YAML)
    return tmp_path / "mine"


def test_trains_from_a_folder_of_its_own(arguments: Callable[..., list[str]], folder: Path, tmp_path: Path) -> None:
    main(["--config-dir", str(folder), *arguments("model=toy", "model.width=12")])
    (path,) = (tmp_path / "runs").rglob("result.json")
    outcome = json.loads(path.read_text())
    assert (outcome["model"], outcome["ablation"]) == ("toy", "full")
    assert outcome["parameters"] == 25 * 12 + 12 + 12 + 1
    weights = torch.load(path.parent / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert weights["model.hidden.weight"].shape == (12, 25)
    assert not (path.parent / "generated_labels.csv").exists()


def test_the_folder_must_be_named(
    arguments: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments("model._target_=toy.Toy"))
    assert stop.value.code == 2
    assert "--config-dir" in capsys.readouterr().err
