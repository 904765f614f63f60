"""Gradients of several tasks beside TorchJD's own backward passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss, Objective
from mmsa_lightning.training import surgery
from mmsa_lightning.training.module import SentimentModule


class Heads(nn.Module):
    """A body that all tasks read, a layer that the first two read, and a head for each of the three."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 4)
        self.between = nn.Linear(4, 4)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(3))
        self.unread = nn.Linear(2, 2)

    def forward(self, batch: Batch) -> ModelOutput:
        shared = self.body(batch.sequence("audio").values[:, 0]).relu()
        between = self.between(shared).relu()
        main, text, audio = (
            head(x).squeeze(-1) for head, x in zip(self.heads, (between, between, shared), strict=True)
        )
        return ModelOutput(main, {"text": text, "audio": audio})

    def shared(self) -> list[nn.Parameter]:
        return [*self.body.parameters(), *self.between.parameters()]


def losses(output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
    """The tasks' labels disagree, and so do their gradients."""
    aims = {"multimodal": batch.label, "text": -batch.label, "audio": batch.label.flip(0)}
    predictions = {"multimodal": output.prediction, **output.tasks}
    return {task: (predictions[task] - aim).abs().mean() for task, aim in aims.items()}


def pairwise(gramian: Tensor) -> Tensor:
    """Weights that depend on all of the Gramian."""
    return 1 + gramian.sum(dim=1) / gramian.diagonal().sum()


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in model.named_parameters()}


def by_hand(model: Heads, terms: dict[str, Tensor], combine: Callable[[Tensor], Tensor]) -> Tensor:
    """Add to the gradients what :func:`surgery.backward` should, one row of the Jacobian a task. Returns weights."""
    shared, own = model.shared(), [*model.heads.parameters()]
    jacobian = []
    for term in terms.values():
        row = torch.autograd.grad(term, shared, retain_graph=True, materialize_grads=True)
        jacobian.append(torch.cat([g.flatten() for g in row]))
    rows = torch.stack(jacobian)
    weights = combine(rows @ rows.T)
    combined = (weights @ rows).split([p.numel() for p in shared])
    plain = torch.autograd.grad(sum(terms.values(), torch.zeros(())), own)
    for p, gradient in zip([*shared, *own], [*combined, *plain], strict=True):
        p.grad = (torch.zeros_like(p) if p.grad is None else p.grad) + gradient.view_as(p)
    return weights


@pytest.fixture
def models() -> tuple[Heads, Heads]:
    torch.manual_seed(0)
    model = Heads()
    return model, copy.deepcopy(model)


def test_shared_parameters_get_a_weighted_sum_and_others_their_own(models: tuple[Heads, Heads], batch: Batch) -> None:
    """Twice, as where batches are accumulated."""
    ours, theirs = models
    for half in (0.5, 0.25):
        terms = losses(ours(batch), batch)
        total = half * sum(terms.values(), torch.zeros(()))
        weights = surgery.backward(total, [*terms.values()], ours.parameters(), pairwise)
        scaled = {task: half * loss for task, loss in losses(theirs(batch), batch).items()}
        torch.testing.assert_close(weights, by_hand(theirs, scaled, pairwise))
    assert ours.unread.weight.grad is None
    torch.testing.assert_close(gradients(ours), gradients(theirs))


def test_equal_weights_are_an_ordinary_backward_pass(models: tuple[Heads, Heads], batch: Batch) -> None:
    ours, theirs = models
    terms = losses(ours(batch), batch)
    surgery.backward(
        sum(terms.values(), torch.zeros(())), [*terms.values()], ours.parameters(), lambda g: g.new_ones(3)
    )
    sum(losses(theirs(batch), batch).values(), torch.zeros(())).backward()
    torch.testing.assert_close(gradients(ours), gradients(theirs))


@pytest.mark.parametrize("rule", ["UPGrad", "PCGrad"])
def test_weights_do_not_depend_on_how_large_gradients_are(rule: str, models: tuple[Heads, Heads], batch: Batch) -> None:
    """As where many batches are accumulated."""
    pytest.importorskip("torchjd", reason="needs TorchJD: the extra jd")
    from mmsa_lightning.objectives.weighting import Surgery

    found = []
    for model, scale in zip(models, (1.0, 1e-4), strict=True):
        terms = losses(model(batch), batch)
        torch.manual_seed(1)  # PCGrad's order
        total = scale * sum(terms.values(), torch.zeros(()))
        found.append(surgery.backward(total, [*terms.values()], model.parameters(), Surgery(3, rule=rule).combine))
    torch.testing.assert_close(*found)
    assert (found[0] - 1).abs().max() > 0.01


@pytest.mark.parametrize("rule", ["UPGrad", "PCGrad"])
def test_beside_torchjds_mtl_backward(rule: str, models: tuple[Heads, Heads], batch: Batch) -> None:
    """Which knows what is shared from a model that is cut in two: here the body, with the layer between frozen."""
    autojac = pytest.importorskip("torchjd.autojac", reason="needs TorchJD: the extra jd")
    from torchjd import aggregation

    from mmsa_lightning.objectives.weighting import Surgery

    ours, theirs = models
    for model in models:
        model.between.requires_grad_(False)
    terms = losses(ours(batch), batch)
    torch.manual_seed(1)  # PCGrad's order
    combine = Surgery(3, rule=rule).combine
    surgery.backward(sum(terms.values(), torch.zeros(())), [*terms.values()], ours.parameters(), combine)

    features: list[Tensor] = []
    theirs.body.register_forward_hook(lambda *_: features.append(_[-1]))
    terms = losses(theirs(batch), batch)
    autojac.mtl_backward([*terms.values()], features=features, retain_graph=True)
    torch.manual_seed(1)
    aggregator = aggregation.UPGrad(torch.ones(3)) if rule == "UPGrad" else aggregation.PCGrad()
    autojac.jac_to_grad(theirs.body.parameters(), aggregator)
    torch.testing.assert_close(gradients(ours), gradients(theirs))
    assert ours.body.weight.grad is not None
    plain = torch.autograd.grad(sum(losses(ours(batch), batch).values(), torch.zeros(())), ours.body.weight)
    assert not torch.allclose(ours.body.weight.grad, plain[0], atol=1e-3), "nothing conflicts here"


class Conflicting(Objective):
    @property
    def combine(self) -> Callable[[Tensor], Tensor]:
        return pairwise

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        terms = losses(output, batch)
        return Loss(sum(terms.values(), torch.zeros(())), terms, {})


@pytest.mark.parametrize("accumulated", [1, 3])
def test_lightning_accumulates_clips_and_logs(accumulated: int, models: tuple[Heads, Heads], batch_of: Any) -> None:
    """Two epochs of four batches beside a loop of plain torch; the last step of three accumulated has one batch."""
    ours, theirs = models
    batches = [batch_of([2] * n, seed=i) for i, n in enumerate([4, 4, 4, 2])]

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": model.parameters(), "name": "other"}], lr=0.5)

    module = SentimentModule(ours, Conflicting(), optimizer, seed=1)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"accumulate_grad_batches": accumulated, "gradient_clip_val": 0.5, "num_sanity_val_steps": 0}
    loader = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    L.Trainer(max_epochs=2, accelerator="cpu", **options).fit(module, loader, loader)

    steps = optimizer(theirs)
    for _ in range(2):
        logged = torch.zeros(3)
        for start in range(0, len(batches), accumulated):
            group = batches[start : start + accumulated]
            steps.zero_grad()
            for batch in group:
                scaled = {task: loss / len(group) for task, loss in losses(theirs(batch), batch).items()}
                logged += len(batch) * by_hand(theirs, scaled, pairwise)
            norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            assert norm > 0.5, "nothing to clip here"
            steps.step()
    for name, weight in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), weight, rtol=0, atol=1e-5)
    found = [float(module.trainer.callback_metrics[f"train/weight_{task}"]) for task in ("multimodal", "text", "audio")]
    assert found == pytest.approx((logged / 14).tolist(), abs=1e-5)
