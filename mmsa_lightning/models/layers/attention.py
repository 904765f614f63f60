"""Dot-product attention over padded sequences: unscaled, the paper's equations (3)-(11), and scaled."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmsa_lightning.models.layers.dropout import dropout
from mmsa_lightning.models.layers.precision import full


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """M = query keyᵀ, equations (3) and (6)-(7): (batch, q, dim) and (batch, k, dim) -> (batch, q, k)."""
    return query @ key.transpose(1, 2)


def attention_weights(scores: Tensor, key_mask: Tensor) -> Tensor:
    """A = softmax(M), equations (4) and (8)-(9); padded keys get no weight.

    Args:
        scores: float (batch, q, k).
        key_mask: bool (batch, k), True on real steps; at least one in each row.

    Returns:
        float (batch, q, k); rows sum to 1.
    """
    return scores.masked_fill(~key_mask[:, None, :], float("-inf")).softmax(dim=-1)


def scaled_attention(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, p: float, bias: Tensor | None = None
) -> Tensor:
    """softmax(query keyᵀ / √width + bias) value, as ``torch.nn.functional.scaled_dot_product_attention``.

    Args:
        query: float (batch, heads, q, width).
        key, value: float (batch, heads, k, width).
        allowed: bool, to be broadcast to (batch, heads, q, k): what may be read; at least one key in each row.
        p: dropout of the weights.
        bias: float, to be broadcast likewise.

    Returns:
        float (batch, heads, q, width).
    """
    if p == 0 or query.device.type != "cpu":
        mask = allowed if bias is None else bias.to(query.dtype).masked_fill(~allowed, float("-inf"))
        return nn.functional.scaled_dot_product_attention(query, key, value, mask, p)
    # With dropout, torch's own also takes single steps on a CPU, and draws its random numbers more slowly. In bfloat16
    # softmax would lose more time than the products gain, and have kernels written for every length that is new.
    with torch.autocast("cpu", enabled=False):
        query, key, value = full(query), full(key), full(value)
        added = (query.new_zeros(()) if bias is None else full(bias)).masked_fill(~allowed, float("-inf"))
        scores = torch.baddbmm(
            added.expand(*query.shape[:2], -1, -1).flatten(0, 1),
            query.flatten(0, 1),
            key.flatten(0, 1).transpose(1, 2),
            alpha=1 / math.sqrt(query.shape[-1]),
        )
        return dropout(scores.softmax(dim=-1).unflatten(0, query.shape[:2]), p, training=True) @ value
