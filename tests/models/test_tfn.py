from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from reference import linear, relu
from settings import composed

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.experiment.components import build as build_component
from mmsa_lightning.models.tfn import TFN, tensor_fusion
from mmsa_lightning.objectives.l1 import L1

DIMS = {"text": 20, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "hidden": {"text": 6, "audio": 3, "vision": 4},
    "text_out": 2,
    "dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0},
    "fusion_width": 8,
    "fusion_dropout": 0.0,
    "limit": 3.0,
}


def build(dims: dict[str, int] | None = None, **options: Any) -> TFN:
    torch.manual_seed(0)
    return TFN(dims or DIMS, text_encoder="", **SIZES | options)


def _reference_vector(model: TFN, m: str, steps: torch.Tensor) -> list[float]:
    """z of one modality of one utterance, from its real steps."""
    net: Any = model.encoders[m]
    if m == "text":
        _, (last, _) = net.lstm.lstm(steps)  # the LSTM's own equations: tests/models/layers/test_subnets.py
        return linear(net.linear, last[0].tolist())
    x = [sum(column) / len(steps) for column in zip(*steps.tolist(), strict=True)]
    for layer in (1, 3, 5):
        x = relu(linear(net.layers[layer], x))
    return x


def _reference_prediction(model: TFN, batch: Batch, i: int, limit: float) -> float:
    """The paper's three parts for one utterance alone, loops over elements."""
    z = {m: _reference_vector(model, m, _real(batch.sequence(m), i)) for m in model.encoders}
    fused = []
    for chosen in itertools.product(*([1.0, *vector] for vector in z.values())):
        fused.append(math.prod(chosen))
    net: Any = model.inference
    hidden = relu(linear(net[3], relu(linear(net[1], fused))))
    return 2 * limit / (1 + math.exp(-linear(net[5], hidden)[0])) - limit


def _real(sequence: Padded, i: int) -> torch.Tensor:
    return sequence.values[i, : int(sequence.lengths[i])]


@pytest.mark.parametrize("modalities", [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)], ids="-".join)
@torch.no_grad()
def test_prediction_and_loss_equal_the_paper_element_by_element(features: Batch, modalities: tuple[str, ...]) -> None:
    model = build({m: DIMS[m] for m in modalities}, limit=2.5).train()  # no dropout here: training mode is the same
    model.inference[5].weight.mul_(20)  # so that the sigmoid bends
    expected = [_reference_prediction(model, features, i, 2.5) for i in range(4)]
    output = model(features)
    torch.testing.assert_close(output.prediction, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    loss = sum(abs(p - y) for p, y in zip(expected, features.label.tolist(), strict=True)) / 4
    assert float(L1()(output, features, 1).total) == pytest.approx(loss, rel=1e-4)


def test_fusion_by_hand() -> None:
    fused = tensor_fusion([torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0]]), torch.tensor([[7.0]])])
    # (1, 2, 3) ⊗ (1, 5) ⊗ (1, 7): from 1, over every single feature and every pair, to every product of three.
    assert fused.tolist() == [[1, 7, 5, 35, 2, 14, 10, 70, 3, 21, 15, 105]]
    assert tensor_fusion([torch.tensor([[2.0, 3.0]])]).tolist() == [[1, 2, 3]]


@torch.no_grad()
def test_output_by_hand(features: Batch) -> None:
    model = build()
    for parameter in model.parameters():
        parameter.zero_()
    for score, expected in ((0.0, 0.0), (math.log(3), 1.5), (-math.log(3), -1.5), (100.0, 3.0), (-100.0, -3.0)):
        model.inference[5].bias.fill_(score)  # sigmoid(ln 3) = 3/4
        torch.testing.assert_close(model(features).prediction, torch.full((4,), expected))


@torch.no_grad()
def test_dropout_of_the_fused_tensor(features: Batch) -> None:
    seen: dict[float, torch.Tensor] = {}
    for p in (0.0, 0.4):
        model = build(fusion_dropout=p).train()
        model.inference[1].register_forward_hook(lambda _, args, __, p=p: seen.update({p: args[0]}))
        model(features)
    assert seen[0.0].shape == (4, (2 + 1) * (3 + 1) * (4 + 1))
    kept = seen[0.4] != 0
    assert kept.sum() < (seen[0.0] != 0).sum()
    torch.testing.assert_close(seen[0.4][kept], seen[0.0][kept] / 0.6, rtol=1e-4, atol=0)


# thuiar/MMSA config_regression.py. Its dropouts are ordered audio, video, text, post-fusion; its hidden_dims text,
# audio, video. Rates are equal for all modalities; widths tell whether the order was minded.
MMSA = {
    "mosi": ([128, 32, 128], 32, 64, [0.3, 0.3, 0.3, 0.5], 32, 0.001),
    "mosei": ([128, 16, 128], 128, 16, [0.4, 0.4, 0.4, 0.4], 128, 0.005),
    "sims": ([128, 32, 128], 256, 32, [0.4, 0.4, 0.4, 0.4], 32, 0.0005),
}


@pytest.mark.parametrize("data", MMSA)
def test_tuned_settings_are_mmsas_at_the_right_modality(data: str) -> None:
    hidden, text_out, fusion_width, dropouts, batch_size, lr = MMSA[data]
    config = composed("model=tfn", f"data={data}")
    dims = {"text": 768, "audio": 5, "vision": 20}
    model: Any = build_component("model", config["model"], where_null={"limit": 3.0}, dims=dims)
    text, audio, vision = (model.encoders[m] for m in ("text", "audio", "vision"))
    assert [text.lstm.width, audio.width, vision.width] == hidden
    assert [audio.layers[0].p, vision.layers[0].p, text.dropout.p, model.inference[0].p] == dropouts
    assert (text.width, model.inference[1].out_features) == (text_out, fusion_width)
    assert model.inference[1].in_features == (text_out + 1) * (hidden[1] + 1) * (hidden[2] + 1)
    assert (config["data"]["batch_size"], model.limit, config["text"]) == (batch_size, 3.0, "features")
    optim = config["optim"]
    for group in ("audio", "video", "other"):
        assert (optim["lr"][group], optim["weight_decay"][group]) == (lr, 0.0)
    assert optim["algorithm"] == "adam"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fusion_width": 0}, "at least 1"),
        ({"text_out": 0}, "at least 1"),
        ({"limit": 0.0}, "limit=0.0: give a number above 0"),
        ({"fusion_dropout": -0.1}, "dropout probability"),
    ],
)
def test_numbers_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**wrong)
    with pytest.raises(ValueError, match="at least one modality"):
        TFN({}, text_encoder="", **SIZES)
