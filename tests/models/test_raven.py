from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from reference import lstm
from torch import nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.raven import RAVEN, word_frames
from mmsa_lightning.objectives.mse import MSE

DIMS = {"text": 7, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "hidden": {"text": 6, "audio": 3, "vision": 4},
    "shift_weight": 0.2,
    "dropout": 0.0,
}
# More frames than words, as many, fewer.
WORDS = [6, 3, 1, 5]
AUDIO = [15, 2, 4, 5]


def build(dims: dict[str, int | None] | None = None, **options: Any) -> RAVEN:
    torch.manual_seed(0)
    return RAVEN(dims or DIMS, text_encoder="unused", **SIZES | options)


@pytest.fixture
def words(batch_of: Any) -> Batch:
    """Utterances of 6, 3, 1 and 5 words (7) with 15, 2, 4 and 5 frames of audio (5) and vision (20) by word."""
    batch: Batch = batch_of(WORDS, audio_lengths=AUDIO)
    rng = torch.Generator().manual_seed(1)
    batch.text = Padded.from_arrays([torch.randn(n, 7, generator=rng).numpy() for n in WORDS])
    batch.tokens = None
    return batch


def _reference_frames(i: int, n: int, length: int) -> list[int]:
    frames = [f for f in range(length) if math.floor(i * length / n) <= f < math.floor((i + 1) * length / n)]
    return frames or [math.floor(i * length / n)]


def _reference_prediction(model: RAVEN, batch: Batch, k: int) -> torch.Tensor:
    """The paper for one utterance alone, word by word, with W_v and W_a apart."""
    n = int(batch.sequence("text").lengths[k])
    matrices = dict(
        zip(model.nonverbal, model.shift.weight.split([SIZES["hidden"][m] for m in model.nonverbal], 1), strict=True)
    )
    shifted = []
    for i in range(n):
        e = batch.sequence("text").values[k, i]
        h_m = model.shift.bias
        for m in model.nonverbal:
            sequence = batch.sequence(m)
            frames = [sequence.values[k, f] for f in _reference_frames(i, n, int(sequence.lengths[k]))]
            h = lstm(model.encoders[m].lstm, frames)[-1]
            gate = float(model.gate[m].weight[0] @ torch.cat([h, e]) + model.gate[m].bias[0])
            h_m = h_m + 1 / (1 + math.exp(-gate)) * (matrices[m] @ h)
        ratio = math.sqrt(float(e @ e)) / math.sqrt(float(h_m @ h_m))
        shifted.append(e + min(ratio * model.shift_weight, 1.0) * h_m)
    return model.head.weight[0] @ lstm(model.word_lstm.lstm, shifted)[-1] + model.head.bias[0]


@pytest.mark.parametrize(
    "modalities", [("text", "audio"), ("text", "vision"), ("vision", "audio", "text")], ids="-".join
)
@pytest.mark.parametrize("shift_weight", [0.02, 0.3, 5.0])
@torch.no_grad()
def test_prediction_and_loss_equal_the_paper_word_by_word(
    words: Batch, modalities: tuple[str, ...], shift_weight: float
) -> None:
    model = build({m: DIMS[m] for m in modalities}, shift_weight=shift_weight).eval()
    output = model(words)
    expected = torch.stack([_reference_prediction(model, words, k) for k in range(4)])
    torch.testing.assert_close(output.prediction, expected, rtol=1e-5, atol=1e-6)
    loss = sum((p - y) ** 2 for p, y in zip(expected.tolist(), words.label.tolist(), strict=True)) / 4
    assert float(MSE()(output, words, 1).total) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("words", "frames", "expected"),
    [
        (3, 3, [(0, 1), (1, 2), (2, 3)]),  # aligned: its own step
        (3, 6, [(0, 2), (2, 4), (4, 6)]),
        (3, 7, [(0, 2), (2, 4), (4, 7)]),
        (4, 2, [(0, 1), (0, 1), (1, 2), (1, 2)]),  # fewer frames than words: neighbours share one
        (3, 1, [(0, 1), (0, 1), (0, 1)]),
        (1, 5, [(0, 5)]),
    ],
)
def test_segments_by_hand(words: int, frames: int, expected: list[tuple[int, int]]) -> None:
    i = torch.arange(words)
    start, end = word_frames(i, torch.full_like(i, words), torch.full_like(i, frames))
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == expected


def test_segments_leave_no_word_and_no_frame_out() -> None:
    for n, length in itertools.product(range(1, 12), range(1, 30)):
        i = torch.arange(n)
        start, end = word_frames(i, torch.full_like(i, n), torch.full_like(i, length))
        found = [list(range(s, e)) for s, e in zip(start.tolist(), end.tolist(), strict=True)]
        assert found == [_reference_frames(k, n, length) for k in range(n)]
        if length >= n:
            assert list(itertools.chain(*found)) == list(range(length))


@torch.no_grad()
def test_a_word_is_shifted_by_its_own_frames_alone(words: Batch) -> None:
    """Audio frames 5 and 6 of 15 go with word 2 of 6."""
    model = build({"text": 7, "audio": 5}).eval()
    seen: list[torch.Tensor] = []
    model.word_lstm.lstm.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    model(words)
    words.sequence("audio").values[0, 5:7] += 1
    model(words)
    changed = (seen[0] != seen[1]).any(dim=-1)
    assert changed.nonzero().tolist() == [[0, 2]]
    assert _reference_frames(2, 6, 15) == [5, 6]


def test_words_of_zeros_train(words: Batch) -> None:
    """As [CLS], [SEP] and words without a vector are, where the data have word vectors."""
    words.sequence("text").values[0, 0] = 0
    words.sequence("text").values[2, 0] = 0  # all that utterance 2 says
    model = build().train()
    nn.init.zeros_(model.shift.bias)
    model(words).prediction.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("shift_weight", [0.02, 5.0], ids=["scaled", "clipped"])
def test_gradients_reach_the_non_verbal_networks(words: Batch, shift_weight: float) -> None:
    """The released code cuts them off. They are the true gradients of the loss: compare with finite differences."""
    model = build({"text": 7, "audio": 5, "vision": 5}, shift_weight=shift_weight).double().train()
    words.vision = words.audio  # several frames a word
    for p in map(words.sequence, DIMS):
        p.values = p.values.double()

    def loss() -> torch.Tensor:
        return (model(words).prediction - words.label).square().mean()

    loss().backward()
    for m in ("audio", "vision"):
        lstm = model.encoders[m].lstm
        for p in (lstm.weight_ih_l0, lstm.weight_hh_l0, model.gate[m].weight, model.shift.weight):
            assert p.grad is not None
            where = divmod(int(p.grad.abs().argmax()), p.shape[1])  # the largest
            assert abs(p.grad[where]) > 1e-7
            with torch.no_grad():
                step = 1e-5
                p[where] += step
                above = loss()
                p[where] -= 2 * step
                below = loss()
                p[where] += step
            torch.testing.assert_close(p.grad[where], (above - below) / (2 * step), rtol=1e-4, atol=1e-10)


@torch.no_grad()
def test_dropout_of_frames_and_shifted_words(words: Batch) -> None:
    model = build(dropout=0.5).train()
    inputs: dict[str, torch.Tensor] = {}
    for name, reader in {"audio": model.encoders["audio"].lstm, "words": model.word_lstm.lstm}.items():
        reader.register_forward_hook(lambda _, args, __, name=name: inputs.update({name: args[0].data}))
    model(words)
    for values in inputs.values():
        assert 0.2 < (values == 0).float().mean() < 0.8
    assert torch.equal(model.eval()(words).prediction, build().eval()(words).prediction)


@torch.no_grad()
def test_berts_hidden_states_stand_in_for_word_vectors(batch: Batch, tiny_bert: str) -> None:
    torch.manual_seed(0)
    model = RAVEN({"text": None, "audio": 5}, text_encoder=tiny_bert, **SIZES).eval()
    assert batch.tokens is not None
    states = model.encoders["text"](batch.tokens)
    as_words = Batch(
        batch.index, batch.label, text=Padded(states, batch.tokens.mask, batch.tokens.lengths), audio=batch.audio
    )
    expected = torch.stack([_reference_prediction(model, as_words, k) for k in range(4)])
    torch.testing.assert_close(model(batch).prediction, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dims", [{}, {"text": 7}, {"audio": 5}, {"audio": 5, "vision": 20}], ids="-".join)
def test_text_and_something_beside_it_are_needed(dims: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="it needs text, and audio or vision"):
        RAVEN(dims, text_encoder="unused", **SIZES)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hidden": {"text": 0, "audio": 3, "vision": 4}}, "at least 1"),
        ({"shift_weight": 0.0}, "shift_weight=0.0: give a number above 0"),
        ({"dropout": 1.5}, "dropout"),
    ],
)
def test_what_cannot_be_built_is_said(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build(**wrong)
