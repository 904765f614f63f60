"""From a padded sequence to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MODES = ("mean", "cls", "attention")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real steps alone: float (batch, time, width) and bool (batch, time) -> float (batch, width)."""
    weights = mask / mask.sum(dim=1, keepdim=True)
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
        """float (batch, time, width) and bool (batch, time) -> float (batch, width)."""
        if self.mode == "cls":
            return values[:, 0]
        if self.score is None:
            return masked_mean(values, mask)
        weights = self.score(values).squeeze(-1).masked_fill(~mask, float("-inf")).softmax(dim=1)
        return torch.einsum("bt,btd->bd", weights.to(values.dtype), values)
