from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.module import SentimentModule
from mmsa_lightning.objectives.base import Loss, Objective
from mmsa_lightning.objectives.l1 import L1


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
    batches: list[Batch], epochs: int, seed: int, *, objective: Objective | None = None, lr: float = 0.0
) -> SentimentModule:
    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": model.parameters(), "name": "other"}], lr=lr)

    module = SentimentModule(Noisy(), objective or L1(), optimizer, seed)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **options)
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


def test_an_epochs_figures_are_means_over_utterances(batch: Batch, batch_of: Any) -> None:
    """Batches of 4 and 1 utterances: four fifths of the first and one fifth of the second."""

    def loss(total: float, multimodal: float, text: float, weight: float) -> Loss:
        terms = {"multimodal": torch.tensor(multimodal), "text": torch.tensor(text)}
        return Loss(torch.tensor(total), terms, {"text": torch.tensor(weight)})

    objective = Fixed([loss(1.0, 2.0, 5.0, 0.25), loss(6.0, 3.0, 10.0, 0.5)])
    logged = fit([batch, batch_of([2])], 2, 1, objective=objective, lr=0.125).trainer.callback_metrics
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
