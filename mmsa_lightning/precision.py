"""Losses, generated labels and metrics are never in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """``x`` in float32, or in its own dtype where that is wider (``trainer.precision=64-true``)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
