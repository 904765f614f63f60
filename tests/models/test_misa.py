from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from settings import composed
from torch import nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.experiment.components import build as build_component
from mmsa_lightning.models.layers.encoders import LSTMEncoder
from mmsa_lightning.models.misa import MISA, StackedLSTM
from mmsa_lightning.objectives.multitask import MultiTask
from mmsa_lightning.training.optim import build_optimizer

DIMS = {"text": None, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "hidden": 8,
    "heads": 2,
    "feedforward": 11,
    "transformer_dropout": 0.0,
    "dropout": 0.0,
}


def build(tiny_bert: str, dims: dict[str, int | None] | None = None, **options: Any) -> MISA:
    torch.manual_seed(0)
    model = MISA(dims or DIMS, text_encoder=tiny_bert, **SIZES | options)
    with torch.no_grad():  # layer norms start as the identity, and the attention without bias
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) * weight + bias


class Reference:
    """The paper's formulas for one utterance alone, one vector at a time, in float64, on a model's weights."""

    def __init__(self, model: MISA) -> None:
        self.modalities = model.modalities
        self.heads = model.fusion.self_attn.num_heads
        self.w = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def affine(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.w[f"{name}.weight"] @ x + self.w[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return _layer_norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def lstm(self, name: str, steps: list[np.ndarray], suffix: str) -> list[np.ndarray]:
        w = {
            part: self.w[f"{name}.lstm.{part}_l0{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        h = c = np.zeros(w["weight_hh"].shape[1])
        states = []
        for x in steps:
            gates = w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
            i, f, g, o = np.split(gates, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
            states.append(h)
        return states

    def bilstm(self, name: str, steps: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        there, back = self.lstm(name, steps, ""), self.lstm(name, steps[::-1], "_reverse")
        joined = [np.concatenate(pair) for pair in zip(there, back[::-1], strict=True)]
        return joined, np.concatenate([there[-1], back[-1]])

    def utterance(self, m: str, steps: list[np.ndarray]) -> np.ndarray:
        """sLSTM for features; BERT's mean for its hidden states."""
        if f"encoders.{m}.norm.weight" not in self.w:
            return sum(steps) / len(steps)  # type: ignore[return-value]
        first, last_1 = self.bilstm(f"encoders.{m}.first", steps)
        normed = [self.norm(f"encoders.{m}.norm", h) for h in first]
        _, last_2 = self.bilstm(f"encoders.{m}.second", normed)
        return np.concatenate([last_1, last_2])

    def transformer(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        w, b = self.w["fusion.self_attn.in_proj_weight"], self.w["fusion.self_attn.in_proj_bias"]
        projected = [np.split(w @ x + b, 3) for x in rows]
        out = []
        for x, (q, _, _) in zip(rows, projected, strict=True):
            read = []
            for head in range(self.heads):
                d = len(q) // self.heads
                part = slice(head * d, (head + 1) * d)
                scores = np.array([q[part] @ k[part] / np.sqrt(d) for _, k, _ in projected])
                weights = np.exp(scores) / np.exp(scores).sum()
                read.append(sum(a * v[part] for a, (_, _, v) in zip(weights, projected, strict=True)))
            y = self.norm("fusion.norm1", x + self.affine("fusion.self_attn.out_proj", np.concatenate(read)))
            hidden = np.maximum(self.affine("fusion.linear1", y), 0)
            out.append(self.norm("fusion.norm2", y + self.affine("fusion.linear2", hidden)))
        return out

    def __call__(self, sequences: dict[str, list[np.ndarray]]) -> tuple[float, dict[str, np.ndarray]]:
        features = {}
        for m in self.modalities:
            u = np.maximum(self.affine(f"project.{m}.0", self.utterance(m, sequences[m])), 0)
            u = features[f"projected_{m}"] = self.norm(f"project.{m}.2", u)
            private = features[f"private_{m}"] = _sigmoid(self.affine(f"private.{m}.0", u))
            shared = features[f"shared_{m}"] = _sigmoid(self.affine("shared.0", u))
            features[f"reconstructed_{m}"] = self.affine(f"reconstruct.{m}", private + shared)
        rows = [features[f"{part}_{m}"] for part in ("private", "shared") for m in self.modalities]
        hidden = np.maximum(self.affine("head.0", np.concatenate(self.transformer(rows))), 0)
        return float(self.affine("head.3", hidden)[0]), features


def alone(batch: Batch, model: MISA, i: int) -> dict[str, list[np.ndarray]]:
    """The real steps of one utterance; of text, BERT's hidden states of it."""
    sequences = {}
    for m in model.modalities:
        sequence = batch.sequence(m)
        values = sequence.values[i, : int(sequence.lengths[i])]
        if not values.is_floating_point():
            values = model.encoders[m](Padded.from_arrays([values.numpy()]))[0]
        sequences[m] = list(values.double().numpy())
    return sequences


@pytest.mark.parametrize("text", ["bert", "features"])
@pytest.mark.parametrize("modalities", [("text", "audio", "vision"), ("audio", "vision"), ("text", "vision")])
@torch.no_grad()
def test_forward_equals_the_formulas(batch_of: Any, tiny_bert: str, text: str, modalities: tuple[str, ...]) -> None:
    batch = batch_of([6, 3, 1, 5], audio_lengths=[9, 2, 13, 4])
    if text == "features":
        rng = np.random.default_rng(7)
        batch.tokens, batch.text = None, Padded.from_arrays([rng.normal(size=(n, 7)) for n in (6, 3, 1, 5)])
        batch.text.values = batch.text.values.float()
    dims = {m: 7 if m == "text" and text == "features" else DIMS[m] for m in modalities}
    model = build(tiny_bert, dims).train()
    output = model(batch)
    reference = Reference(model)
    for i in range(4):
        prediction, features = reference(alone(batch, model, i))
        assert float(output.prediction[i]) == pytest.approx(prediction, abs=1e-5)
        assert set(features) == set(output.features) == set(model.feature_widths)
        for name, feature in features.items():
            torch.testing.assert_close(output.features[name][i].double(), torch.from_numpy(feature), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.eval()(batch).prediction, output.prediction)


@pytest.mark.parametrize("m", ["audio", "vision"])
@torch.no_grad()
def test_a_sequence_longer_than_the_text_is_read_to_its_end(batch_of: Any, tiny_bert: str, m: str) -> None:
    """thuiar/MMSA packs audio and vision with the lengths of the text."""
    model = build(tiny_bert).eval()
    batch = batch_of([3, 2], audio_lengths=[60, 50])
    if m == "vision":
        rng = np.random.default_rng(1)
        batch.vision = Padded.from_arrays([rng.normal(size=(n, 20)).astype(np.float32) for n in (60, 50)])
    before = model(batch).prediction
    sequence = batch.sequence(m)
    sequence.values[0, 59] += 1  # its last frame
    sequence.values[1, 55] += 1  # padding
    after = model(batch).prediction
    assert abs(float(after[0] - before[0])) > 1e-4
    assert float(after[1]) == pytest.approx(float(before[1]), abs=1e-6)


@torch.no_grad()
def test_one_encoder_is_shared_and_the_others_are_private(batch: Batch, tiny_bert: str) -> None:
    model = build(tiny_bert).train()
    before = model(batch).features
    model.shared[0].weight.add_(1)
    after = model(batch).features
    assert all(not torch.equal(after[f"shared_{m}"], before[f"shared_{m}"]) for m in DIMS)
    model.private["audio"][0].weight.add_(1)
    last = model(batch).features
    changed = {name for name in last if not torch.equal(last[name], after[name])}
    assert changed == {"private_audio", "reconstructed_audio"}


def test_lstms_are_as_wide_as_their_features_and_start_orthogonal(tiny_bert: str) -> None:
    model = MISA({"text": 7, "audio": 5}, text_encoder=tiny_bert, **SIZES)
    for m, dim in {"text": 7, "audio": 5}.items():
        encoder = model.encoders[m]
        assert isinstance(encoder, StackedLSTM) and encoder.width == 4 * dim
        for layer, inputs in ((encoder.first, dim), (encoder.second, 2 * dim)):
            assert isinstance(layer, LSTMEncoder) and layer.lstm.bidirectional
            assert (layer.lstm.input_size, layer.lstm.hidden_size, layer.lstm.num_layers) == (inputs, dim, 1)
            for name, weight in layer.lstm.named_parameters():
                if "weight_hh" in name:
                    torch.testing.assert_close(weight.T @ weight, torch.eye(dim), rtol=0, atol=1e-5)


def test_dropouts_are_where_they_are_named(tiny_bert: str) -> None:
    model = build(tiny_bert, bert_dropout=0.15, transformer_dropout=0.25, dropout=0.35)
    found = {
        part: {layer.p for layer in getattr(model, part).modules() if isinstance(layer, nn.Dropout)}
        for part in ("encoders", "project", "private", "shared", "reconstruct", "fusion", "head")
    }
    assert {part: p for part, p in found.items() if p} == {"encoders": {0.15}, "fusion": {0.25}, "head": {0.35}}
    assert model.fusion.self_attn.dropout == 0.25


@torch.no_grad()
def test_evaluation_reconstructs_nothing(batch: Batch, tiny_bert: str) -> None:
    model = build(tiny_bert).eval()
    calls: list[str] = []
    for m in DIMS:
        model.reconstruct[m].register_forward_hook(lambda *_: calls.append("ran"))
    assert (model(batch).features, calls) == ({}, [])


def test_an_objective_with_other_needs_is_refused(batch: Batch, tiny_bert: str) -> None:
    objective = MultiTask(tanh_weight=True, ratio_weight=True, detach_ratio=True, positive=">", limit=3.0)
    with pytest.raises(ValueError, match="fusion"):
        objective.setup(batch.label, build(tiny_bert).feature_widths)


@pytest.mark.parametrize("modalities", [("text",), ("audio",), ("vision",), ()], ids=str)
def test_fewer_than_two_modalities_are_refused(tiny_bert: str, modalities: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        MISA({m: DIMS[m] for m in modalities}, text_encoder=tiny_bert, **SIZES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": 0}, "at least 1"),
        ({"heads": 0}, "at least 1"),
        ({"feedforward": 0}, "at least 1"),
        ({"heads": 3}, "cannot be divided"),
        ({"dropout": 1.5}, "dropout"),
        ({"transformer_dropout": -0.5}, "dropout"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(tiny_bert: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(tiny_bert, **wrong)


@pytest.mark.parametrize("data", ["mosi", "mosei", "sims"])
@pytest.mark.parametrize("decay", [0.0, 2.5e-5])
def test_weight_decay_reaches_the_optimiser(tiny_bert: str, data: str, decay: float) -> None:
    """There is none, as in the original; what is given is applied. thuiar/MMSA states one and never passes it on."""
    given = [f"optim.weight_decay.{group}={decay}" for group in ("bert", "audio", "video", "other") if decay]
    config = composed("model=misa", f"data={data}", f"text_encoder={tiny_bert}", *given)
    model = build_component("model", config["model"], dims=DIMS)
    options = {name: value for name, value in config["optim"].items() if name != "schedule"}
    optimizer = build_optimizer(model, **options)
    assert {g["name"]: g["weight_decay"] for g in optimizer.param_groups} == {
        "bert": decay,
        "bert_no_decay": 0.0,
        "audio": decay,
        "video": decay,
        "other": decay,
    }
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    parts = {"encoders", "project", "private", "shared", "reconstruct", "fusion", "head"}
    assert moved == (parts if decay else set())


def test_accumulated_batches_are_clipped_by_value_at_half_of_what_is_published_for_their_sum(tiny_bert: str) -> None:
    for data, size, clip in (("mosi", 16, 0.4), ("mosei", 64, 0.4), ("sims", 64, 0.5)):
        config = composed("model=misa", f"data={data}", f"text_encoder={tiny_bert}")
        trainer = config["trainer"]
        assert config["data"]["batch_size"] == size
        assert (trainer["accumulate_grad_batches"], trainer["gradient_clip_val"]) == (2, clip)
        assert trainer["gradient_clip_algorithm"] == "value"
        assert config["optim"]["lr"] == dict.fromkeys(("bert", "audio", "video", "other"), 1e-4)
