from __future__ import annotations

from typing import Any

import pytest
import torch
from reference import lstm
from torch import Tensor, nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.subnets import MeanSubNet, TextSubNet, subnets, with_one
from mmsa_lightning.models.layers.text_encoder import TextEncoder

SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "hidden": {"text": 6, "audio": 3, "vision": 4},
    "text_out": 7,
    "dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0},
}


def _text(features: int, **options: Any) -> TextSubNet:
    given: dict[str, Any] = {"text_encoder": "", "bert_dropout": 0.0, "hidden": 4, "out": 2, "dropout": 0.0}
    return TextSubNet(features, **given | options)


@torch.no_grad()
def test_text_is_a_linear_map_of_the_state_at_the_last_real_step(batch: Batch) -> None:
    assert batch.audio is not None
    net = _text(5)
    assert (net.width, net.lstm.lstm.bidirectional) == (2, False)
    net.linear.bias.fill_(-3)  # more than four states below 1 by weights below 1/2 can make up for
    found = net(batch.audio)
    for i, n in enumerate(batch.audio.lengths.tolist()):
        state = lstm(net.lstm.lstm, batch.audio.values[i, :n])[-1]
        torch.testing.assert_close(found[i], net.linear.weight @ state + net.linear.bias)
    assert (found < 0).all(), "no ReLU at the end, as in the original"


@torch.no_grad()
def test_text_as_tokens_goes_through_bert_first(batch: Batch, tiny_bert: str) -> None:
    torch.manual_seed(0)
    net = TextSubNet(None, text_encoder=tiny_bert, bert_dropout=0.1, hidden=4, out=2, dropout=0.0).eval()
    assert isinstance(net.reader, TextEncoder) and batch.tokens is not None
    words = Padded(net.reader(batch.tokens), batch.tokens.mask, batch.tokens.lengths)
    torch.testing.assert_close(net(batch.tokens), net.linear(net.lstm.last(words)))
    assert {part.p for part in net.reader.modules() if isinstance(part, nn.Dropout)} == {0.1}


@torch.no_grad()
def test_three_dense_layers_over_the_mean_by_hand() -> None:
    net = MeanSubNet(2, hidden=2, dropout=0.0)
    first, second, third = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    for layer, weight, bias in (
        (first, [[1.0, 0.0], [0.0, -1.0]], [0.0, 1.0]),
        (second, [[2.0, 1.0], [1.0, -1.0]], [0.0, 0.0]),
        (third, [[1.0, 1.0], [-1.0, 0.0]], [0.5, 0.0]),
    ):
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    steps = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [100.0, 100.0]]])
    sequence = Padded(steps, torch.tensor([[True, True, False]]), torch.tensor([2]))
    # The mean of the two real steps is (2, 2). Layers: (2, -1) -> (2, 0); (4, 2); (6.5, -4) -> (6.5, 0).
    assert net(sequence).tolist() == [[6.5, 0.0]]


@torch.no_grad()
def test_means_and_last_states_are_of_the_real_steps_alone(batch: Batch) -> None:
    """MMSA divides by the padded length: the same utterance would differ with its batch."""
    assert batch.vision is not None
    for net in (MeanSubNet(20, hidden=4, dropout=0.0), _text(20)):
        together = net(batch.vision)
        for i, n in enumerate(batch.vision.lengths.tolist()):
            alone = net(Padded.from_arrays([batch.vision.values[i, :n].numpy()]))
            torch.testing.assert_close(together[i : i + 1], alone)


@torch.no_grad()
def test_dropout_is_on_the_last_state_and_on_the_mean(batch: Batch) -> None:
    """What goes into the first layer is 0 or, scaled by 1 / (1 - p), what goes in without dropout."""
    assert batch.vision is not None

    def first_input(kind: str, p: float) -> Tensor:
        torch.manual_seed(0)
        net = MeanSubNet(20, hidden=4, dropout=p) if kind == "mean" else _text(20, hidden=40, dropout=p)
        first = net.layers[1] if isinstance(net, MeanSubNet) else net.linear
        seen: list[Tensor] = []
        first.register_forward_hook(lambda _, args, __: seen.append(args[0]))
        net(batch.vision)
        return seen[0]

    for kind in ("mean", "text"):
        dropped = first_input(kind, 0.4)
        kept = dropped != 0
        assert 0 < kept.float().mean() < 1
        torch.testing.assert_close(dropped[kept], first_input(kind, 0.0)[kept] / 0.6, rtol=1e-4, atol=0)


def test_numbers_go_to_the_modality_that_they_are_named_for(tiny_bert: str) -> None:
    options = SIZES | {"dropout": {"text": 0.1, "audio": 0.2, "vision": 0.3}}
    nets = subnets({"vision": 20, "text": None, "audio": 5}, text_encoder=tiny_bert, **options)
    text, audio, vision = nets["text"], nets["audio"], nets["vision"]
    assert isinstance(text, TextSubNet) and isinstance(audio, MeanSubNet) and isinstance(vision, MeanSubNet)
    assert (text.dropout.p, audio.layers[0].p, vision.layers[0].p) == (0.1, 0.2, 0.3)
    assert (text.lstm.width, text.width, audio.width, vision.width) == (6, 7, 3, 4)
    assert (audio.layers[1].in_features, vision.layers[1].in_features) == (5, 20)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in nets.modules())


def test_with_one_puts_a_one_in_front() -> None:
    assert with_one(torch.tensor([[2.0, 3.0], [4.0, 5.0]])).tolist() == [[1.0, 2.0, 3.0], [1.0, 4.0, 5.0]]


@pytest.mark.parametrize(
    ("dims", "wrong", "message"),
    [
        ({}, {}, "at least one modality"),
        ({"audio": 5}, {"hidden": {"audio": 0}}, "at least 1"),
        ({"text": 5}, {"text_out": 0}, "at least 1"),
        ({"audio": 5}, {"dropout": {"audio": 1.5}}, "dropout probability"),
    ],
)
def test_numbers_that_cannot_be(dims: dict[str, int | None], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subnets(dims, text_encoder="", **SIZES | wrong)
