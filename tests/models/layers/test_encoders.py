from __future__ import annotations

import pytest
import torch
from reference import lstm

from mmsa_lightning.batch import Batch
from mmsa_lightning.experiment.candidate import longer
from mmsa_lightning.models.layers import encoders
from mmsa_lightning.models.layers.encoders import LSTMEncoder, text_reader
from mmsa_lightning.models.layers.text_encoder import TextEncoder


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_lstm_equals_its_equations_in_both_directions_without_padding(batch: Batch, layers: int) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4, layers=layers)
    assert encoder.width == 8
    whole = encoder(longer(batch.audio, 3))
    for i, n in enumerate(batch.audio.lengths.tolist()):
        steps = list(batch.audio.values[i, :n])
        for layer in range(layers):
            forward = lstm(encoder.lstm, steps, f"_l{layer}")
            backward = lstm(encoder.lstm, steps[::-1], f"_l{layer}_reverse")[::-1]
            steps = [torch.cat(both) for both in zip(forward, backward, strict=True)]
        torch.testing.assert_close(whole[i, :n], torch.stack(steps), rtol=0, atol=1e-5)
        assert (whole[i, n:] == 0).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_each_way_by_itself_is_both_at_once(batch: Batch, layers: int) -> None:
    """A CPU's way against torch's own over packed sequences, which a GPU goes."""
    assert batch.audio is not None
    encoder, found = LSTMEncoder(5, 4, layers=layers), []
    sequence = longer(batch.audio, 3)
    for way in (encoder._each_way, encoder._both_ways):
        encoder.zero_grad()
        values = sequence.values.clone().requires_grad_()
        steps, last = way(values, sequence)
        (steps.sin().sum() + last.exp().sum()).backward()
        found.append([steps, last, values.grad, *(p.grad for p in encoder.parameters())])
    for each, both in zip(*found, strict=True):
        torch.testing.assert_close(each, both, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_last_is_the_state_after_an_utterances_own_last_step(batch: Batch, layers: int, bidirectional: bool) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4, layers=layers, bidirectional=bidirectional)
    assert encoder.width == (8 if bidirectional else 4)
    steps, last = encoder(batch.audio), encoder.last(longer(batch.audio, 3))
    for i, n in enumerate(batch.audio.lengths.tolist()):
        expected = torch.cat([steps[i, n - 1, :4], steps[i, 0, 4:]])  # backward ends at the first step
        torch.testing.assert_close(last[i], expected, rtol=0, atol=1e-5)


def test_text_is_read_by_bert_or_passed_on(batch: Batch, tiny_bert: str) -> None:
    bert = text_reader(None, tiny_bert, 0.2)
    assert isinstance(bert, TextEncoder) and bert.bert.config.hidden_dropout_prob == 0.2
    features = text_reader(20, tiny_bert, 0.2)
    assert batch.vision is not None and (features.width, list(features.parameters())) == (20, [])
    assert torch.equal(features(batch.vision), batch.vision.values)


@torch.no_grad()
def test_lstm_drops_out_between_its_layers_in_training(batch: Batch) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4, layers=2, dropout=0.5)
    assert not torch.equal(encoder(batch.audio), encoder(batch.audio))
    encoder.eval()
    assert torch.equal(encoder(batch.audio), encoder(batch.audio))


@pytest.mark.filterwarnings("ignore:dropout option adds dropout")
@pytest.mark.parametrize(("layers", "between"), [(1, 0), (2, 1), (3, 2)])
def test_dropout_is_between_layers(batch: Batch, monkeypatch: pytest.MonkeyPatch, layers: int, between: int) -> None:
    calls: list[tuple[float, bool]] = []

    def dropout(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
        calls.append((p, training))
        return x

    monkeypatch.setattr(encoders, "dropout", dropout)
    LSTMEncoder(5, 4, layers=layers, dropout=0.5)(batch.audio)
    assert calls == [(0.5, True)] * between
