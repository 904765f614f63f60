"""Unscaled dot-product attention over padded sequences: equations (3)-(11) of the paper."""

from __future__ import annotations

import torch
from torch import Tensor

from mmsa_lightning.precision import full


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """M = query keyᵀ, equations (3) and (6)-(7), in float32 or wider.

    Nothing scales them, so they are large: half precision would round away what softmax tells apart.

    Args:
        query: float (batch, q, dim).
        key: float (batch, k, dim).

    Returns:
        float (batch, q, k).
    """
    with torch.autocast(query.device.type, enabled=False):
        return full(query) @ full(key).transpose(1, 2)


def attention_weights(scores: Tensor, key_mask: Tensor) -> Tensor:
    """A = softmax(M), equations (4) and (8)-(9); padded keys get no weight.

    Args:
        scores: float (batch, q, k).
        key_mask: bool (batch, k), True on real steps; at least one in each row.

    Returns:
        float (batch, q, k); rows sum to 1.
    """
    return scores.masked_fill(~key_mask[:, None, :], float("-inf")).softmax(dim=-1)
