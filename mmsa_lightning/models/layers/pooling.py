"""From a padded sequence to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmsa_lightning.models.layers.precision import full

MODES = ("mean", "cls", "attention")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real steps: float (batch, time, width), bool (batch, time) -> (batch, width), float32 or wider."""
    return _weighted_sum(mask, values) / mask.sum(dim=1, keepdim=True)


def _weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_t w_t x_t: (batch, time) and (batch, time, width) -> (batch, width), in float32 or wider.

    Autocast would round the weights to half precision. They are nearly equal, so all would be rounded the same way.
    """
    values = full(values)
    with torch.autocast(values.device.type, enabled=False):
        return torch.einsum("bt,btd->bd", weights.to(values.dtype), values)


class Pooling(nn.Module):
    """Pool the real steps of a sequence.

    Args:
        mode: ``mean`` over the real steps; ``cls``, the first step; ``attention``, a mean weighted by a learned score
            of each step.
        width: of the sequence; only ``attention`` has parameters.
    """

    def __init__(self, mode: str, width: int) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"pooling={mode!r}: choose one of {MODES}")
        self.mode = mode
        self.score = nn.Linear(width, 1) if mode == "attention" else None

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """float (batch, time, width) and bool (batch, time) -> (batch, width); means are float32 or wider."""
        if self.mode == "cls":
            return values[:, 0]
        if self.score is None:
            return masked_mean(values, mask)
        scores = full(self.score(values)).squeeze(-1).masked_fill(~mask, float("-inf"))
        return _weighted_sum(scores.softmax(dim=1), values)

    def of_attended(self, weights: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """``forward(weights @ values, mask)``, with less work where the pooling is the same for all values.

        Args:
            weights: float (batch, time, keys).
            values: float (batch, keys, width).
            mask: bool (batch, time).
        """
        if self.score is not None:
            return self(weights @ values, mask)
        return _weighted_sum(self(weights, mask), values)
