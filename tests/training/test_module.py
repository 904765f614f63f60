from __future__ import annotations

import copy
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss, Objective
from mmsa_lightning.objectives.l1 import L1
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.schedules import build_schedule


class Noisy(nn.Module):
    """Its prediction shows the mode it runs in and the random numbers that it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.drawn: list[float] = []

    def forward(self, batch: Batch) -> ModelOutput:
        if self.training:
            self.drawn.append(float(torch.rand(1)))
        return ModelOutput(self.weight * batch.label + (5.0 if self.training else 1.0))


def fit(
    batches: list[Batch],
    epochs: int,
    seed: int,
    *,
    objective: Objective | None = None,
    lr: float = 0.0,
    accumulated: int = 1,
    schedule: Any = None,
) -> SentimentModule:
    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": model.parameters(), "name": "other"}], lr=lr)

    module = SentimentModule(Noisy(), objective or L1(), optimizer, seed, schedule)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"num_sanity_val_steps": 0, "accumulate_grad_batches": accumulated}
    trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", **options)
    loader = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader)
    return module


def test_random_numbers_are_a_function_of_seed_and_epoch(batch: Batch) -> None:
    first, again, other = (fit([batch], 3, seed).model.drawn for seed in (1, 1, 2))  # type: ignore[union-attr]
    assert first == again != other
    assert len(set(first)) == 3


def test_each_rank_draws_its_own_random_numbers(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    for rank in (0, 1, 2):
        monkeypatch.setattr(SentimentModule, "global_rank", rank)
        drawn[rank] = fit([batch], 3, 1).model.drawn
    monkeypatch.undo()
    assert drawn[0] == fit([batch], 3, 1).model.drawn  # a single process is rank 0
    assert len({number for numbers in drawn.values() for number in numbers}) == 9  # type: ignore[union-attr]


class Linear(nn.Module):
    """One weight for each audio feature, read at an utterance's first step."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 1)

    def forward(self, batch: Batch) -> ModelOutput:
        return ModelOutput(self.linear(batch.sequence("audio").values[:, 0]).squeeze(-1))


@pytest.mark.parametrize(("accumulated", "steps"), [(1, 7), (3, 3), (7, 1), (10, 1)])
def test_a_step_is_the_mean_over_its_batches_also_where_an_epoch_has_few_left(
    batch_of: Any, accumulated: int, steps: int
) -> None:
    """Adam with L2 decay, in a loop of plain torch. Seven batches, of which a short one weighs as much."""
    batches = [batch_of([2] * n, seed=i) for i, n in enumerate([4, 4, 4, 4, 4, 4, 1])]
    torch.manual_seed(0)
    model = Linear()
    alone = copy.deepcopy(model)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        groups = [{"params": model.parameters(), "name": "other"}]
        return torch.optim.Adam(groups, lr=0.1, weight_decay=0.5)

    module = SentimentModule(model, L1(), optimizer, seed=1)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=3, accelerator="cpu", accumulate_grad_batches=accumulated, **options)
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    assert trainer.global_step == 3 * steps

    adam = optimizer(alone)
    for _ in range(3):
        for start in range(0, len(batches), accumulated):
            group = batches[start : start + accumulated]
            errors = [(alone(batch).prediction - batch.label).abs() for batch in group]
            adam.zero_grad()
            (sum(error.mean() for error in errors) / len(group)).backward()
            adam.step()
    for name, weight in alone.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), weight, rtol=0, atol=1e-5)


class Fixed(Objective):
    """Says its losses and weights, which are those of an epoch's batches in turn."""

    def __init__(self, losses: list[Loss]) -> None:
        super().__init__()
        self.losses = losses

    def start_epoch(self) -> None:
        self.coming = iter(self.losses)

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        loss = next(self.coming)
        return loss._replace(total=loss.total + 0 * output.prediction.sum())


@pytest.mark.parametrize("accumulated", [1, 3])
def test_an_epochs_figures_are_means_over_utterances(batch: Batch, batch_of: Any, accumulated: int) -> None:
    """Batches of 4 and 1 utterances: four fifths of the first and one fifth of the second."""

    def loss(total: float, multimodal: float, text: float, weight: float) -> Loss:
        terms = {"multimodal": torch.tensor(multimodal), "text": torch.tensor(text)}
        return Loss(torch.tensor(total), terms, {"text": torch.tensor(weight)})

    objective = Fixed([loss(1.0, 2.0, 5.0, 0.25), loss(6.0, 3.0, 10.0, 0.5)])
    module = fit([batch, batch_of([2])], 2, 1, objective=objective, lr=0.125, accumulated=accumulated)
    logged = module.trainer.callback_metrics
    figures = {name: float(value) for name, value in logged.items() if not name.startswith("valid/")}
    assert figures == pytest.approx(
        {
            "train/loss": 2.0,
            "train/loss_multimodal": 2.2,
            "train/loss_text": 6.0,
            "train/weight_text": 0.3,
            "lr/other": 0.125,
        }
    )


def test_evaluation_predicts_in_evaluation_mode_by_position(batch: Batch) -> None:
    batch.index = torch.tensor([7, 2, 9, 4])
    module = fit([batch], 1, 1)
    assert module.predictions == {2: 1.0, 4: 1.0, 7: 1.0, 9: 1.0}
    assert module.model.training
    logged = module.trainer.callback_metrics
    torch.testing.assert_close(logged["valid/mae"].float(), (1 - batch.label).abs().mean())
    torch.testing.assert_close(logged["train/loss"], (5 - batch.label).abs().mean())


def test_a_plateau_is_one_of_the_validation_mae(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, step = [], torch.optim.lr_scheduler.ReduceLROnPlateau.step

    def seeing(self: Any, value: float) -> None:
        seen.append(value)
        step(self, value)

    monkeypatch.setattr(torch.optim.lr_scheduler.ReduceLROnPlateau, "step", seeing)
    settings = {"name": "plateau", "factor": 0.5, "patience": 0}
    module = fit([batch], 2, 1, lr=0.1, schedule=lambda optimizer, steps: build_schedule(optimizer, steps, settings))
    assert len(seen) == 2 and seen[-1] == float(module.trainer.callback_metrics["valid/mae"])
