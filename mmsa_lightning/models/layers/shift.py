"""How far audio and vision may shift a word's vector (RAVEN, MAG-BERT)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmsa_lightning.models.layers.encoders import nonverbal


def shifting(dims: Mapping[str, int | None], model: str) -> dict[str, int]:
    """Feature width of each modality that shifts the words.

    Args:
        dims: feature width of each modality; None for text that comes as tokens.
        model: what the message calls the model.

    Raises:
        ValueError: no text, or nothing but text.
    """
    others = nonverbal(dims)
    if "text" not in dims or not others:
        raise ValueError(f"{model} shifts words by audio and vision: it needs text, and audio or vision")
    return others


def shift_scale(word: Tensor, shift: Tensor, beta: float) -> Tensor:
    """α = min(β ||z|| / ||h||, 1): no shift h is longer than β times its word z.

    Written as β ||z|| / max(||h||, β ||z||): this and its gradient are defined even where h, or both, are zero.

    Args:
        word, shift: float (..., width).
        beta: β.

    Returns:
        (..., 1), float32 or wider: a norm may be too large for half precision.
    """
    dtype = torch.promote_types(word.dtype, torch.float32)
    limit = beta * torch.linalg.vector_norm(word, dim=-1, keepdim=True, dtype=dtype)
    longer = torch.maximum(torch.linalg.vector_norm(shift, dim=-1, keepdim=True, dtype=dtype), limit)
    return limit / longer.clamp_min(torch.finfo(dtype).tiny)
