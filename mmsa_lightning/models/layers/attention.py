"""Unscaled dot-product attention over padded sequences: equations (3)-(11) of the paper."""

from __future__ import annotations

from torch import Tensor


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
