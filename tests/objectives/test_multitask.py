from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss
from mmsa_lightning.objectives.l1 import L1
from mmsa_lightning.objectives.multitask import MultiTask, task_loss

TRUTH = torch.tensor([1.0, -2.0, 0.0])
LABEL = torch.tensor([1.5, -2.0, 3.0])
PREDICTION = torch.tensor([2.0, 1.0, 2.0])
ALL_ON: dict[str, Any] = {
    "tanh_weight": True,
    "ratio_weight": True,
    "detach_ratio": True,
    "positive": ">",
    "limit": 3.0,
}


def test_task_loss_by_hand() -> None:
    """(17): errors .5, 3, 1 with weights tanh .5, 0, tanh 3."""
    expected = (math.tanh(0.5) * 0.5 + 0 + math.tanh(3) * 1) / 3
    assert float(task_loss(PREDICTION, LABEL, TRUTH, tanh=True)) == pytest.approx(expected, abs=1e-6)
    assert float(task_loss(PREDICTION, LABEL, TRUTH, tanh=False)) == pytest.approx(4.5 / 3, abs=1e-6)


def make(labels: torch.Tensor, **options: Any) -> MultiTask:
    objective = MultiTask(**ALL_ON | options)
    objective.setup(labels, {"fusion": 4, "text": 3})
    return objective


def output(batch: Batch, seed: int = 0) -> ModelOutput:
    n, generator = len(batch), torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(*shape, generator=generator, requires_grad=True)  # noqa: E731
    return ModelOutput(random(n), {"text": random(n)}, {"fusion": random(n, 4), "text": random(n, 3)})


def test_auxiliary_losses_are_zero_in_two_epochs_and_not_in_the_third(batch: Batch) -> None:
    """Labels move after the loss, from the second epoch on."""
    objective = make(batch.label)
    seen = []
    for epoch in (1, 2, 3):
        objective.start_epoch()
        seen.append(float(objective(output(batch, epoch), batch, epoch).terms["text"].detach()))
    assert seen[:2] == [0, 0]
    assert seen[2] > 0


@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("ratio", [True, False])
def test_total_is_made_of_the_terms(batch: Batch, tanh: bool, ratio: bool) -> None:
    objective = make(batch.label, tanh_weight=tanh, ratio_weight=ratio)
    out = output(batch)
    objective.generator.label("text").copy_(batch.label + 0.5)
    loss = objective(out, batch, 1)
    l_m = (out.prediction - batch.label).abs().mean()
    l_t = ((out.tasks["text"] - batch.label - 0.5).abs() * (math.tanh(0.5) if tanh else 1)).mean()
    expected = (l_m**2 + l_t**2) / (l_m + l_t) if ratio else l_m + l_t
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.terms, {"multimodal": l_m, "text": l_t})
    assert sum(map(float, loss.weights.values())) == pytest.approx(1 if ratio else 2)


@pytest.mark.parametrize(("weighting", "ratio"), [("ratio", True), ("equal", False)])
def test_a_weighting_goes_before_ratio_weight(batch: Batch, weighting: str, ratio: bool) -> None:
    found = make(batch.label, tanh_weight=False, ratio_weight=not ratio, weighting=weighting)(output(batch), batch, 1)
    assert found == make(batch.label, tanh_weight=False, ratio_weight=ratio)(output(batch), batch, 1)


def test_the_temperature_and_each_epoch_reach_the_weighting(batch: Batch) -> None:
    """Of two tasks: softmax(rates / T) · 2, by hand, in the third epoch."""
    objective = make(batch.label, tanh_weight=False, weighting="dwa", temperature=0.5)
    terms = []
    for epoch in (1, 2, 3):
        objective.start_epoch()
        loss = objective(output(batch, epoch), batch, epoch)
        terms.append({task: float(term.detach()) for task, term in loss.terms.items()})
    rates = {task: min(2.0, terms[1][task] / terms[0][task]) for task in terms[0]}
    powers = {task: math.exp(rate / 0.5) for task, rate in rates.items()}
    expected = {task: 2 * power / sum(powers.values()) for task, power in powers.items()}
    assert {task: float(weight) for task, weight in loss.weights.items()} == pytest.approx(expected, abs=1e-5)


def heard(
    batch: Batch, auxiliary: list[str] | None, weighting: str | None = None
) -> tuple[Loss, dict[str, torch.Tensor]]:
    """The loss of a model of two auxiliary tasks, and the gradient that it gives each prediction."""
    objective = MultiTask(**ALL_ON | {"tanh_weight": False, "auxiliary": auxiliary, "weighting": weighting})
    objective.setup(batch.label, {"fusion": 4, "text": 3, "audio": 3})
    out = output(batch)
    out.tasks["audio"] = torch.zeros(len(batch), requires_grad=True)
    out.features["audio"] = torch.ones(len(batch), 3)
    loss = objective(out, batch, 1)
    loss.total.backward()
    found = {"multimodal": out.prediction, **out.tasks}
    assert set(objective.generated_labels()) == set(loss.terms) - {"multimodal"}
    return loss, {task: prediction.grad for task, prediction in found.items()}


@pytest.mark.parametrize("weighting", [None, "uncertainty", "dwa", "pcgrad"])
def test_only_the_auxiliary_tasks_that_are_named_are_trained(batch: Batch, weighting: str | None) -> None:
    """The others' heads get a gradient of zero, which several ranks need, and no share of the weights."""
    loss, grads = heard(batch, ["text"], weighting)
    assert set(loss.terms) == {"multimodal", "text"}
    assert grads["text"].abs().sum() > 0
    assert torch.equal(grads["audio"], torch.zeros(len(batch)))


def test_without_auxiliary_tasks_the_loss_is_that_of_the_multimodal_one(batch: Batch) -> None:
    loss, grads = heard(batch, [])
    torch.testing.assert_close(loss.total, L1()(output(batch), batch, 1).total)
    assert {task for task, grad in grads.items() if grad.any()} == {"multimodal"}


def test_without_auxiliary_tasks_none_is_left_without_a_loss(batch: Batch) -> None:
    """Which is why generator=none wants tanh_weight=false."""
    assert set(make(batch.label, generator="none", auxiliary=[])(output(batch), batch, 1).terms) == {"multimodal"}


def test_all_auxiliary_tasks_named_are_all_of_them(batch: Batch) -> None:
    assert heard(batch, ["audio", "text"])[0] == heard(batch, None)[0]


@pytest.mark.parametrize(
    ("auxiliary", "message"), [(["sound"], "sound is not a task of the model, which has text"), ("text", "give a list")]
)
def test_auxiliary_tasks_that_are_not_there_are_refused(batch: Batch, auxiliary: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(batch.label, auxiliary=auxiliary)


def test_without_weights_auxiliary_tasks_count_from_the_start(batch: Batch) -> None:
    objective = make(batch.label, tanh_weight=False, ratio_weight=False)
    out = output(batch)
    loss = objective(out, batch, 1)
    expected = (out.tasks["text"] - batch.label).abs().mean()
    torch.testing.assert_close(loss.terms["text"], expected)


def test_losses_stay_in_float32_under_autocast(batch: Batch) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = output(batch)
        out.prediction = out.prediction.bfloat16()
        loss = make(batch.label)(out, batch, 1)
        assert L1()(out, batch, 1).total.dtype == torch.float32
    assert loss.total.dtype == torch.float32
    assert all(t.dtype == torch.float32 for t in [*loss.terms.values(), *loss.weights.values()])


def test_an_epoch_starts_with_exact_sums(batch: Batch) -> None:
    """Running sums drift by rounding; here the drift is made."""
    objective, out = make(batch.label), output(batch)
    objective(out, batch, 1)
    for buffer in ("sum_text", "count_text", "sum_fusion", "count_fusion"):
        objective.generator.get_buffer(buffer).add_(0.5)
    objective.start_epoch()
    for task, features in out.features.items():
        expected = [features[batch.label < 0].mean(dim=0), features[batch.label > 0].mean(dim=0)]
        torch.testing.assert_close(objective.generator.centres(task), torch.stack(expected).detach())


@pytest.mark.parametrize("positive", [">", ">="])
def test_what_counts_as_positive_reaches_the_label_generation(batch: Batch, positive: str) -> None:
    batch.label = torch.tensor([-1.0, 0.0, 2.0, -3.0])
    objective, out = make(batch.label, positive=positive), output(batch)
    objective(out, batch, 1)
    members = [1, 2] if positive == ">=" else [2]
    expected = out.features["text"][members].mean(dim=0).detach()
    torch.testing.assert_close(objective.generator.centres("text")[1], expected)


def test_the_limit_reaches_the_label_generation(batch: Batch) -> None:
    """In the second epoch y' = y / 3 + 2 / 3 · guess, so that it lies within limit · 2 / 3 of y / 3."""
    objective = make(batch.label, limit=0.25)
    for epoch in (1, 2):
        objective(output(batch, epoch), batch, epoch)
    moved = (objective.generated_labels()["text"] - batch.label / 3).abs()
    assert float(moved.max()) == pytest.approx(0.25 * 2 / 3, abs=1e-6)


def test_generated_labels_are_those_of_the_auxiliary_tasks(batch: Batch) -> None:
    assert set(make(batch.label).generated_labels()) == {"text"}
    assert L1().generated_labels() == {}


def test_a_model_without_fusion_features_is_refused(batch: Batch) -> None:
    with pytest.raises(ValueError, match="feature_widths"):
        MultiTask(**ALL_ON).setup(batch.label, {})


def test_l1_is_the_mean_absolute_error(batch: Batch) -> None:
    out = output(batch)
    loss = L1()(out, batch, 1)
    torch.testing.assert_close(loss.total, torch.nn.functional.l1_loss(out.prediction, batch.label))


def test_the_generator_none_leaves_every_label() -> None:
    objective = make(TRUTH, generator="none", tanh_weight=False)
    out = ModelOutput(torch.zeros(3), {"text": PREDICTION}, {"fusion": torch.ones(3, 4), "text": torch.ones(3, 3)})
    batch = Batch(torch.arange(3), TRUTH)
    for epoch in (1, 2, 3):
        objective.start_epoch()
        loss = objective(out, batch, epoch)
    assert float(loss.terms["text"]) == pytest.approx((1 + 3 + 2) / 3)
    assert torch.equal(objective.generated_labels()["text"], TRUTH)


def test_crossfit_labels_are_made_before_the_first_epoch() -> None:
    objective, asked = make(TRUTH, generator="crossfit"), []

    def inputs() -> dict[str, torch.Tensor]:
        asked.append(1)
        return {"text": torch.tensor([[2.0], [-1.0], [0.5]])}

    objective.begin(inputs)
    assert asked == [1] and objective.generated_labels()["text"].isfinite().all()
    make(TRUTH).begin(lambda: pytest.fail("ULGM asks for nothing"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "guess"}, r"generator=guess: choose one of ulgm, none, crossfit"),
        (
            {"generator": "none"},
            r"generator=none leaves every label at y_m, where tanh_weight makes .*: objective.tanh_weight=false",
        ),
    ],
    ids=str,
)
def test_generators_that_make_no_sense_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(TRUTH, **options)


def test_a_state_of_an_earlier_version_is_read() -> None:
    """There the generator's name was ulgm."""
    objective = make(TRUTH)
    objective.generator.label("text").add_(0.5)
    old = {key.replace("generator.", "ulgm."): value for key, value in objective.state_dict().items()}
    again = make(TRUTH)
    again.load_state_dict(old)
    assert torch.equal(again.generated_labels()["text"], TRUTH + 0.5)


@pytest.mark.parametrize("detach", [True, False])
def test_ratios_without_detach_take_part_in_the_gradient(batch: Batch, detach: bool) -> None:
    """Of losses 1 and 3, so that dL / dL_m is 1/4, or (2 · 1 · 4 - 10) / 16."""
    n = len(batch)
    objective = MultiTask(tanh_weight=False, ratio_weight=True, detach_ratio=detach, positive=">", limit=3.0)
    objective.setup(batch.label, {"fusion": 4, "text": 3})
    prediction = (batch.label + 1).requires_grad_()
    out = ModelOutput(prediction, {"text": batch.label + 3}, {"fusion": torch.ones(n, 4), "text": torch.ones(n, 3)})
    objective(out, batch, 1).total.backward()
    torch.testing.assert_close(prediction.grad, torch.full((n,), (1 / 4 if detach else -2 / 16) / n))
