"""Unscaled dot-product attention over padded sequences: equations (3)-(11) of the paper."""

from __future__ import annotations

from torch import Tensor


def attention_weights(query: Tensor, key: Tensor, key_mask: Tensor) -> Tensor:
    """A = softmax(query keyᵀ), equations (3)-(4) and (6)-(9); padded keys get no weight.

    Args:
        query: float (batch, q, dim).
        key: float (batch, k, dim).
        key_mask: bool (batch, k), True on real steps; at least one in each row.

    Returns:
        float (batch, q, k); rows sum to 1.
    """
    scores = query @ key.transpose(1, 2)  # (batch, q, k)
    return scores.masked_fill(~key_mask[:, None, :], float("-inf")).softmax(dim=-1)
