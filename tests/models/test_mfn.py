from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.mfn import MFN
from mmsa_lightning.objectives.l1 import L1

DIMS = {"text": 7, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "hidden": {"text": 4, "audio": 2, "vision": 3},
    "memory": 5,
    "net_width": {"attention": 6, "proposal": 7, "retain": 8, "update": 9, "head": 10},
    "net_dropout": {"attention": 0.0, "proposal": 0.0, "retain": 0.0, "update": 0.0, "head": 0.0},
}


def build(dims: dict[str, int | None] | None = None, **options: Any) -> MFN:
    torch.manual_seed(0)
    return MFN(dims or DIMS, text_encoder="unused", **SIZES | options)


@pytest.fixture
def words(batch: Batch) -> Batch:
    """Aligned utterances of 6, 3, 1 and 5 steps with text features (7), audio (5) and vision (20)."""
    assert batch.tokens is not None
    rng = torch.Generator().manual_seed(1)
    arrays = [torch.randn(n, 7, generator=rng).numpy() for n in batch.tokens.lengths.tolist()]
    batch.text, batch.tokens = Padded.from_arrays(arrays), None
    return batch


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _linear(weight: torch.Tensor, bias: torch.Tensor, x: list[float]) -> list[float]:
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight.tolist(), bias, strict=True)]


def _net(net: nn.Sequential, x: list[float]) -> list[float]:
    """Two layers with a ReLU between them."""
    hidden = [max(v, 0.0) for v in _linear(net[0].weight, net[0].bias.tolist(), x)]
    return _linear(net[-1].weight, net[-1].bias.tolist(), hidden)


def _lstm_step(cell: nn.LSTMCell, x: list[float], h: list[float], c: list[float]) -> tuple[list[float], list[float]]:
    """An LSTM's step; torch keeps the gates in the order input, forget, new, output."""
    n = len(h)
    z = [
        a + b
        for a, b in zip(
            _linear(cell.weight_ih, cell.bias_ih.tolist(), x),
            _linear(cell.weight_hh, cell.bias_hh.tolist(), h),
            strict=True,
        )
    ]
    c = [_sigmoid(z[n + k]) * c[k] + _sigmoid(z[k]) * math.tanh(z[2 * n + k]) for k in range(n)]
    return [_sigmoid(z[3 * n + k]) * math.tanh(c[k]) for k in range(n)], c


def _reference_prediction(model: MFN, batch: Batch, i: int) -> float:
    """The paper for one utterance alone, its real steps alone, loops over single elements."""
    cells = {m: model.text_cell if m == "text" else model.encoders[m] for m in model.modalities}
    h = {m: [0.0] * cell.hidden_size for m, cell in cells.items()}
    c = {m: [0.0] * cell.hidden_size for m, cell in cells.items()}
    u = [0.0] * SIZES["memory"]
    for t in range(int(batch.sequence(model.modalities[0]).lengths[i])):
        before = list(itertools.chain(*c.values()))
        for m in model.modalities:
            h[m], c[m] = _lstm_step(cells[m], batch.sequence(m).values[i, t].tolist(), h[m], c[m])
        window = before + list(itertools.chain(*c.values()))
        exp = [math.exp(s) for s in _net(model.attention, window)]
        attended = [e / sum(exp) * v for e, v in zip(exp, window, strict=True)]
        proposed = [math.tanh(v) for v in _net(model.proposal, attended)]
        retain = [_sigmoid(v) for v in _net(model.retain, attended + u)]
        update = [_sigmoid(v) for v in _net(model.update, attended + u)]
        u = [r * old + w * new for r, old, w, new in zip(retain, u, update, proposed, strict=True)]
    return _net(model.head, list(itertools.chain(*h.values())) + u)[0]


SUBSETS = [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)]


@pytest.mark.parametrize("modalities", SUBSETS, ids="-".join)
@torch.no_grad()
def test_prediction_and_loss_equal_the_paper_element_by_element(words: Batch, modalities: tuple[str, ...]) -> None:
    """No state sees the zeros after an utterance's last step: the reference stops there."""
    model = build({m: DIMS[m] for m in modalities}).eval()
    for p in model.parameters():
        p.mul_(2)  # away from gates that are all one half
    output = model(words)
    expected = [_reference_prediction(model, words, i) for i in range(4)]
    torch.testing.assert_close(output.prediction, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    loss = sum(abs(p - y) for p, y in zip(expected, words.label.tolist(), strict=True)) / 4
    assert float(L1()(output, words, 1).total) == pytest.approx(loss, abs=1e-5)


@torch.no_grad()
def test_two_steps_by_hand() -> None:
    """One modality, widths of one, every weight zero but those named: all numbers can be worked out on paper."""
    ones = dict.fromkeys(SIZES["net_width"], 1)
    model = build({"audio": 1}, hidden={"audio": 1}, memory=1, net_width=ones).eval()
    for p in model.parameters():
        p.zero_()
    cell = model.encoders["audio"]
    cell.weight_ih[2] = 1.0  # only the new content sees the input: the LSTM's gates are all 1/2
    model.proposal[0].weight.copy_(torch.tensor([[2.0, 4.0]]))  # of [ĉ_{t-1}, ĉ_t]
    model.proposal[3].weight.fill_(1.0)
    model.retain[3].bias.fill_(math.log(3))  # γ1 = 3/4
    model.update[3].bias.fill_(-math.log(4))  # γ2 = 1/5
    model.head[0].weight.copy_(torch.tensor([[1.0, 10.0]]))  # of [h, u]
    model.head[3].weight.fill_(1.0)

    x = torch.tensor([[[0.5], [1.5]]])
    audio = Padded(x, torch.ones(1, 2, dtype=torch.bool), torch.tensor([2]))
    found = model(Batch(torch.arange(1), torch.zeros(1), audio=audio)).prediction

    c1 = math.tanh(0.5) / 2  # 0.2311
    c2 = c1 / 2 + math.tanh(1.5) / 2  # 0.5681
    h2 = math.tanh(c2) / 2  # 0.2570
    # Attention scores are 0: each of the two elements of the window gets one half.
    u1 = 0.2 * math.tanh(2 * 0 / 2 + 4 * c1 / 2)  # 0.0863
    u2 = 0.75 * u1 + 0.2 * math.tanh(2 * c1 / 2 + 4 * c2 / 2)  # 0.2404
    assert float(found) == pytest.approx(h2 + 10 * u2, abs=1e-6)
    assert float(found) == pytest.approx(2.6608, abs=1e-4)


@torch.no_grad()
def test_the_order_of_steps_matters(words: Batch) -> None:
    """Audio and vision are sequences, not a mean over time."""
    model = build().eval()
    prediction = model(words).prediction
    for m in ("audio", "vision"):
        sequence = words.sequence(m)
        kept = sequence.values.clone()
        sequence.values[0] = sequence.values[0].flip(0)  # utterance 0 has no padding
        changed = model(words).prediction
        assert abs(changed[0] - prediction[0]) > 1e-4
        torch.testing.assert_close(changed[1:], prediction[1:])
        sequence.values.copy_(kept)


@torch.no_grad()
def test_the_memory_sees_the_step_before(words: Batch) -> None:
    """The window is [c_{t-1}, c_t]: attention that lets only its first half through still tells the first step."""
    model = build({"audio": 5}).eval()
    states = SIZES["hidden"]["audio"]
    model.attention[3].bias[states:] = -1e4
    seen = {}
    model.proposal.register_forward_hook(lambda _, args, __: seen.update(attended=args[0]))
    model(words)
    assert seen["attended"].shape == (4, 6, 2 * states)
    assert (seen["attended"][..., states:] == 0).all()
    assert (seen["attended"][:, 0] == 0).all()  # c_0 = 0
    assert (seen["attended"][0, 1:, :states] != 0).all()


@torch.no_grad()
def test_each_network_has_its_own_dropout_and_width(words: Batch) -> None:
    p = {"attention": 0.1, "proposal": 0.2, "retain": 0.3, "update": 0.4, "head": 0.5}
    model = build(net_dropout=p)
    for name in p:
        net = getattr(model, name)
        assert net[2].p == p[name]
        assert net[0].out_features == SIZES["net_width"][name]
    assert not torch.equal(model.train()(words).prediction, model(words).prediction)
    assert torch.equal(model.eval()(words).prediction, model(words).prediction)


def test_unaligned_input_is_refused(batch_of: Any, tiny_bert: str) -> None:
    unaligned = batch_of([6, 3, 1, 5], audio_lengths=[9, 2, 4, 11])
    torch.manual_seed(0)
    model = MFN({"text": None, "audio": 5, "vision": 20}, text_encoder=tiny_bert, **SIZES)
    assert model.needs_alignment
    with pytest.raises(ValueError, match="text and audio differ in length: MFN needs aligned"):
        model(unaligned)


def test_berts_hidden_states_stand_in_for_word_vectors(batch: Batch, tiny_bert: str) -> None:
    torch.manual_seed(0)
    model = MFN({"text": None, "audio": 5, "vision": 20}, text_encoder=tiny_bert, **SIZES).eval()
    assert model.text_cell.input_size == 32
    assert batch.tokens is not None
    prediction = model(batch).prediction
    batch.text = Padded(model.encoders["text"](batch.tokens), batch.tokens.mask, batch.tokens.lengths)
    batch.tokens = None
    from_features = build({"text": 32, "audio": 5, "vision": 20}).eval()
    own = {k: v for k, v in model.state_dict().items() if ".bert." not in k}
    from_features.load_state_dict(own)
    torch.testing.assert_close(from_features(batch).prediction, prediction)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"memory": 0}, "at least 1"),
        ({"hidden": {"text": 4, "audio": 0, "vision": 3}}, "at least 1"),
        ({"net_width": SIZES["net_width"] | {"head": 0}}, "at least 1"),
        ({"net_width": {"attention": 3}}, "net_width has attention: give one for each of attention, proposal, retain"),
        ({"net_dropout": SIZES["net_dropout"] | {"gamma1": 0.5}}, "gamma1: give one for each of attention, proposal"),
    ],
)
def test_what_cannot_be_built_is_said(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build(**wrong)


def test_no_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one modality"):
        MFN({}, text_encoder="unused", **SIZES)
