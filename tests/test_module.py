from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.module import SentimentModule
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


def fit(batches: list[Batch], epochs: int, seed: int) -> SentimentModule:
    module = SentimentModule(
        Noisy(), L1(), lambda model: torch.optim.SGD([{"params": model.parameters(), "name": "other"}], lr=0.0), seed
    )
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **options)
    loader = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader)
    return module


def test_random_numbers_are_a_function_of_seed_and_epoch(batch: Batch) -> None:
    first, again, other = (fit([batch], 3, seed).model.drawn for seed in (1, 1, 2))  # type: ignore[union-attr]
    assert first == again != other
    assert len(set(first)) == 3


def test_evaluation_predicts_in_evaluation_mode_by_position(batch: Batch) -> None:
    batch.index = torch.tensor([7, 2, 9, 4])
    module = fit([batch], 1, 1)
    assert module.predictions == {2: 1.0, 4: 1.0, 7: 1.0, 9: 1.0}
    assert module.model.training
    logged = module.trainer.callback_metrics
    torch.testing.assert_close(logged["valid/mae"].float(), (1 - batch.label).abs().mean())
    torch.testing.assert_close(logged["train/loss"], (5 - batch.label).abs().mean())
