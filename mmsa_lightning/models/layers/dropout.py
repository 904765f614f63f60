"""Dropout that uses each random number four times: on a CPU, torch's own spends its time on drawing them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS = 1 << 16  # p is rounded to a multiple of 1 / STEPS


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """The same as ``torch.nn.functional.dropout``, but from other random numbers; on a GPU it calls that function.

    Args:
        x: float, of any shape.
        p: the mean share of x that becomes zero; the rest is divided by 1 - p.
        training: off: returns x unchanged.
    """
    dropped = round(p * STEPS)
    if not training or dropped == 0 or x.device.type != "cpu":
        return nn.functional.dropout(x, p, training)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    numbers = drawn.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-STEPS / 2, STEPS / 2)
    kept = (numbers >= dropped - STEPS // 2).to(x.dtype)
    return x * kept.mul_(STEPS / (STEPS - dropped))


class Dropout(nn.Dropout):
    """:func:`dropout` as a module."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)


def replace_dropout(module: nn.Module) -> None:
    """Replace each ``nn.Dropout`` in ``module`` with a :class:`Dropout`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
