from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from settings import composed

from mmsa_lightning.batch import Batch
from mmsa_lightning.experiment.components import build as build_component
from mmsa_lightning.models.lmf import LMF, LowRankFusion
from mmsa_lightning.objectives.l1 import L1
from mmsa_lightning.training.optim import build_optimizer

DIMS = {"text": 20, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "hidden": {"text": 6, "audio": 3, "vision": 4},
    "text_out": 2,
    "dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0},
    "rank": 4,
}


def build(dims: dict[str, int] | None = None, **options: Any) -> LMF:
    torch.manual_seed(0)
    return LMF(dims or DIMS, text_encoder="", **SIZES | options)


def _reference_fusion(fusion: LowRankFusion, vectors: dict[str, list[float]]) -> list[float]:
    """W built as a whole, the outer product of the inputs as a whole, and the one contracted with the other."""
    factors, weights = [fusion.factors[m].tolist() for m in vectors], fusion.weights.tolist()
    with_ones = [[1.0, *z] for z in vectors.values()]
    h = fusion.bias.tolist()
    for at in itertools.product(*(range(len(z)) for z in with_ones)):
        inputs = math.prod(z[i] for z, i in zip(with_ones, at, strict=True))
        for k in range(len(h)):
            # W at this place: over ranks, λ times one entry of each modality's factor.
            entry = sum(
                weight * math.prod(f[r][i][k] for f, i in zip(factors, at, strict=True))
                for r, weight in enumerate(weights)
            )
            h[k] += entry * inputs
    return h


@pytest.mark.parametrize("modalities", [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)], ids="-".join)
@torch.no_grad()
def test_prediction_and_loss_equal_the_full_tensors(features: Batch, modalities: tuple[str, ...]) -> None:
    model = build({m: DIMS[m] for m in modalities}).train()  # no dropout here: training mode is the same
    model.fusion.bias.fill_(0.3)
    z = {m: model.encoders[m](features.sequence(m)).tolist() for m in modalities}
    expected = [_reference_fusion(model.fusion, {m: z[m][i] for m in z})[0] for i in range(4)]
    output = model(features)
    torch.testing.assert_close(output.prediction, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    loss = sum(abs(p - y) for p, y in zip(expected, features.label.tolist(), strict=True)) / 4
    assert float(L1()(output, features, 1).total) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
@torch.no_grad()
def test_fusion_equals_the_full_tensors_with_several_outputs(rank: int) -> None:
    torch.manual_seed(0)
    fusion = LowRankFusion({"text": 2, "audio": 3, "vision": 1}, 5, rank=rank)
    fusion.bias.normal_()
    z = {m: torch.randn(4, width) for m, width in {"text": 2, "audio": 3, "vision": 1}.items()}
    expected = [_reference_fusion(fusion, {m: z[m][i].tolist() for m in z}) for i in range(4)]
    torch.testing.assert_close(fusion(z), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fusion_by_hand() -> None:
    fusion = LowRankFusion({"text": 1, "audio": 2}, 1, rank=2)
    fusion.factors["text"].copy_(torch.tensor([[[1.0], [2.0]], [[0.0], [-1.0]]]))
    fusion.factors["audio"].copy_(torch.tensor([[[1.0], [0.0], [3.0]], [[2.0], [1.0], [1.0]]]))
    fusion.weights.copy_(torch.tensor([2.0, 0.5]))
    fusion.bias.fill_(10.0)
    # Rank 1: (1 + 2·3) (1 + 0·4 + 3·5) = 7·16 = 112; rank 2: (-3) (2 + 4 + 5) = -33; 2·112 - 0.5·33 + 10.
    assert fusion({"text": torch.tensor([[3.0]]), "audio": torch.tensor([[4.0, 5.0]])}).tolist() == [[217.5]]


@torch.no_grad()
def test_each_rank_starts_from_xavier_of_its_own() -> None:
    """Of 99 + 1 inputs and 1 output, whatever the rank, and of rank inputs and 1 output for the weights over ranks."""
    torch.manual_seed(0)
    fusion = LowRankFusion({"text": 99}, 1, rank=1000)
    assert float(fusion.factors["text"].std()) == pytest.approx(math.sqrt(2 / 101), rel=0.01)
    assert float(fusion.weights.std()) == pytest.approx(math.sqrt(2 / 1001), rel=0.1)
    assert fusion.bias.tolist() == [0.0]


def test_one_step_changes_every_parameter(features: Batch) -> None:
    """MMSA gives its optimiser neither the weights over ranks nor the bias."""
    features.label.fill_(3)  # above every prediction: errors up and down would cancel in the bias
    model = build().train()
    numbers = {"bert": 0.001, "audio": 0.001, "video": 0.001, "other": 0.001}
    optimizer = build_optimizer(model, algorithm="adam", lr=numbers, weight_decay=dict.fromkeys(numbers, 0.0))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    L1()(model(features), features, 1).total.backward()
    optimizer.step()
    assert {"fusion.weights", "fusion.bias", "fusion.factors.text"} <= set(before)
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []


# thuiar/MMSA config_regression.py. Its dropouts are ordered audio, video, text, post-fusion, of which the last is never
# used; its hidden_dims text, audio, video. All modalities have the same rate; widths tell whether the order was minded.
MMSA = {
    "mosi": ([128, 16, 128], [0.3, 0.3, 0.3], 3, 64, 0.001, 0.005),
    "mosei": ([128, 16, 128], [0.2, 0.2, 0.2], 4, 32, 0.001, 0.001),
    "sims": ([64, 16, 64], [0.2, 0.2, 0.2], 4, 64, 0.002, 0.005),
}


@pytest.mark.parametrize("data", MMSA)
def test_tuned_settings_are_mmsas_at_the_right_modality(data: str) -> None:
    hidden, dropouts, rank, batch_size, lr, decay = MMSA[data]
    config = composed("model=lmf", f"data={data}")
    model: Any = build_component("model", config["model"], dims={"text": 768, "audio": 5, "vision": 20})
    text, audio, vision = (model.encoders[m] for m in ("text", "audio", "vision"))
    assert [text.lstm.width, audio.width, vision.width] == hidden
    assert [audio.layers[0].p, vision.layers[0].p, text.dropout.p] == dropouts
    assert text.width == hidden[0] // 2
    shapes = {m: tuple(factor.shape) for m, factor in model.fusion.factors.items()}
    assert shapes == {
        "text": (rank, hidden[0] // 2 + 1, 1),
        "audio": (rank, hidden[1] + 1, 1),
        "vision": (rank, hidden[2] + 1, 1),
    }
    assert (config["data"]["batch_size"], config["text"]) == (batch_size, "features")
    optim = config["optim"]
    for group in ("audio", "video", "other"):
        assert (optim["lr"][group], optim["weight_decay"][group]) == (lr, decay)
    assert optim["algorithm"] == "adam"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rank": 0}, "rank=0: give a whole number from 1"),
        ({"hidden": {"text": 6, "audio": 3, "vision": 0}}, "at least 1"),
        ({"dropout": {"text": 2.0, "audio": 0.0, "vision": 0.0}}, "dropout probability"),
    ],
)
def test_numbers_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**wrong)
    with pytest.raises(ValueError, match="at least one modality"):
        LMF({}, text_encoder="", **SIZES)
