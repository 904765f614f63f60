from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from reference import linear, lstm, relu
from settings import composed
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from mmsa_lightning.batch import Batch
from mmsa_lightning.experiment.candidate import more_padding
from mmsa_lightning.experiment.components import build as build_component
from mmsa_lightning.models.mag_bert import MAG, MAGBert
from mmsa_lightning.objectives.mse import MSE
from mmsa_lightning.training import optim
from mmsa_lightning.training.schedules import build_schedule

DIMS = {"text": None, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "layer": 0,
    "beta_shift": 1.0,
    "dropout": 0.0,
    "head_dropout": 0.0,
    "lstm_hidden": 6,
}
NO_BERT = "nowhere"  # of text that comes as features, no BERT is loaded


@pytest.fixture(scope="module")
def deep_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random BERT of two layers, whose layer norms have weights and biases of their own."""
    folder = tmp_path_factory.mktemp("deep_bert")
    torch.manual_seed(1)
    bert = BertModel(
        BertConfig(vocab_size=1000, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16),
        add_pooling_layer=False,
    )
    for name, parameter in bert.named_parameters():
        nn.init.normal_(parameter, mean=float(name.endswith("LayerNorm.weight")), std=0.3)
    bert.save_pretrained(folder)
    return str(folder)


def build(text_encoder: str, dims: Mapping[str, int | None] = DIMS, **options: Any) -> MAGBert:
    """A model whose gate does something: it starts with shifts of next to nothing."""
    torch.manual_seed(0)
    model = MAGBert(dims, text_encoder=text_encoder, **SIZES | options)
    for part in (model.mag, model.head):
        for parameter in part.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model


def with_features(batch: Batch) -> Batch:
    batch.text, batch.tokens = batch.vision, None
    return batch


def _norm(x: list[float]) -> float:
    return math.sqrt(sum(v * v for v in x))


def _reference_mag(mag: MAG, z: list[float], others: dict[str, list[float]]) -> list[float]:
    """z̄ of one word, with loops over single elements."""
    shift = [0.0] * len(z)
    for m, a in others.items():
        gate = relu(linear(mag.gate[m], a + z))
        shift = [s + g * v for s, g, v in zip(shift, gate, linear(mag.shift[m], a), strict=True)]
    alpha = min(mag.beta_shift * _norm(z) / (_norm(shift) + 1e-6), 1.0)
    moved = [v + alpha * s for v, s in zip(z, shift, strict=True)]
    mean = sum(moved) / len(moved)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in moved) / len(moved) + mag.norm.eps)
    affine = zip(moved, mag.norm.weight.tolist(), mag.norm.bias.tolist(), strict=True)
    return [(v - mean) / deviation * weight + bias for v, weight, bias in affine]


def _reference_shifted(model: MAGBert, z: Tensor, batch: Batch, i: int) -> Tensor:
    """Every word of utterance i, (steps, width), through the reference."""
    others = {m: batch.sequence(m).values[i].tolist() for m in model.nonverbal}
    rows = [
        _reference_mag(model.mag, word, {m: steps[t] for m, steps in others.items()})
        for t, word in enumerate(z.tolist())
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize("beta", [0.1, 1.0])
@torch.no_grad()
def test_the_gate_equals_its_formula_element_by_element(batch: Batch, deep_bert: str, beta: float) -> None:
    model = build(deep_bert, beta_shift=beta)
    z = torch.randn(4, 6, 8)
    shifted = model.mag(z, {m: batch.sequence(m).values for m in model.nonverbal})
    for i in range(4):
        torch.testing.assert_close(shifted[i], _reference_shifted(model, z[i], batch, i), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_half_precision_does_not_round_how_far_a_word_is_shifted(batch: Batch, deep_bert: str) -> None:
    mag = build(deep_bert, beta_shift=0.01).mag
    mag.norm = nn.Identity()
    z = torch.randn(4, 6, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        moved = mag(z, {m: batch.sequence(m).values for m in ("audio", "vision")}) - z
    lengths, limit = moved.norm(dim=-1), 0.01 * z.norm(dim=-1)
    reached = batch.sequence("audio").mask & (lengths > 0.9 * limit)  # padding has only biases to be shifted by
    assert reached.sum() > 7
    torch.testing.assert_close(lengths[reached], limit[reached], rtol=1e-4, atol=0)


def test_gradients_are_those_of_the_formula(batch: Batch, deep_bert: str) -> None:
    """Of words, audio and vision, through the gates and through α, which holds back some of these shifts."""
    mag = build(deep_bert, beta_shift=0.5).mag
    inputs = [torch.randn(4, 6, 8), batch.sequence("audio").values, batch.sequence("vision").values]
    ours, theirs = ([values.clone().requires_grad_() for values in inputs] for _ in range(2))

    z, others = theirs[0], {"audio": theirs[1], "vision": theirs[2]}
    shift = torch.zeros(4, 6, 8)
    for m, a in others.items():
        of_a, of_z = mag.gate[m].weight[:, : a.shape[-1]], mag.gate[m].weight[:, a.shape[-1] :]
        gate = torch.einsum("od,btd->bto", of_a, a) + torch.einsum("od,btd->bto", of_z, z) + mag.gate[m].bias
        value = torch.einsum("od,btd->bto", mag.shift[m].weight, a) + mag.shift[m].bias
        shift = shift + gate * (gate > 0) * value
    alpha = 0.5 * (z**2).sum(dim=-1).sqrt() / ((shift**2).sum(dim=-1).sqrt() + 1e-6)
    assert 0 < int((alpha < 1).sum()) < 24
    moved = z + torch.where(alpha < 1, alpha, 1)[..., None] * shift
    centred = moved - moved.mean(dim=-1, keepdim=True)
    deviation = (centred.var(dim=-1, unbiased=False, keepdim=True) + mag.norm.eps).sqrt()
    direction = torch.randn(4, 6, 8)
    ((centred / deviation * mag.norm.weight + mag.norm.bias) * direction).sum().backward()

    (mag(ours[0], {"audio": ours[1], "vision": ours[2]}) * direction).sum().backward()
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("nonverbal", [("audio", "vision"), ("audio",), ("vision",)], ids="-".join)
@torch.no_grad()
def test_prediction_and_loss_equal_the_reference(
    batch: Batch, deep_bert: str, layer: int, nonverbal: tuple[str, ...]
) -> None:
    """BERT's own forward pass over one utterance alone, in which a hook puts the reference's shift after a layer."""
    model = build(deep_bert, {m: DIMS[m] for m in ("text", *nonverbal)}, layer=layer, beta_shift=0.3).eval()
    output = model(batch)
    bert = model.encoders["text"].bert
    place = bert.encoder.layer[layer - 1] if layer else bert.embeddings
    expected, squares = [], 0.0
    for i, n in enumerate(batch.sequence("text").lengths.tolist()):
        hook = place.register_forward_hook(lambda _, __, z, i=i: _reference_shifted(model, z[0], batch, i)[None])
        first = bert(input_ids=batch.sequence("text").values[i : i + 1, :n]).last_hidden_state[0, 0]
        hook.remove()
        pooled = [math.tanh(v) for v in linear(model.pooler, first.tolist())]
        expected += linear(model.head, pooled)
        squares += (expected[-1] - float(batch.label[i])) ** 2
    torch.testing.assert_close(output.prediction, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert float(MSE()(output, batch, 1).total) == pytest.approx(squares / 4, rel=1e-4)
    assert (output.tasks, output.features) == ({}, {})


@torch.no_grad()
def test_features_are_shifted_and_read_by_an_lstm_to_their_own_end(batch: Batch) -> None:
    batch = with_features(batch)
    model = build(NO_BERT, {"text": 20, "audio": 5, "vision": 20}).eval()
    assert not any("bert" in name or "pooler" in name for name, _ in model.named_parameters())
    expected = []
    for i, n in enumerate(batch.sequence("text").lengths.tolist()):
        shifted = _reference_shifted(model, batch.sequence("text").values[i, :n], batch, i)
        expected += linear(model.head, lstm(model.lstm.lstm, shifted)[-1].tolist())
    torch.testing.assert_close(model(batch).prediction, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def close_gates(model: MAGBert) -> None:
    """No gate opens, whatever it sees; W_m a_m + b_m stays what it is."""
    for gate in model.mag.gate.values():
        nn.init.zeros_(gate.weight)
        nn.init.constant_(gate.bias, -1.0)


def _plain_bert(model: MAGBert, batch: Batch) -> Tensor:
    return model.head(torch.tanh(model.pooler(model.encoders["text"](batch.sequence("text"))[:, 0]))).squeeze(-1)


@pytest.mark.parametrize("layer", [0, 1])
@torch.no_grad()
def test_closed_gates_leave_berts_output_unchanged(batch: Batch, tiny_bert: str, layer: int) -> None:
    """The gate ends in a layer norm. So does what comes before it; of that, normalised already and, in this BERT, with
    weight 1 and bias 0, another with weight 1 and bias 0 changes nothing."""
    model = build(tiny_bert, layer=layer).eval()
    model.mag.norm.reset_parameters()
    assert not torch.allclose(model(batch).prediction, _plain_bert(model, batch), rtol=0, atol=1e-3)
    close_gates(model)
    torch.testing.assert_close(model(batch).prediction, _plain_bert(model, batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
@torch.no_grad()
def test_closed_gates_shift_nothing(batch: Batch, deep_bert: str, layer: int) -> None:
    """Words come out as they went in, to the last bit, for nothing is added to them; of a BERT whose layer norms have
    weights of their own only the gate's layer norm is left, and without that too the output is BERT's. It is computed
    in another order, so that their last digits may differ."""
    model = build(deep_bert, layer=layer).eval()
    model.mag.norm = nn.Identity()
    z, nonverbal = torch.randn(4, 6, 8), {m: batch.sequence(m).values for m in model.nonverbal}
    assert not torch.allclose(model.mag(z, nonverbal), z, rtol=0, atol=0.1)
    close_gates(model)
    assert torch.equal(model.mag(z, nonverbal), z)
    torch.testing.assert_close(model(batch).prediction, _plain_bert(model, batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("silent", [("audio", "vision"), ("words",), ("words", "audio", "vision")], ids="-".join)
def test_gradients_are_finite_where_there_is_nothing(batch: Batch, silent: tuple[str, ...]) -> None:
    """[CLS] and [SEP] have neither audio nor vision; word vectors of unknown words are zero."""
    mag = MAG(8, {"audio": 5, "vision": 20}, beta_shift=1.0, dropout=0.0)
    for name, parameter in mag.named_parameters():
        nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter)
    inputs = {"words": torch.randn(4, 6, 8)} | {m: batch.sequence(m).values.clone() for m in ("audio", "vision")}
    for name in silent:
        inputs[name].zero_()
    for values in inputs.values():
        values.requires_grad_()
    out = mag(inputs["words"], {m: inputs[m] for m in ("audio", "vision")})
    (out * torch.randn_like(out)).sum().backward()
    for tensor in (*inputs.values(), *mag.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_dropout_is_on_the_shifted_vectors_and_before_the_head(batch: Batch, tiny_bert: str) -> None:
    dropping, whole = (build(tiny_bert, dropout=p, head_dropout=q).train() for p, q in ((0.5, 0.25), (0.0, 0.0)))
    z = torch.randn(4, 6, 32)
    nonverbal = {m: batch.sequence(m).values for m in dropping.nonverbal}
    seen: dict[str, Tensor] = {}
    dropping.head.register_forward_pre_hook(lambda _, args: seen.update(dropped=args[0]))
    dropping.head_dropout.register_forward_pre_hook(lambda _, args: seen.update(whole=args[0]))
    dropping(batch)
    for p, out, expected in (
        (0.5, dropping.mag(z, nonverbal), whole.mag(z, nonverbal)),
        (0.25, seen["dropped"], seen["whole"]),
    ):
        kept = out != 0
        torch.testing.assert_close(out[kept], expected[kept] / (1 - p))
        assert abs(float(kept.float().mean()) - (1 - p)) < 0.15


def test_what_is_new_starts_small_and_bert_as_it_was(deep_bert: str) -> None:
    torch.manual_seed(0)
    model = MAGBert({"text": None, "audio": 5, "vision": 400}, text_encoder=deep_bert, **SIZES)
    new = [m for part in (model.mag, model.pooler, model.head) for m in part.modules() if isinstance(m, nn.Linear)]
    assert len(new) == 6 and not any(layer.bias.any() for layer in new)
    assert 0.018 < float(model.mag.gate["vision"].weight.detach().std()) < 0.022
    assert all(layer.weight.std() > 0.004 and layer.weight.abs().max() < 0.12 for layer in new)  # of eight or more
    stored = BertModel.from_pretrained(deep_bert, add_pooling_layer=False).state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in model.encoders["text"].bert.state_dict().items())


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        ({"text": None}, {}, "needs text, and audio or vision"),
        ({"audio": 5, "vision": 20}, {}, "needs text, and audio or vision"),
        (DIMS, {"layer": 2}, "layer=2: this text has layers 0 .* to 1"),
        (DIMS, {"layer": -1}, "layer=-1"),
        ({"text": 20, "audio": 5}, {"layer": 1}, "layer=1: this text has layers 0 .* to 0"),
        (DIMS, {"beta_shift": 0.0}, "beta_shift=0.0"),
        (DIMS, {"lstm_hidden": 0}, "lstm_hidden=0"),
    ],
)
def test_what_cannot_be_built_is_said(
    tiny_bert: str, dims: dict[str, int | None], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(tiny_bert, dims, **options)


def test_modalities_must_be_aligned(batch_of: Any, tiny_bert: str) -> None:
    model = build(tiny_bert)
    assert model.needs_alignment
    with pytest.raises(ValueError, match="text and audio differ in length"):
        model(batch_of([6, 3, 1, 5], audio_lengths=[6, 3, 2, 5]))


@pytest.mark.parametrize(
    ("overrides", "rate", "dropout"),
    [
        (["data=mosi"], 2e-5, 0.3),
        (["data=mosei"], 1e-5, 0.2),
        (["data=sims"], 5e-5, 0.1),
        (["data=own", "data.path=made.h5"], 1e-5, 0.5),
    ],
)
def test_trained_by_the_original_recipe_and_not_by_mmsas(
    tiny_bert: str, overrides: list[str], rate: float, dropout: float
) -> None:
    """Squared error, AdamW with decoupled decay, warm-up over a tenth of 40 epochs, one rate for all."""
    config = composed("model=mag_bert", *overrides, f"text_encoder={tiny_bert}")
    assert isinstance(build_component("objective", config["objective"]), MSE)
    assert config["trainer"]["max_epochs"] == 40
    assert (config["model"]["dropout"], config["model"]["beta_shift"], config["data"]["batch_size"]) == (
        dropout,
        1.0,
        32,
    )

    options = dict(config["optim"])
    schedule = options.pop("schedule")
    model = build_component("model", config["model"], dims=DIMS)
    optimizer = optim.build_optimizer(model, **options)
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = {g["name"]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups}
    assert groups == {"bert": (rate, 0.01), "bert_no_decay": (rate, 0.0), "other": (rate, 0.01)}

    scheduler = build_schedule(optimizer, 200, schedule)["scheduler"]
    rates = []
    for _ in range(200):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 0 and rates[10] == pytest.approx(rate / 2) and max(rates) == rates[20] == pytest.approx(rate)
    assert rates[110] == pytest.approx(rate / 2) and rates[199] == pytest.approx(rate / 180)


def test_text_is_read_by_the_layers_own_attention_mask(deep_bert: str, batch: Batch) -> None:
    """A longer padding of any content changes nothing, also where no row is full."""
    model = build(deep_bert, layer=1).eval()
    padded = more_padding(batch, 3)
    torch.testing.assert_close(model(padded).prediction, model(batch).prediction, rtol=0, atol=1e-5)
