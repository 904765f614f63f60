"""Mean squared error of the multimodal prediction, which some of the original systems are trained on."""

from __future__ import annotations

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss, Objective


class MSE(Objective):
    """mean (ŷ - y)²."""

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        loss = (full(output.prediction) - batch.label).square().mean()
        return Loss(loss, {"multimodal": loss}, {})
