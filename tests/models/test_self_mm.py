from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from reference import linear, lstm, relu
from settings import composed
from torch import Tensor, nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.experiment.components import build as build_component
from mmsa_lightning.models.self_mm import Head, SelfMM
from mmsa_lightning.objectives.multitask import MultiTask
from mmsa_lightning.training import optim
from mmsa_lightning.training.module import SentimentModule

DIMS = {"text": None, "audio": 5, "vision": 20}
TASKS = ("fusion", "text", "audio", "vision")
SIZES: dict[str, Any] = {
    "bert_dropout": 0.0,
    "lstm_hidden": {"text": 7, "audio": 3, "vision": 4},
    "lstm_layers": 1,
    "lstm_dropout": 0.0,
    "encoded": {"text": 9, "audio": 5, "vision": 6},
    "hidden": {"fusion": 10, "text": 8, "audio": 5, "vision": 6},
    "dropout": {"fusion": 0.0, "text": 0.0, "audio": 0.0, "vision": 0.0},
}


def build(text_encoder: str, dims: Mapping[str, int | None] = DIMS, **options: Any) -> SelfMM:
    torch.manual_seed(0)
    return SelfMM(dims, text_encoder=text_encoder, **SIZES | options)


def rows(batch: Batch, index: list[int]) -> Batch:
    """Some utterances of a batch, padded to the longest of them."""

    def of(sequence: Padded) -> Padded:
        return Padded.from_arrays([sequence.values[i, : sequence.lengths[i]].numpy() for i in index])

    sequences = {m: of(s) for m in ("tokens", "text", "audio", "vision") if (s := getattr(batch, m)) is not None}
    return Batch(batch.index[index], batch.label[index], **sequences)


def _reference_head(head: nn.Module, x: list[float]) -> tuple[float, list[float]]:
    assert isinstance(head, Head)
    feature = relu(linear(head.feature[1], x))
    hidden = relu(linear(head.sentiment[0], feature))
    return linear(head.sentiment[2], hidden)[0], feature


def _reference(model: SelfMM, batch: Batch, i: int) -> dict[str, tuple[float, list[float]]]:
    """Every head's prediction and hidden layer for one utterance alone, loops over elements and steps."""
    vectors = []
    for m in model.modalities:
        sequence = batch.sequence(m)
        steps = sequence.values[i, : sequence.lengths[i]]
        reader: Any = model.encoders[m]
        if steps.ndim == 1:
            vectors.append(reader.bert(input_ids=steps[None]).last_hidden_state[0, 0].tolist())
        else:
            vectors.append(linear(reader.project, lstm(reader.lstm.lstm, steps)[-1].tolist()))
    heads = {m: _reference_head(model.heads[m], x) for m, x in zip(model.modalities, vectors, strict=True)}
    return heads | {"fusion": _reference_head(model.heads["fusion"], list(itertools.chain(*vectors)))}


SUBSETS = [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)]


@pytest.mark.parametrize("modalities", SUBSETS, ids="-".join)
@pytest.mark.parametrize("text", ["tokens", "features"])
@torch.no_grad()
def test_every_head_equals_the_reference(batch_of: Any, tiny_bert: str, modalities: tuple[str, ...], text: str) -> None:
    """Audio has steps of its own: each utterance's LSTM stops at its own last one."""
    batch = batch_of([6, 3, 1, 5], audio_lengths=[9, 2, 4, 11])
    if text == "features":
        batch.tokens, batch.text = None, batch.vision
    dims = {m: 20 if m == "text" and text == "features" else DIMS[m] for m in modalities}
    model = build(tiny_bert, dims).train()
    output = model(batch)
    assert model.feature_widths == {task: SIZES["hidden"][task] for task in ("fusion", *modalities)}
    assert (set(output.tasks), set(output.features)) == (set(modalities), {"fusion", *modalities})
    for i in range(4):
        for task, (prediction, feature) in _reference(model, batch, i).items():
            got = output.prediction if task == "fusion" else output.tasks[task]
            assert float(got[i]) == pytest.approx(prediction, rel=1e-4, abs=1e-5)
            assert output.features[task][i].tolist() == pytest.approx(feature, rel=1e-4, abs=1e-5)


def test_heads_of_one_modality_run_in_training_alone(batch: Batch, tiny_bert: str) -> None:
    output = build(tiny_bert).eval()(batch)
    assert (output.tasks, set(output.features)) == ({}, {"fusion"})


class ReferenceLabels:
    """Label generation as Self-MM and MMSA have it, in plain Python: whole banks, whole means, one utterance at a
    time."""

    def __init__(self, labels: list[float]) -> None:
        self.y = {task: list(labels) for task in TASKS}
        self.bank: dict[str, list[list[float]]] = {
            task: [[0.0] * SIZES["hidden"][task] for _ in labels] for task in TASKS
        }

    def loss(self, index: list[int], predictions: dict[str, list[float]]) -> dict[str, float]:
        """The mean over utterances of w |ŷ - y|, with w = tanh |y_s - y_m|, and 1 for the fusion."""
        losses = {}
        for task in TASKS:
            terms = []
            for i, prediction in zip(index, predictions[task], strict=True):
                y, truth = self.y[task][i], self.y["fusion"][i]
                terms.append((1.0 if task == "fusion" else math.tanh(abs(y - truth))) * abs(prediction - y))
            losses[task] = sum(terms) / len(terms)
        return losses

    def update(self, index: list[int], features: dict[str, list[list[float]]], epoch: int) -> None:
        if epoch > 1:
            for row, i in enumerate(index):
                delta = {task: self._delta(task, features[task][row]) for task in TASKS}
                y = self.y["fusion"][i]
                for task in ("text", "audio", "vision"):
                    alpha = delta[task] / (delta["fusion"] + 1e-8)
                    new = 0.5 * alpha * y + 0.5 * (y + delta[task] - delta["fusion"])
                    new = max(-3.0, min(3.0, new))
                    self.y[task][i] = (epoch - 1) / (epoch + 1) * self.y[task][i] + 2 / (epoch + 1) * new
        for task in TASKS:
            for row, i in enumerate(index):
                self.bank[task][i] = features[task][row]
        self.centres = {
            task: [
                _mean([f for f, y in zip(self.bank[task], self.y[task], strict=True) if y < 0]),
                _mean([f for f, y in zip(self.bank[task], self.y[task], strict=True) if y > 0]),
            ]
            for task in TASKS
        }

    def _delta(self, task: str, feature: list[float]) -> float:
        to_negative, to_positive = (math.dist(feature, centre) for centre in self.centres[task])
        return (to_negative - to_positive) / (to_positive + 1e-8)


def _mean(vectors: list[list[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def multitask(labels: Tensor, model: SelfMM) -> MultiTask:
    config = composed("model=self_mm", "data=mosi")
    objective: MultiTask = build_component("objective", config["objective"], where_null={"limit": 3.0})
    objective.setup(labels, model.feature_widths)
    return objective


def test_labels_and_losses_follow_the_transcription_for_four_epochs(batch_of: Any, tiny_bert: str) -> None:
    """Fed with what the model makes of the batches while it is trained on them."""
    everything = batch_of([6, 3, 1, 5, 4, 2, 7, 3, 5, 2])
    everything.label = torch.tensor([-3.0, -2.2, -1.4, -0.6, 0.0, 0.4, 1.0, 1.8, 2.4, 3.0])
    model = build(tiny_bert).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    objective = multitask(everything.label, model)
    reference = ReferenceLabels(everything.label.tolist())
    moved = []
    for epoch in range(1, 5):
        objective.start_epoch()
        order = np.random.default_rng(epoch).permutation(10).tolist()
        for index in (order[:4], order[4:8], order[8:]):
            output = model(rows(everything, index))
            predictions = {"fusion": output.prediction, **output.tasks}
            expected = reference.loss(index, {task: p.tolist() for task, p in predictions.items()})
            loss = objective(output, rows(everything, index), epoch)
            assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-4)
            for task in ("text", "audio", "vision"):
                assert loss.terms[task].item() == pytest.approx(expected[task], rel=1e-3, abs=1e-6)
                assert (expected[task] > 0) == (epoch > 2)

            reference.update(index, {task: f.tolist() for task, f in output.features.items()}, epoch)
            for task, label in objective.generated_labels().items():
                assert label.tolist() == pytest.approx(reference.y[task], abs=2e-3)
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
        moved.append(max((label - everything.label).abs().max() for label in objective.generated_labels().values()))
    assert moved[0] == 0 and min(moved[1:]) > 0.5
    assert len({tuple(y) for y in reference.y.values()}) == 4  # each modality has labels of its own


PUBLISHED = {  # thuiar/MMSA config_regression.json: rate and L2 decay for sums over four batches
    "mosi": {
        "audio": (5e-3, 1e-3),
        "bert": (5e-5, 1e-3),
        "bert_no_decay": (5e-5, 0.0),
        "other": (1e-3, 1e-3),
        "video": (5e-3, 1e-3),
    },
    "mosei": {
        "audio": (5e-3, 0.0),
        "bert": (5e-5, 1e-3),
        "bert_no_decay": (5e-5, 0.0),
        "other": (1e-3, 1e-2),
        "video": (1e-4, 0.0),
    },
    "sims": {
        "audio": (5e-3, 1e-2),
        "bert": (5e-5, 1e-3),
        "bert_no_decay": (5e-5, 0.0),
        "other": (1e-3, 1e-3),
        "video": (5e-3, 1e-2),
    },
}


@pytest.mark.parametrize(("data", "batch_size"), [("mosi", 16), ("mosei", 32), ("sims", 32)])
def test_five_parameter_groups_have_the_published_rates_and_decays(tiny_bert: str, data: str, batch_size: int) -> None:
    """L2 decay of a mean over k batches is the k-th part of that of their sum."""
    config = composed("model=self_mm", f"data={data}", f"text_encoder={tiny_bert}")
    model = build_component("model", config["model"], dims=DIMS)
    accumulated = config["trainer"]["accumulate_grad_batches"]
    assert (config["data"]["batch_size"], accumulated) == (batch_size, 4)
    options = {name: value for name, value in config["optim"].items() if name != "schedule"}
    optimizer = optim.build_optimizer(model, **options)
    assert isinstance(optimizer, torch.optim.Adam) and not isinstance(optimizer, torch.optim.AdamW)
    groups = {g["name"]: (g["lr"], pytest.approx(g["weight_decay"] * accumulated)) for g in optimizer.param_groups}
    assert groups == PUBLISHED[data]

    members = {id(p): g["name"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        expected = {"encoders.audio": "audio", "encoders.vision": "video", "encoders.text": "bert"}
        group = next((g for start, g in expected.items() if name.startswith(start)), "other")
        decays = group != "bert" or not name.endswith((".bias", "LayerNorm.weight"))
        assert members[id(parameter)] == (group if decays else "bert_no_decay")


class Gradients(L.Callback):
    """Keeps the gradient of every optimiser step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.steps.append({name: _gradient(p) for name, p in pl_module.model.named_parameters()})


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()


def test_left_over_batches_make_a_step_and_a_step_is_a_mean_over_its_batches(batch_of: Any) -> None:
    """Six batches, accumulated by fours: the original drops the last two and sums the others."""
    everything = batch_of([6, 3, 1, 5, 4, 2, 7, 3, 5, 2, 4, 6])
    everything.text, everything.tokens = everything.vision, None
    batches = [rows(everything, [2 * i, 2 * i + 1]) for i in range(6)]
    model = build("nowhere", {"text": 20, "audio": 5, "vision": 20})
    before = copy.deepcopy(model).train()

    config = composed("model=self_mm", "data=mosi")
    objective: MultiTask = build_component("objective", config["objective"], where_null={"limit": 3.0})
    objective.setup(everything.label, model.feature_widths)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:  # stands still: every gradient is at the same weights
        return torch.optim.SGD([{"params": model.parameters(), "name": "other"}], lr=0.0)

    gradients = Gradients()
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=config["trainer"]["accumulate_grad_batches"],
        callbacks=[gradients],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    trainer.fit(SentimentModule(model, objective, optimizer, seed=1), loader)

    single = []
    for batch in batches:  # of the fusion alone: in the first epoch no other label has moved
        before.zero_grad()
        sum((before(batch).prediction[i] - batch.label[i]).abs() / 2 for i in range(2)).backward()
        single.append({name: _gradient(p) for name, p in before.named_parameters()})
    assert trainer.global_step == len(gradients.steps) == 2
    for step, members in zip(gradients.steps, (single[:4], single[4:]), strict=True):
        assert any(gradient.any() for gradient in step.values())
        for name, gradient in step.items():
            torch.testing.assert_close(gradient, sum(g[name] for g in members) / len(members))


def test_dropout_of_each_head_and_of_the_last_states(batch: Batch, tiny_bert: str) -> None:
    p = {"fusion": 0.2, "text": 0.3, "audio": 0.4, "vision": 0.6}
    model = build(tiny_bert, dropout=p, lstm_dropout=0.5, lstm_layers=2, bert_dropout=0.15)
    for task, head in model.heads.items():
        assert head.feature[0].p == p[task]
    for m in ("audio", "vision"):
        reader: Any = model.encoders[m]
        assert (reader.dropout.p, reader.lstm.lstm.dropout, reader.lstm.lstm.num_layers) == (0.5, 0.5, 2)
    assert {d.p for d in model.encoders["text"].modules() if isinstance(d, nn.Dropout)} == {0.15}
    assert model.train()(batch).prediction.shape == (4,)


def test_the_last_state_is_dropped_out_of(batch: Batch, tiny_bert: str, recwarn: pytest.WarningsRecorder) -> None:
    """Of one layer, too, where torch knows no dropout and would warn."""
    model = build(tiny_bert, lstm_dropout=0.5).train()
    seen: list[Tensor] = []
    model.encoders["vision"].project.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(batch)
    assert 0 < float((seen[0] == 0).float().mean()) < 1
    assert not [w for w in recwarn if "dropout" in str(w.message)]


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        ({}, {}, "at least one modality"),
        (DIMS, {"lstm_layers": 0}, "at least 1"),
        (DIMS, {"hidden": SIZES["hidden"] | {"fusion": 0}}, "at least 1"),
        (DIMS, {"encoded": SIZES["encoded"] | {"audio": 0}}, "at least 1"),
        (DIMS, {"lstm_hidden": SIZES["lstm_hidden"] | {"vision": -1}}, "at least 1"),
    ],
)
def test_what_cannot_be_built_is_said(
    tiny_bert: str, dims: dict[str, int | None], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(tiny_bert, dims, **options)
