"""Dropout that makes four decisions of one random number: on a CPU torch's own spends its time on drawing them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS = 1 << 16  # p is rounded to a multiple of 1 / STEPS


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """What ``torch.nn.functional.dropout`` computes, from other random numbers; on a GPU it is that function.

    Args:
        x: float, of any shape.
        p: which part of x becomes zero, in the mean; the rest is divided by 1 - p.
        training: off: x, unchanged.
    """
    dropped = round(p * STEPS)
    if not training or dropped == 0 or x.device.type != "cpu":
        return nn.functional.dropout(x, p, training)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    numbers = drawn.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-STEPS / 2, STEPS / 2)
    kept = (numbers >= dropped - STEPS // 2).to(x.dtype)
    return x * kept.mul_(STEPS / (STEPS - dropped))


class Dropout(nn.Dropout):
    """A module of :func:`dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)


def replace_dropout(module: nn.Module) -> None:
    """Put a :class:`Dropout` in the place of each ``nn.Dropout`` in ``module``."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
