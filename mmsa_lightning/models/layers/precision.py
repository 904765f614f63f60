"""Losses, generated labels and metrics are never in half precision; and which devices have one."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """``x`` in float32, or in its own dtype where that is wider (``trainer.precision=64-true``)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def processor_has_bf16() -> bool:
    """Whether the processor itself computes in bfloat16. torch imitates it on others, more slowly than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def gpu_has_bf16(index: int) -> bool:
    """Whether a GPU itself computes in bfloat16: NVIDIA's from compute capability 8.0 on, and AMD's."""
    return torch.cuda.get_device_properties(index).major >= 8 or bool(torch.version.hip)
