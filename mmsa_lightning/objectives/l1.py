"""Mean absolute error of the multimodal prediction: the objective of a model that brings none of its own."""

from __future__ import annotations

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss, Objective


class L1(Objective):
    """mean |ŷ - y|."""

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        loss = (full(output.prediction) - batch.label).abs().mean()
        return Loss(loss, {"multimodal": loss}, {})
