from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmsa_lightning.models.interactive_attention import InteractiveAttention
from mmsa_lightning.optim import build_optimizer, group_of, parameter_groups

LR = {"bert": 5e-5, "audio": 6e-4, "video": 6e-5, "other": 1e-3}
DECAY = {"bert": 0.001, "audio": 0.01, "video": 0.002, "other": 0.003}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("encoders.text.bert.encoder.layer.0.output.dense.weight", "bert"),
        ("encoders.text.lstm.weight_ih_l0", "other"),
        ("encoders.audio.lstm.bias_ih_l0", "audio"),
        ("encoders.vision.lstm.bias_ih_l0", "video"),
        ("auxiliary.audio.1.weight", "other"),
        ("head.weight", "other"),
    ],
)
def test_group_of(name: str, group: str) -> None:
    assert group_of(name) == group


@pytest.fixture
def model(tiny_bert: str) -> InteractiveAttention:
    sizes: dict[str, Any] = {
        "lstm_hidden": {"audio": 3, "vision": 4},
        "auxiliary_width": dict.fromkeys(LR | {"text": 0, "vision": 0}, 4),
    }
    return InteractiveAttention(
        {"text": None, "audio": 5, "vision": 20},
        text_encoder=tiny_bert,
        bert_dropout=0.1,
        lstm_layers=1,
        lstm_dropout=0.0,
        width=8,
        fusion_width=8,
        fusion_dropout=0.0,
        auxiliary_dropout={"text": 0.0, "audio": 0.0, "vision": 0.0},
        bi=True,
        uni=True,
        values="target",
        pair_fusion="sum",
        pooling="attention",
        level="token",
        **sizes,
    )


def test_every_parameter_is_in_exactly_one_group(model: InteractiveAttention) -> None:
    groups = parameter_groups(model, LR, DECAY)
    assert [g["name"] for g in groups] == ["audio", "bert", "bert_no_decay", "other", "video"]
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    for g in groups:
        table2 = g["name"].removesuffix("_no_decay")
        assert g["lr"] == LR[table2]
        assert g["weight_decay"] == (0 if g["name"] == "bert_no_decay" else DECAY[table2])


def test_bert_biases_and_layer_norms_do_not_decay(model: InteractiveAttention) -> None:
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {g["name"]: [names[id(p)] for p in g["params"]] for g in parameter_groups(model, LR, DECAY)}
    assert all("bias" in name or "LayerNorm" in name for name in groups["bert_no_decay"])
    assert not any("bias" in name or "LayerNorm" in name for name in groups["bert"])


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    (group,) = parameter_groups(model, LR, DECAY)
    assert [id(p) for p in group["params"]] == [id(p) for p in model[1].parameters()]


def test_adam_steps_by_the_groups_learning_rate() -> None:
    """Adam's first step is the learning rate itself, whatever the gradient's size."""
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(model, lr=LR, weight_decay=dict.fromkeys(LR, 0.0))
    model(torch.tensor([[1.0, -2.0, 300.0]])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(before - model.weight, LR["other"] * torch.tensor([[1.0, -1.0, 1.0]]), rtol=1e-4, atol=0)
