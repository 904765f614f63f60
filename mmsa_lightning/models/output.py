"""What every model returns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

from torch import Tensor, nn

from mmsa_lightning.errors import UserError


@dataclass
class ModelOutput:
    """The same for all models, so that objective, metrics and report never ask which one it was.

    Attributes:
        prediction: float (batch,), the multimodal sentiment; another shape is a UserError.
        tasks: float (batch,) for each auxiliary task (text, audio, vision); empty in evaluation.
        features: the representations that an objective reads, float (batch, width): ``fusion`` and one for each
            auxiliary task.
        attention: float (batch, target steps, source steps) weights by name, such as ``text<-audio``; on request.
    """

    prediction: Tensor
    tasks: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prediction.dim() != 1:  # (batch, 1) against labels (batch,) would be a loss of all pairs
            raise UserError(
                f"a model's prediction has the shape {tuple(self.prediction.shape)}: give one number an utterance, "
                "(batch,), as .squeeze(-1) makes of (batch, 1)"
            )


def attends(model: nn.Module) -> bool:
    """Whether ``model`` can tell its weights over steps, by ``forward(batch, return_attention=True)``.

    A model that is built with or without attention says which by an attribute ``attends``.
    """
    return getattr(model, "attends", True) and "return_attention" in inspect.signature(model.forward).parameters
