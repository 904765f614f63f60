"""Mean absolute error of the multimodal prediction: the objective of a model that brings none of its own."""

from __future__ import annotations

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss, Objective
from mmsa_lightning.precision import full


class L1(Objective):
    """mean |ŷ - y|."""

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        loss = (full(output.prediction) - batch.label).abs().mean()
        return Loss(loss, {"multimodal": loss}, {})
