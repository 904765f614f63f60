from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from reference import linear, relu
from settings import composed
from torch import nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.experiment.components import build as build_component
from mmsa_lightning.models import mult
from mmsa_lightning.models.mult import (
    CrossmodalAttention,
    Layer,
    MulT,
    TemporalConvolution,
    Transformer,
    attention_mask,
    last_step,
    positions,
)
from mmsa_lightning.objectives.l1 import L1
from mmsa_lightning.training.optim import build_optimizer

DIMS: dict[str, int | None] = {"text": 7, "audio": 5, "vision": 3}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "width": 4,
    "kernel": {"text": 1, "audio": 3, "vision": 5},
    "heads": 1,
    "layers": 2,
    "memory_layers": 3,
    "attn_mask": True,
    "text_dropout": 0.0,
    "attention_dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0, "memory": 0.0},
    "embedding_dropout": 0.0,
    "residual_dropout": 0.0,
    "relu_dropout": 0.0,
    "output_dropout": 0.0,
}
LENGTHS = {"text": [6, 3, 1, 5], "audio": [4, 8, 2, 5], "vision": [2, 3, 9, 1]}

Vector = list[float]


def build(dims: dict[str, int | None] | None = None, **options: Any) -> MulT:
    """A small model with no parameter at a value, such as 0 or 1, that would hide what it does."""
    torch.manual_seed(0)
    model = MulT(dims or DIMS, text_encoder="unused", **SIZES | options)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return model


def make_unaligned(lengths: dict[str, list[int]]) -> Batch:
    rng = torch.Generator().manual_seed(1)
    sequences = {
        m: Padded.from_arrays([torch.randn(n, DIMS[m] or 0, generator=rng).numpy() for n in lengths[m]]) for m in DIMS
    }
    return Batch(torch.arange(4), torch.tensor([1.0, -2.0, 0.5, 3.0]), **sequences)


@pytest.fixture
def unaligned() -> Batch:
    """Four utterances whose text, audio and vision differ in length; now one is longer, now the other."""
    return make_unaligned(LENGTHS)


# The paper's formulas, for one utterance, with loops over steps, heads and channels.


def _layer_norm(norm: nn.LayerNorm, x: Vector) -> Vector:
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    weight, bias = norm.weight.tolist(), norm.bias.tolist()
    return [(v - mean) / deviation * w + b for v, w, b in zip(x, weight, bias, strict=True)]


def _add(*vectors: Vector) -> Vector:
    return [sum(column) for column in zip(*vectors, strict=True)]


def _attend(
    attention: CrossmodalAttention, target: list[Vector], source: list[Vector], masked: bool, heads: int
) -> list[Vector]:
    """softmax(Q Kᵀ / √d_k) V, one query at a time."""
    queries, keys = [linear(attention.query, x) for x in target], [linear(attention.key, x) for x in source]
    values = [linear(attention.value, x) for x in source]
    size = len(queries[0]) // heads
    out = []
    for i, query in enumerate(queries):
        visible = [j for j in range(len(keys)) if not masked or j <= i + abs(len(source) - len(target))]
        read: Vector = []
        for head in range(heads):
            channels = range(head * size, (head + 1) * size)
            exp = [math.exp(sum(query[c] * keys[j][c] for c in channels) / math.sqrt(size)) for j in visible]
            read += [sum(e / sum(exp) * values[j][c] for e, j in zip(exp, visible, strict=True)) for c in channels]
        out.append(linear(attention.out, read))
    return out


def _layer(layer: Layer, target: list[Vector], source: list[Vector] | None, masked: bool, heads: int) -> list[Vector]:
    queries = [_layer_norm(layer.norm_attention, x) for x in target]
    keys = queries if source is None else [_layer_norm(layer.norm_attention, x) for x in source]
    read = _attend(layer.attention, queries, keys, masked, heads)
    middle = [_add(x, y) for x, y in zip(target, read, strict=True)]
    out = []
    for x in middle:
        hidden = relu(linear(layer.feed_forward[0], _layer_norm(layer.norm_feed_forward, x)))
        out.append(_add(x, linear(layer.feed_forward[3], hidden)))
    return out


def _position(i: int, width: int) -> Vector:
    half = width // 2
    angles = [i * 10000 ** (-channel / (half - 1)) for channel in range(half)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles] + [0.0] * (width % 2)


def _embed(steps: list[Vector]) -> list[Vector]:
    width = len(steps[0])
    return [_add([math.sqrt(width) * v for v in x], _position(i, width)) for i, x in enumerate(steps, start=1)]


def _transformer(
    transformer: Transformer, target: list[Vector], source: list[Vector] | None, masked: bool, heads: int
) -> list[Vector]:
    target, source = _embed(target), None if source is None else _embed(source)
    for layer in transformer.layers:
        target = _layer(layer, target, source, masked, heads)
    return [_layer_norm(transformer.norm, x) for x in target]


def _convolve(convolution: TemporalConvolution, steps: list[Vector]) -> list[Vector]:
    weight = convolution.conv.weight.tolist()  # width x dim x kernel
    kernel = len(weight[0][0])
    out = []
    for t in range(len(steps)):
        seen = [(k, t + k - (kernel - 1) // 2) for k in range(kernel)]
        seen = [(k, s) for k, s in seen if 0 <= s < len(steps)]
        out.append([sum(row[c][k] * steps[s][c] for k, s in seen for c in range(len(row))) for row in weight])
    return out


def _reference_prediction(model: MulT, batch: Batch, utterance: int, masked: bool, heads: int) -> float:
    steps = {}
    for m in model.modalities:
        sequence = batch.sequence(m)
        convolution = model.text_convolution if m == "text" else model.encoders[m]
        assert isinstance(convolution, TemporalConvolution)
        steps[m] = _convolve(convolution, sequence.values[utterance, : int(sequence.lengths[utterance])].tolist())
    last: Vector = []
    for target in model.modalities:
        streams = [
            _transformer(model.crossmodal[f"{target}<-{source}"], steps[target], steps[source], masked, heads)  # type: ignore[arg-type]
            for source in model.modalities
            if source != target
        ]
        joined = [list(itertools.chain(*parts)) for parts in zip(*streams, strict=True)]
        last += _transformer(model.memory[target], joined, None, masked, heads)[-1]  # type: ignore[arg-type]
    hidden = relu(linear(model.residual[0], last))
    return linear(model.head, _add(last, linear(model.residual[3], hidden)))[0]


@pytest.mark.parametrize("modalities", [c for n in (2, 3) for c in itertools.combinations(DIMS, n)], ids="-".join)
@pytest.mark.parametrize(("heads", "masked"), [(1, True), (1, False), (2, True)])
@torch.no_grad()
def test_prediction_and_loss_equal_the_formulas_element_by_element(
    unaligned: Batch, modalities: tuple[str, ...], heads: int, masked: bool
) -> None:
    model = build({m: DIMS[m] for m in modalities}, heads=heads, attn_mask=masked).eval()
    expected = [_reference_prediction(model, unaligned, i, masked, heads) for i in range(4)]
    output = model(unaligned)
    torch.testing.assert_close(output.prediction, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    loss = sum(abs(p - y) for p, y in zip(expected, unaligned.label.tolist(), strict=True)) / 4
    assert L1()(output, unaligned, epoch=1).total.item() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("source_steps", [2, 5, 9])
@torch.no_grad()
def test_a_layer_of_one_head_equals_loops_over_queries_and_keys(source_steps: int) -> None:
    torch.manual_seed(0)
    layer = Layer(6, 1, 0.0, 0.0, 0.0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    target, source = torch.randn(5, 6), torch.randn(source_steps, 6)
    real = [torch.ones(1, n, dtype=torch.bool) for n in (5, source_steps)]
    for future in (True, False):
        expected = _layer(layer, target.tolist(), source.tolist(), not future, heads=1)
        found = layer(target[None], source[None], attention_mask(*real, future=future))[0]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def _rows(*rows: str) -> list[list[bool]]:
    return [[c == "x" for c in row] for row in rows]


def test_future_mask_worked_by_hand() -> None:
    """Offsets |3 - 2|, |1 - 4| and |2 - 2|; padded keys are read by nobody, the first key by padded queries as well."""
    target = torch.arange(4) < torch.tensor([2, 4, 2])[:, None]
    source = torch.arange(3) < torch.tensor([3, 1, 2])[:, None]
    mask = attention_mask(target, source, future=False)
    assert mask[0, :2].tolist() == _rows("xx.", "xxx")
    assert mask[1].tolist() == _rows("x..", "x..", "x..", "x..")
    assert mask[2, :2].tolist() == _rows("x..", "xx.")
    assert bool(mask.any(dim=-1).all())
    assert bool(attention_mask(target, source, future=True).eq(source[:, None]).all())


def test_future_mask_of_longer_targets_and_longer_sources() -> None:
    def alone(m: int, n: int) -> list[list[bool]]:
        return attention_mask(*(torch.ones(1, k, dtype=torch.bool) for k in (m, n)), future=False)[0].tolist()

    assert alone(3, 3) == _rows("x..", "xx.", "xxx")
    assert alone(2, 5) == _rows("xxxx.", "xxxxx")
    assert alone(4, 2) == _rows("xx", "xx", "xx", "xx")
    assert alone(3, 2) == _rows("xx", "xx", "xx")
    assert alone(1, 1) == _rows("x")


@torch.no_grad()
def test_the_future_is_not_read() -> None:
    """A change to the last source step reaches only the last target step, where both have the same steps."""
    transformer = build().crossmodal["text<-audio"].eval()
    real = torch.ones(1, 5, dtype=torch.bool)
    target, source = torch.randn(1, 5, 4), torch.randn(1, 5, 4)
    changed = source.clone()
    changed[:, -1] = torch.randn(4)
    for future in (False, True):
        mask = attention_mask(real, real, future=future)
        same = torch.isclose(transformer(target, source, mask), transformer(target, changed, mask)).all(dim=-1)[0]
        assert same.tolist() == [not future] * 4 + [False]


@torch.no_grad()
def test_an_utterance_is_judged_as_if_it_were_alone(unaligned: Batch) -> None:
    """Neither padding nor the lengths of the others in the batch matter, whatever the padding holds."""
    model = build().eval()
    expected = model(unaligned).prediction
    for m in DIMS:
        sequence = unaligned.sequence(m)
        sequence.values[~sequence.mask] = math.nan
    torch.testing.assert_close(model(unaligned).prediction, expected)
    for i in range(4):
        alone = {m: Padded.from_arrays([unaligned.sequence(m).values[i, : LENGTHS[m][i]].numpy()]) for m in DIMS}
        prediction = model(Batch(torch.zeros(1), torch.zeros(1), **alone)).prediction
        torch.testing.assert_close(prediction, expected[i : i + 1])


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("width", [4, 7, 10])
def test_positions_equal_the_formula(width: int, dtype: torch.dtype, within: float) -> None:
    expected = torch.tensor([_position(i, width) for i in range(1, 13)], dtype=dtype)
    found = positions(12, width, torch.device("cpu"), dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=within)


def test_positions_worked_by_hand() -> None:
    two = positions(2, 5, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(two[0], torch.tensor([0.841471, 0.0001, 0.540302, 1.0, 0.0]))
    torch.testing.assert_close(two[1], torch.tensor([0.909297, 0.0002, -0.416147, 1.0, 0.0]))
    for narrow in (1, 2, 3):
        assert positions(2, narrow, torch.device("cpu"), torch.float32).isfinite().all()


@torch.no_grad()
def test_the_order_of_steps_matters_through_positions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no mask and a kernel of 1, attention itself takes its keys for a set."""
    aligned = make_unaligned({m: [4, 4, 4, 4] for m in DIMS})
    model = build(attn_mask=False, kernel=dict.fromkeys(DIMS, 1)).eval()
    shuffled = make_unaligned({m: [4, 4, 4, 4] for m in DIMS})
    for m in DIMS:
        shuffled.sequence(m).values[:, :3] = aligned.sequence(m).values[:, [2, 0, 1]]  # the last step stays
    difference = (model(aligned).prediction - model(shuffled).prediction).abs()
    assert (difference > 1e-3).all()
    monkeypatch.setattr(mult, "positions", lambda time, width, *_: torch.zeros(time, width))
    torch.testing.assert_close(model(aligned).prediction, model(shuffled).prediction)


@torch.no_grad()
def test_the_last_real_step_is_taken() -> None:
    steps = torch.arange(24.0).reshape(2, 4, 3)
    mask = torch.arange(4) < torch.tensor([4, 2])[:, None]
    assert last_step(steps, mask).tolist() == [[9.0, 10.0, 11.0], [15.0, 16.0, 17.0]]


@torch.no_grad()
def test_convolution_worked_by_hand() -> None:
    """Three steps summed; nothing lies beyond the real ones, and one step is enough for a kernel of 5."""
    convolution = TemporalConvolution(1, 1, 3)
    convolution.conv.weight.fill_(1.0)
    values = torch.tensor([[1.0, 10.0, 100.0, 1000.0], [1.0, 10.0, math.nan, math.inf]])[..., None]
    mask = torch.arange(4) < torch.tensor([4, 2])[:, None]
    found = convolution(values, mask)[..., 0]
    assert found[0].tolist() == [11.0, 111.0, 1110.0, 1100.0]
    assert found[1, :2].tolist() == [11.0, 11.0]
    wide = TemporalConvolution(1, 2, 5)
    middle = wide.conv.weight[:, 0, 2]
    torch.testing.assert_close(wide(torch.full((1, 1, 1), 3.0), torch.ones(1, 1, dtype=torch.bool))[0, 0], 3 * middle)


def test_features_of_the_common_width_are_convolved_too() -> None:
    model = build({"text": 4, "audio": 4})
    assert model.text_convolution.conv.weight.shape == (4, 4, 1)
    assert model.encoders["audio"].conv.weight.shape == (4, 4, 3)


def test_every_dropout_is_where_the_original_has_it() -> None:
    model = build(
        text_dropout=0.11,
        attention_dropout={"text": 0.21, "audio": 0.22, "vision": 0.23, "memory": 0.24},
        embedding_dropout=0.31,
        residual_dropout=0.41,
        relu_dropout=0.51,
        output_dropout=0.61,
    )
    over = {"text": 0.21, "audio": 0.22, "vision": 0.23}
    expected = {f"{t}<-{s}": over[s] for t, s in itertools.permutations(DIMS, 2)} | dict.fromkeys(DIMS, 0.24)
    for name, p in expected.items():
        transformer = {**dict(model.crossmodal.items()), **dict(model.memory.items())}[name]
        assert transformer.dropout.p == 0.31
        assert len(transformer.layers) == (2 if "<-" in name else 3)
        for layer in transformer.layers:
            assert (layer.attention.dropout, layer.dropout.p, layer.feed_forward[2].p) == (p, 0.41, 0.51)
    assert (model.text_dropout.p, model.residual[2].p) == (0.11, 0.61)


@torch.no_grad()
@pytest.mark.parametrize("which", ["text", "attention", "embedding", "residual", "relu", "output"])
def test_every_dropout_drops_in_training_alone(unaligned: Batch, which: str) -> None:
    p = dict.fromkeys((*DIMS, "memory"), 0.5) if which == "attention" else 0.5
    model = build(**{f"{which}_dropout": p})
    assert not torch.allclose(model.train()(unaligned).prediction, model(unaligned).prediction)
    torch.testing.assert_close(model.eval()(unaligned).prediction, build().eval()(unaligned).prediction)


def test_initial_weights_are_the_originals() -> None:
    """Xavier, for queries, keys and values of one matrix of 3 d x d; no bias to begin with."""
    attention = CrossmodalAttention(40, 4, 0.0)
    for part in (attention.query, attention.key, attention.value):
        assert part.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 160), rel=0.01)
    assert attention.out.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 80), rel=0.01)
    assert not attention.query.bias.any() and not attention.value.bias.any() and not attention.out.bias.any()
    assert attention.key.bias is None


def test_text_may_be_berts_hidden_states(batch: Batch, tiny_bert: str) -> None:
    torch.manual_seed(0)
    model = MulT({"text": None, "audio": 5}, text_encoder=tiny_bert, **SIZES)
    assert model.text_convolution.conv.in_channels == 32
    model(batch).prediction.sum().backward()
    embeddings = model.encoders["text"].bert.embeddings.word_embeddings.weight
    assert embeddings.grad is not None and embeddings.grad.any()


@pytest.mark.parametrize("data", ["mosi", "mosei", "sims"])
@pytest.mark.parametrize("decay", [0.0, 0.005])
def test_weight_decay_reaches_the_optimiser(tiny_bert: str, data: str, decay: float) -> None:
    """There is none, as in the original; what is given is applied. thuiar/MMSA states one and never passes it on."""
    given = [f"optim.weight_decay.{group}={decay}" for group in ("bert", "audio", "video", "other") if decay]
    config = composed("model=mult", f"data={data}", f"text_encoder={tiny_bert}", *given)
    model = build_component("model", config["model"], dims={"text": None, "audio": 5, "vision": 20})
    optim = {name: value for name, value in config["optim"].items() if name != "schedule"}
    groups = build_optimizer(model, **optim).param_groups
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "bert": decay,
        "bert_no_decay": 0.0,
        "audio": decay,
        "video": decay,
        "other": decay,
    }
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 3}, "heads=3 does not divide width=4"),
        ({"heads": 0}, "at least 1"),
        ({"layers": 0}, "at least 1"),
        ({"memory_layers": 0}, "at least 1"),
        ({"width": 0}, "at least 1"),
        ({"kernel": {"text": 1, "audio": 0, "vision": 1}}, "at least 1"),
        ({"relu_dropout": 1.0}, "every dropout"),
        ({"attention_dropout": {"text": 0.0, "audio": -0.1, "vision": 0.0, "memory": 0.0}}, "every dropout"),
    ],
)
def test_sizes_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**wrong)


@pytest.mark.parametrize("modality", DIMS)
def test_one_modality_has_nothing_to_attend_to(modality: str) -> None:
    with pytest.raises(ValueError, match="at least two of text, audio, vision"):
        build({modality: DIMS[modality]})


def test_positions_are_not_rounded_in_half_precision() -> None:
    transformer = build().crossmodal["text<-audio"].eval()
    seen: list[torch.Tensor] = []
    transformer.dropout.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    silent = torch.zeros(1, 300, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        transformer(silent, silent, torch.ones(1, 300, 300, dtype=torch.bool))
    expected = positions(300, 4, torch.device("cpu"), torch.float32)
    for embedded in seen:
        torch.testing.assert_close(embedded[0], expected, rtol=0, atol=0)
