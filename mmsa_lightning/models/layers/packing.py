"""BERT over only the real tokens of a batch, joined end to end, so that padding costs time only in attention.

A BERT that was loaded with ``attn_implementation=packing.NAME`` takes a :class:`Packing` together with its inputs.
Without one it reads padded batches, like any other BERT.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mmsa_lightning.batch import Padded
from mmsa_lightning.models.layers.dropout import dropout

NAME = "packed"


class Packing:
    """The places of the real steps in a padded batch. On a GPU a batch stays padded: there starting kernels takes the
    time, not padding.

    Args:
        sequence: the padded batch.
    """

    def __init__(self, sequence: Padded) -> None:
        self.mask = sequence.mask
        self.rows = sequence.mask.flatten().nonzero().squeeze(1) if sequence.mask.device.type == "cpu" else None

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, time, ...) -> (1, tokens, ...)."""
        return padded if self.rows is None else padded.flatten(0, 1).index_select(0, self.rows).unsqueeze(0)

    def unpack(self, packed: Tensor) -> Tensor:
        """(1, tokens, ...) -> (batch, time, ...), with zeros on padding."""
        if self.rows is None:
            return packed
        shape = packed.shape[2:]
        empty = packed.new_zeros(self.mask.numel(), *shape)
        return empty.index_copy(0, self.rows, packed[0]).view(*self.mask.shape, *shape)

    def first(self, packed: Tensor) -> Tensor:
        """The first step of each sequence: (1, tokens, ...) -> (batch, ...)."""
        return packed[:, 0] if self.rows is None else packed[0, self.positions[0] == 0]

    @property
    def positions(self) -> Tensor:
        """int64 (1, tokens): each token's place in its own sequence."""
        time = self.mask.shape[1]
        return (torch.arange(time, device=self.mask.device) if self.rows is None else self.rows % time).unsqueeze(0)


def first_of(layer: Any, h: Tensor, packing: Packing) -> Tensor:
    """The output of a layer for the first token of each sequence, [CLS], without the work for the others.

    Args:
        layer: transformers' ``BertLayer``.
        h: float (1, tokens, width), its input.
        packing: of h.

    Returns:
        float (batch, width).
    """
    reader = layer.attention.self
    cls = packing.first(h)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, reader.attention_head_size)).transpose(1, 2)  # (batch, heads, time, head width)

    query, key, value = reader.query(cls).unsqueeze(1), packing.unpack(reader.key(h)), packing.unpack(reader.value(h))
    p = reader.dropout.p if reader.training else 0.0
    read = _attend(heads(query), heads(key), heads(value), packing.mask, p)
    return layer.feed_forward_chunk(layer.attention.output(read.flatten(1), cls))


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Each layer calls this: query, key and value (batch, heads, time, width) -> (batch, time, heads, width)."""
    if packing is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, **options)
    query, key, value = (packing.unpack(x.transpose(1, 2)).transpose(1, 2) for x in (query, key, value))
    return packing.pack(_attend(query, key, value, packing.mask, dropout).transpose(1, 2)), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, p: float) -> Tensor:
    """Scaled dot-product attention: (batch, heads, time, width), and the keys' mask bool (batch, time)."""
    allowed = mask[:, None, None, :]
    if p == 0 or query.device.type != "cpu":
        return nn.functional.scaled_dot_product_attention(query, key, value, allowed, p)
    # With dropout, torch's own also takes these single steps on a CPU, and draws its random numbers more slowly.
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
    return dropout(scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1), p, training=True) @ value


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
