"""What every model returns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class ModelOutput:
    """The same for all models, so that objective, metrics and report never ask which one it was.

    Attributes:
        prediction: float (batch,), the multimodal sentiment.
        tasks: float (batch,) for each auxiliary task (text, audio, vision); empty in evaluation.
        features: the representations that an objective reads, float (batch, width): ``fusion`` and one for each
            auxiliary task.
        attention: float (batch, target steps, source steps) weights by name, such as ``text<-audio``; on request.
    """

    prediction: Tensor
    tasks: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)


def attends(model: nn.Module) -> bool:
    """Whether ``model`` can tell its weights over steps, by ``forward(batch, return_attention=True)``.

    A model that is built with or without attention says which by an attribute ``attends``.
    """
    return getattr(model, "attends", True) and "return_attention" in inspect.signature(model.forward).parameters
