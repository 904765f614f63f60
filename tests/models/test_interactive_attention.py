from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.experiment.candidate import more_padding
from mmsa_lightning.models.interactive_attention import InteractiveAttention

DIMS = {"text": None, "audio": 5, "vision": 20}
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "lstm_hidden": {"text": 6, "audio": 3, "vision": 4},
    "lstm_layers": 1,
    "lstm_dropout": 0.0,
    "width": 8,
    "fusion_width": 10,
    "auxiliary_width": {"text": 7, "audio": 5, "vision": 6},
    "fusion_dropout": 0.0,
    "auxiliary_dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0},
    "bi": True,
    "uni": True,
    "values": "target",
    "pair_fusion": "concat",
    "pooling": "mean",
    "level": "token",
}


def build(tiny_bert: str, dims: dict[str, int | None] | None = None, **options: Any) -> InteractiveAttention:
    torch.manual_seed(0)
    return InteractiveAttention(dims or DIMS, text_encoder=tiny_bert, **SIZES | options)


def _softmax(scores: list[float]) -> list[float]:
    exp = [2.718281828459045**s for s in scores]
    return [e / sum(exp) for e in exp]


def _reference_attend(target: list, source: list, values: list) -> list[list[float]]:
    """H = softmax(target sourceᵀ) values with loops over single elements."""
    out = []
    for q in target:
        weights = _softmax([sum(a * b for a, b in zip(q, k, strict=True)) for k in source])
        out.append([sum(w * v[d] for w, v in zip(weights, values, strict=True)) for d in range(len(values[0]))])
    return out


def _reference_prediction(model: InteractiveAttention, batch: Batch, i: int, values: str, pair_fusion: str) -> float:
    """Equations (6)-(15) for one utterance alone, token level and mean pooling, loops over elements."""
    h, mean = {}, lambda steps: [sum(s[d] for s in steps) / len(steps) for d in range(len(steps[0]))]
    for m in model.modalities:
        n = int(batch.sequence(m).lengths[i])
        alone = Padded.from_arrays([batch.sequence(m).values[i, :n].numpy()])
        h[m] = model.project[m](model.encoders[m](alone))[0].tolist()
    parts = [mean(h[m]) for m in model.modalities]
    for m in model.modalities:
        read = [
            mean(_reference_attend(h[m], h[s], h[m] if values == "target" else h[s]))
            for s in model.modalities
            if s != m
        ]
        parts.append(
            [sum(column) for column in zip(*read, strict=True)]
            if pair_fusion == "sum"
            else list(itertools.chain(*read))
        )
    hidden = torch.relu(model.fusion[1](torch.tensor(list(itertools.chain(*parts)))))
    return float(model.head(hidden))


@pytest.mark.parametrize("values", ["target", "source"])
@pytest.mark.parametrize("pair_fusion", ["concat", "sum"])
@torch.no_grad()
def test_prediction_equals_the_equations_element_by_element(
    batch: Batch, tiny_bert: str, values: str, pair_fusion: str
) -> None:
    model = build(tiny_bert, values=values, pair_fusion=pair_fusion).eval()
    expected = [_reference_prediction(model, batch, i, values, pair_fusion) for i in range(4)]
    torch.testing.assert_close(model(batch).prediction, torch.tensor(expected), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_each_modality_has_its_own_padding(batch_of: Any, tiny_bert: str) -> None:
    """Both ways that the scores of a pair are used."""
    unaligned = batch_of([6, 3, 1, 5], audio_lengths=[2, 6, 4, 1])
    model = build(tiny_bert, values="source").eval()
    expected = [_reference_prediction(model, unaligned, i, "source", "concat") for i in range(4)]
    torch.testing.assert_close(model(unaligned).prediction, torch.tensor(expected), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_auxiliary_heads_read_self_attention_over_their_own_steps(batch: Batch, tiny_bert: str) -> None:
    model = build(tiny_bert).train()
    output = model(batch)
    for m in ("text", "audio", "vision"):
        for i, n in enumerate(batch.sequence(m).lengths.tolist()):
            h = model.encoders[m](Padded.from_arrays([batch.sequence(m).values[i, :n].numpy()]))[0].tolist()
            attended = torch.tensor(_reference_attend(h, h, h)).mean(dim=0)
            hidden = torch.relu(model.auxiliary[m][1](attended))
            torch.testing.assert_close(output.features[m][i], hidden, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(output.tasks[m][i], model.auxiliary_head[m](hidden)[0], rtol=1e-4, atol=1e-5)


def _mean_by_utterance(steps: torch.Tensor, sequence: Padded) -> torch.Tensor:
    return torch.stack([s[:n].mean(dim=0) for s, n in zip(steps, sequence.lengths.tolist(), strict=True)])


def _outer_attend(target: torch.Tensor, source: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """H = softmax(target sourceᵀ) values of one vector each: the matrix is d x d and H a vector again."""
    return torch.einsum("bij,bj->bi", torch.einsum("bi,bj->bij", target, source).softmax(dim=-1), values)


@pytest.mark.parametrize("values", ["target", "source"])
@pytest.mark.parametrize("pair_fusion", ["concat", "sum"])
@torch.no_grad()
def test_utterance_level_attends_with_an_outer_product(
    batch: Batch, tiny_bert: str, values: str, pair_fusion: str
) -> None:
    model = build(tiny_bert, level="utterance", pair_fusion=pair_fusion, values=values).eval()
    h = {m: _mean_by_utterance(model.project[m](model.encoders[m](batch.sequence(m))), batch.sequence(m)) for m in DIMS}
    parts = list(h.values())
    for m in DIMS:
        read = [_outer_attend(h[m], h[s], h[m] if values == "target" else h[s]) for s in DIMS if s != m]
        parts += [read[0] + read[1]] if pair_fusion == "sum" else read
    expected = model.head(torch.relu(model.fusion[1](torch.cat(parts, dim=-1)))).squeeze(-1)
    torch.testing.assert_close(model(batch).prediction, expected)


@pytest.mark.parametrize("uni", [True, False])
@torch.no_grad()
def test_auxiliary_heads_attend_with_an_outer_product_at_utterance_level(
    batch: Batch, tiny_bert: str, uni: bool
) -> None:
    model = build(tiny_bert, level="utterance", uni=uni).train()
    output = model(batch)
    for m in DIMS:
        h = _mean_by_utterance(model.encoders[m](batch.sequence(m)), batch.sequence(m))
        hidden = torch.relu(model.auxiliary[m][1](_outer_attend(h, h, h) if uni else h))
        torch.testing.assert_close(output.features[m], hidden)
        torch.testing.assert_close(output.tasks[m], model.auxiliary_head[m](hidden).squeeze(-1))


def test_encoders_are_built_as_asked(tiny_bert: str) -> None:
    model = build(tiny_bert, bert_dropout=0.15, lstm_layers=2, lstm_dropout=0.25)
    assert {part.p for part in model.encoders["text"].modules() if isinstance(part, nn.Dropout)} == {0.15}
    for m in ("audio", "vision"):
        lstm = model.encoders[m].lstm
        assert isinstance(lstm, nn.LSTM) and lstm.bidirectional
        assert (lstm.input_size, lstm.hidden_size) == (DIMS[m], SIZES["lstm_hidden"][m])
        assert (lstm.num_layers, lstm.dropout) == (2, 0.25)


@torch.no_grad()
def test_dropout_of_the_fusion_and_of_each_auxiliary_head(batch: Batch, tiny_bert: str) -> None:
    """What goes into each hidden layer is 0 or, scaled by 1 / (1 - p), what goes in without dropout."""
    p = {"fusion": 0.2, "text": 0.3, "audio": 0.4, "vision": 0.6}

    def inputs(model: InteractiveAttention) -> dict[str, torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}
        for name, layer in {"fusion": model.fusion, **dict(model.auxiliary.items())}.items():
            layer[1].register_forward_hook(lambda _, args, __, name=name: seen.update({name: args[0]}))
        model(batch)
        return seen

    whole = inputs(build(tiny_bert).train())
    dropping = build(tiny_bert, fusion_dropout=p["fusion"], auxiliary_dropout={m: p[m] for m in DIMS})
    for name, values in inputs(dropping.train()).items():
        kept = values != 0
        torch.testing.assert_close(values[kept], whole[name][kept] / (1 - p[name]), rtol=1e-4, atol=0)
        assert 0 < kept.float().mean() < 1
    assert torch.equal(inputs(dropping.eval())["fusion"], inputs(build(tiny_bert).eval())["fusion"])


def _gets_no_gradient(name: str, switches: dict[str, str]) -> bool:
    """Parameters on which nothing depends: a softmax does not see what is added to all its scores, and the first step
    of an LSTM has no state before it."""
    same_for_all_scores = name.endswith((".score.bias", ".attention.self.key.bias"))
    first_step_alone = switches["pooling"] == "cls" and switches["level"] == "utterance"
    return same_for_all_scores or (first_step_alone and name.endswith(".weight_hh_l0"))


SWITCHES = [
    {"values": v, "pair_fusion": f, "pooling": p, "level": level}
    for v, f, p, level in itertools.product(
        ("target", "source"), ("concat", "sum"), ("mean", "cls", "attention"), ("token", "utterance")
    )
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "-".join(s.values()))
def test_every_reading_ignores_padding_and_trains_every_parameter(
    batch: Batch, tiny_bert: str, switches: dict[str, str]
) -> None:
    model = build(tiny_bert, **switches).train()
    output = model(batch)
    padded = model(more_padding(batch, 4))
    torch.testing.assert_close(output.prediction, padded.prediction, rtol=0, atol=1e-5)
    for m in DIMS:
        torch.testing.assert_close(output.tasks[m], padded.tasks[m], rtol=0, atol=1e-5)

    (output.prediction.sum() + sum(task.sum() for task in output.tasks.values())).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if not _gets_no_gradient(name, switches)] == []
    assert {m: f.shape[1] for m, f in output.features.items()} == model.feature_widths


@pytest.mark.parametrize("modalities", [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)], ids="-".join)
@pytest.mark.parametrize("bi", [True, False])
def test_any_subset_of_modalities(batch: Batch, tiny_bert: str, modalities: tuple[str, ...], bi: bool) -> None:
    model = build(tiny_bert, {m: DIMS[m] for m in modalities}, bi=bi).train()
    output = model(batch)
    assert output.prediction.shape == (4,)
    assert set(output.tasks) == set(modalities)
    assert model.needs_alignment == (bi and len(modalities) > 1)


@torch.no_grad()
def test_bi_changes_the_main_task_alone_and_uni_the_auxiliary_ones(batch: Batch, tiny_bert: str) -> None:
    full = build(tiny_bert).train()
    # Unscaled scores of a layer-normalised BERT make softmax the identity: smaller states let other steps in.
    full.encoders["text"].bert.encoder.layer[-1].output.LayerNorm.weight.mul_(0.1)
    without_uni = build(tiny_bert, uni=False).train()
    without_uni.load_state_dict(full.state_dict())  # uni has no parameters of its own
    torch.testing.assert_close(full(batch).prediction, without_uni(batch).prediction)
    for m in DIMS:
        assert not torch.allclose(full(batch).tasks[m], without_uni(batch).tasks[m])

    without_bi = build(tiny_bert, bi=False).train()
    shared = {k: v for k, v in full.state_dict().items() if not k.startswith("fusion.")}
    without_bi.load_state_dict(shared, strict=False)
    assert without_bi.fusion[1].in_features == 3 * 8  # F = [h_t, h_a, h_v]
    assert full.fusion[1].in_features == 3 * 8 + 3 * 2 * 8
    for m in DIMS:
        torch.testing.assert_close(full(batch).tasks[m], without_bi(batch).tasks[m])


def test_auxiliary_heads_do_not_run_in_evaluation(batch: Batch, tiny_bert: str) -> None:
    model = build(tiny_bert).eval()
    calls: list[str] = []
    for part in (model.auxiliary, model.auxiliary_head, model.pool_auxiliary):
        for m in DIMS:
            part[m].register_forward_hook(lambda *_: calls.append("ran"))
    output = model(batch)
    assert (output.tasks, set(output.features), calls) == ({}, {"fusion"}, [])


@pytest.mark.parametrize("training", [True, False])
def test_attention_weights_on_request(batch: Batch, tiny_bert: str, training: bool) -> None:
    model = build(tiny_bert).train(training)
    assert model(batch).attention == {}
    attention = model(batch, return_attention=True).attention
    pairs = {f"{t}<-{s}" for t, s in itertools.permutations(DIMS, 2)}
    assert set(attention) == pairs | set(DIMS)
    for weights in attention.values():
        assert weights.shape == (4, 6, 6)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(4, 6))


def test_unaligned_input_needs_the_source_reading(batch_of: Any, tiny_bert: str) -> None:
    unaligned = batch_of([6, 3, 1, 5], audio_lengths=[9, 2, 4, 11])
    with pytest.raises(ValueError, match="use values=source"):
        build(tiny_bert)(unaligned)
    source = build(tiny_bert, values="source")
    assert not source.needs_alignment
    assert source(unaligned).prediction.shape == (4,)


def test_text_features_go_through_an_lstm(batch: Batch, tiny_bert: str) -> None:
    batch.text, batch.tokens = batch.vision, None
    model = build(tiny_bert, {"text": 20, "audio": 5})
    assert model(batch).prediction.shape == (4,)
    assert not any("bert" in name for name, _ in model.named_parameters())


def test_half_precision_ends_with_the_encoders(batch: Batch, tiny_bert: str) -> None:
    """LSTMs have none, so that with them alone nothing has."""
    batch.text, batch.tokens = batch.vision, None
    model = build(tiny_bert, {"text": 20, "audio": 5}).train()
    expected = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(batch)
    torch.testing.assert_close((found.prediction, found.tasks), (expected.prediction, expected.tasks), rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [{"values": "both"}, {"pair_fusion": "mean"}, {"pooling": "max"}, {"level": "word"}])
def test_an_unknown_switch_is_answered_with_the_known(tiny_bert: str, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        build(tiny_bert, **wrong)
    with pytest.raises(ValueError, match="at least one modality"):
        InteractiveAttention({}, text_encoder=tiny_bert, **SIZES)


@pytest.mark.parametrize(("bi", "uni"), [(True, True), (True, False), (False, True), (False, False)])
@torch.no_grad()
def test_it_attends_where_it_has_weights_to_tell(batch: Batch, tiny_bert: str, bi: bool, uni: bool) -> None:
    model = build(tiny_bert, bi=bi, uni=uni).eval()
    assert model.attends == bool(model(batch, return_attention=True).attention)
    assert not build(tiny_bert, level="utterance").attends


@pytest.mark.parametrize("pooling", ["cls", "attention"])
@pytest.mark.parametrize("values", ["target", "source"])
@torch.no_grad()
def test_other_poolings_pool_what_was_attended_to(batch: Batch, tiny_bert: str, pooling: str, values: str) -> None:
    model = build(tiny_bert, pooling=pooling, values=values).eval()
    h = {m: model.project[m](model.encoders[m](batch.sequence(m))) for m in DIMS}
    mask = {m: batch.sequence(m).mask for m in DIMS}
    parts = [model.pool_projected[m](h[m], mask[m]) for m in DIMS]
    for m in DIMS:
        others = [s for s in DIMS if s != m]
        scores = [(h[m] @ h[s].transpose(1, 2)).masked_fill(~mask[s][:, None], -torch.inf) for s in others]
        read = [a.softmax(-1) @ h[m if values == "target" else s] for a, s in zip(scores, others, strict=True)]
        parts.append(model.pool_attended[m](torch.cat(read, dim=-1), mask[m]))
    expected = model.head(torch.relu(model.fusion[1](torch.cat(parts, dim=-1)))).squeeze(-1)
    torch.testing.assert_close(model(batch).prediction, expected)


@torch.no_grad()
def test_attention_that_is_told_of_is_that_of_training(batch: Batch, tiny_bert: str) -> None:
    model = build(tiny_bert)
    trained, told = (model.train(mode)(batch, return_attention=True).attention for mode in (True, False))
    assert trained and told
    torch.testing.assert_close(told, {name: trained[name] for name in told})
