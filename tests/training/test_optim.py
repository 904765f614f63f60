from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from settings import composed
from torch import nn
from transformers import BertConfig, BertModel

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.interactive_attention import InteractiveAttention
from mmsa_lightning.models.layers.adaptation import adapt
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.training.optim import (
    GROUPS,
    build_optimizer,
    check,
    group_of,
    parameter_groups,
    rates_of_fine_tuning,
)

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


def test_learned_weights_have_a_group_of_their_own_without_decay() -> None:
    model, weights = nn.Linear(2, 2), nn.Parameter(torch.ones(3))
    groups = parameter_groups(model, LR, DECAY, weights=[weights])
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in groups] == [
        ("other", LR["other"], DECAY["other"]),
        ("weights", LR["other"], 0.0),
    ]
    assert groups[1]["params"] == [weights]
    optimizer = build_optimizer(model, algorithm="adam", lr=LR, weight_decay=DECAY, weights=[weights])
    (weights.sum() + model.weight.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(weights.detach(), torch.full((3,), 1 - LR["other"]))


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    (group,) = parameter_groups(model, LR, DECAY)
    assert [id(p) for p in group["params"]] == [id(p) for p in model[1].parameters()]


def test_what_is_frozen_takes_no_memory_of_the_optimiser(model: InteractiveAttention, batch: Batch) -> None:
    encoder = model.encoders["text"]
    assert isinstance(encoder, TextEncoder)
    adapt(encoder, freeze="embeddings", lora=None, gradient_checkpointing=False)
    optimizer = build_optimizer(model, algorithm="adam", lr=LR, weight_decay=DECAY)
    model(batch).prediction.sum().backward()
    optimizer.step()
    moments = {id(p) for p, state in optimizer.state.items() if state}
    for name, p in model.named_parameters():
        assert (id(p) in moments) == (p.grad is not None)
        assert not (id(p) in moments and "bert.embeddings" in name)


def test_lora_has_the_rate_of_bert(model: InteractiveAttention) -> None:
    encoder = model.encoders["text"]
    assert isinstance(encoder, TextEncoder)
    lora = {"rank": 2, "alpha": 4, "modules": ["query"]}
    adapt(encoder, freeze="none", lora=lora, gradient_checkpointing=False)
    groups = {g["name"]: g for g in parameter_groups(model, LR, DECAY)}
    assert sorted(groups) == ["audio", "bert", "other", "video"]
    assert [id(p) for p in groups["bert"]["params"]] == [id(p) for p in encoder.parameters() if p.requires_grad]
    assert (groups["bert"]["lr"], groups["bert"]["weight_decay"]) == (LR["bert"], DECAY["bert"])


def test_layer_norms_do_not_decay_whatever_their_names() -> None:
    """Those of other families than BERT, such as ModernBERT's, which have no bias, and DistilBERT's."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp_norm = nn.LayerNorm(3, bias=False)
            self.sa_layer_norm = nn.LayerNorm(3)
            self.normal = nn.Linear(3, 3)

    model = nn.ModuleDict({"bert": Layer(), "head": Layer()})
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {g["name"]: {names[id(p)] for p in g["params"]} for g in parameter_groups(model, LR, DECAY)}
    assert groups["bert"] == {"bert.normal.weight"}
    assert len(groups["bert_no_decay"]) == 4
    assert groups["other"] == {name for name in names.values() if name.startswith("head.")}


@pytest.fixture
def three_layers(tmp_path: Path) -> nn.ModuleDict:
    """A text encoder of three layers and a head."""
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4}
    BertModel(BertConfig(num_hidden_layers=3, **sizes), add_pooling_layer=False).save_pretrained(tmp_path)
    return nn.ModuleDict({"text": TextEncoder(str(tmp_path)), "head": nn.Linear(4, 1)})


def rates(model: nn.Module, layer_decay: float | None) -> dict[str, tuple[str, float]]:
    """Group and learning rate of each parameter, by its name."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, LR, DECAY, layer_decay)
    return {names[id(p)]: (group["name"], group["lr"]) for group in groups for p in group["params"]}


def test_the_rate_of_a_layer_falls_with_its_depth(three_layers: nn.ModuleDict) -> None:
    """lr · d^(n - j), counted by hand."""
    expected = {"embeddings": 0.125, "layer.0": 0.25, "layer.1": 0.5, "layer.2": 1.0}
    found, plain = rates(three_layers, 0.5), rates(three_layers, None)
    assert found.keys() == plain.keys()
    for name, (group, rate) in found.items():
        factor = next((f for part, f in expected.items() if f".{part}." in name), 1.0)
        assert (group, rate) == (plain[name][0], pytest.approx(plain[name][1] * factor, rel=1e-12)), name
    assert rates(three_layers, 1.0) == plain


def test_a_rate_that_is_logged_is_that_of_the_config(three_layers: nn.ModuleDict) -> None:
    """Groups of one name come in the order of their rates, and the last of them counts."""
    groups = parameter_groups(three_layers, LR, DECAY, 0.5)
    assert [g["name"] for g in groups] == [*["bert"] * 4, *["bert_no_decay"] * 4, "other"]
    assert {g["name"]: g["lr"] for g in groups} == {"bert": 5e-5, "bert_no_decay": 5e-5, "other": 1e-3}


def test_layers_that_cannot_have_their_own_rate_are_refused(three_layers: nn.ModuleDict) -> None:
    with pytest.raises(ValueError, match=r"optim.layer_decay=0.5: no layer of a text encoder trains here"):
        parameter_groups(nn.Linear(2, 2), LR, DECAY, 0.5)
    encoder = three_layers["text"]
    assert isinstance(encoder, TextEncoder)
    encoder.requires_grad_(False)
    with pytest.raises(ValueError, match=r"no layer of a text encoder trains here"):
        parameter_groups(three_layers, LR, DECAY, 0.5)
    encoder.requires_grad_(True)
    layers = encoder.bert.encoder.layer
    encoder.bert.encoder.layer = nn.ModuleList()  # as of an encoder that runs as a whole
    with pytest.raises(ValueError, match=r"optim.layer_decay: the layers of this text encoder cannot be told apart"):
        parameter_groups(three_layers, LR, DECAY, 0.5)
    encoder.bert.encoder.layer = layers
    encoder.bert.encoder.layer[1] = encoder.bert.encoder.layer[0]
    with pytest.raises(ValueError, match=r"optim.layer_decay: the layers of this text encoder share their weights"):
        parameter_groups(three_layers, LR, DECAY, 0.5)


def test_rates_of_fine_tuning_are_named_where_nothing_is_fine_tuned(model: InteractiveAttention) -> None:
    low = dict.fromkeys(GROUPS, 5e-5)
    scratch = nn.ModuleDict({"text": nn.Linear(2, 2)})
    assert "the highest rate is 5e-05" in str(rates_of_fine_tuning(scratch, low))
    assert rates_of_fine_tuning(scratch, low | {"other": 1e-3}) is None
    assert "5e-05" in str(rates_of_fine_tuning(scratch, low | {"audio": 1e-3}))  # of a group that it has not
    assert rates_of_fine_tuning(model, low) is None  # which trains its encoder
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(group_of(name) != "bert")
    assert rates_of_fine_tuning(model, low) is not None


def test_adam_steps_by_the_groups_learning_rate() -> None:
    """Adam's first step is the learning rate itself, whatever the gradient's size."""
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(model, algorithm="adam", lr=LR, weight_decay=dict.fromkeys(LR, 0.0))
    model(torch.tensor([[1.0, -2.0, 300.0]])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(before - model.weight, LR["other"] * torch.tensor([[1.0, -1.0, 1.0]]), rtol=1e-3, atol=0)


def test_decay_enters_the_gradient_before_adam_scales_it() -> None:
    """L2 decay, not AdamW's: g + decay · w is .006, -.014, .509, and Adam's first step is the learning rate times its
    sign. Decoupled decay would leave the first weight, whose gradient is 0, almost where it was."""
    model = nn.Linear(3, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, -5.0, 3.0]])
    optimizer = build_optimizer(model, algorithm="adam", lr=LR, weight_decay=DECAY)
    model(torch.tensor([[0.0, 0.001, 0.5]])).sum().backward()
    optimizer.step()
    expected = torch.tensor([[2.0 - 0.001, -5.0 + 0.001, 3.0 - 0.001]])
    torch.testing.assert_close(model.weight.detach(), expected, rtol=0, atol=1e-5)


def test_adamw_keeps_decay_out_of_the_gradient() -> None:
    """Weights shrink by lr · decay, and Adam's first step is the learning rate times the gradient's sign alone."""
    model = nn.Linear(3, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, -5.0, 3.0]])
    optimizer = build_optimizer(model, algorithm="adamw", lr=LR, weight_decay=DECAY | {"other": 0.5})
    model(torch.tensor([[-1.0, 0.001, 0.5]])).sum().backward()
    optimizer.step()
    shrunk = torch.tensor([[2.0, -5.0, 3.0]]) * (1 - LR["other"] * 0.5)
    expected = shrunk - LR["other"] * torch.tensor([[-1.0, 1.0, 1.0]])
    torch.testing.assert_close(model.weight.detach(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 0.9}, "give algorithm, lr, weight_decay, layer_decay and schedule"),
        ({"algorithm": "sgd"}, "choose one of adam, adamw"),
        ({"lr": {"bert": 1.0}}, "each of bert, audio, video, other"),
        ({"lr": 0.1}, "each of bert, audio, video, other"),
        ({"weight_decay": DECAY | {"bert": -1.0}}, "a number from 0"),
        ({"layer_decay": 0}, "optim.layer_decay=0: give null or a number above 0, up to 1"),
        ({"layer_decay": 1.1}, "optim.layer_decay=1.1"),
        ({"layer_decay": "fast"}, "optim.layer_decay=fast"),
        ({"schedule": {"name": "cosine"}}, "linear, plateau"),
    ],
)
def test_wrong_options_are_named(change: dict[str, Any], message: str) -> None:
    right = {"algorithm": "adam", "lr": LR, "weight_decay": DECAY, "layer_decay": None, "schedule": None}
    check(right)
    check(right | {"layer_decay": 1})
    with pytest.raises(ValueError, match=message):
        check(right | change)


def test_adam_is_fused_and_lets_the_gradient_scaler_unscale() -> None:
    optimizer = build_optimizer(nn.Linear(3, 1), algorithm="adam", lr=LR, weight_decay=DECAY)
    assert optimizer.defaults["fused"] is True
    assert all(group["fused"] is True for group in optimizer.param_groups)
    assert not getattr(optimizer, "_step_supports_amp_scaling", False)  # what Lightning asks before it clips


# thuiar/Self-MM config_regression.py, L2 decay beside the sum of four batches' gradients.
SELF_MM = {
    "mosi": {"bert": 0.001, "audio": 0.01, "video": 0.001, "other": 0.001},
    "mosei": {"bert": 0.001, "audio": 0.0, "video": 0.0, "other": 0.01},
}


@pytest.mark.parametrize("data", SELF_MM)
@pytest.mark.parametrize("name", ["interactive_attention", "tfn", "lmf", "mfn", "raven", "mult"])
def test_decay_taken_from_self_mm_stands_beside_a_mean(name: str, data: str) -> None:
    """All of Self-MM's for the paper's model; BERT's alone for those whose sources do not fine-tune one."""
    ours, tuned = (composed(f"model={name}", f"data={d}")["optim"] for d in ("demo", data))
    published = SELF_MM["mosi"], SELF_MM[data]
    for optim, numbers in zip((ours, tuned), published, strict=True):
        expected = {group: number / 4 for group, number in numbers.items()}
        if name == "interactive_attention":
            assert optim["weight_decay"] == pytest.approx(expected)
        elif name != "mult" or optim is ours:
            assert optim["weight_decay"]["bert"] == pytest.approx(expected["bert"])


def test_one_rate_above_those_of_fine_tuning_is_enough() -> None:
    model = nn.ModuleDict({"encoders": nn.ModuleDict({"audio": nn.Linear(2, 2)}), "head": nn.Linear(2, 1)})
    low = dict.fromkeys(GROUPS, 5e-5)
    assert rates_of_fine_tuning(model, low) is not None
    assert rates_of_fine_tuning(model, low | {"other": 1e-3}) is None
