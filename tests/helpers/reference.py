"""Layers written out from their formulas, to compare models with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def linear(layer: nn.Linear, x: list[float]) -> list[float]:
    """A linear layer, element by element."""
    bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    rows = zip(layer.weight.tolist(), bias, strict=True)
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in rows]


def relu(x: list[float]) -> list[float]:
    return [max(v, 0.0) for v in x]


def lstm(lstm: nn.LSTM, steps: Iterable[Tensor], suffix: str = "_l0") -> list[Tensor]:
    """h (hidden,) after each step of one direction of one layer, gate by gate.

    Args:
        lstm: whose weights; torch keeps the gates in the order input, forget, new, output.
        steps: (dim,) each.
        suffix: of the names of the weights.
    """
    p = {name.removesuffix(suffix): value for name, value in lstm.named_parameters() if name.endswith(suffix)}
    h = c = torch.zeros(lstm.hidden_size)
    states = []
    for x in steps:
        gates = p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return states
