"""A text encoder over only the real tokens of a batch, joined end to end.

All of a transformer but its attention works on each token by itself. So each family that is packed needs nothing but an
attention that takes a :class:`Packing`: the one registered here under :data:`NAME`, or :class:`RelativeAttention`. It
pads only sequences of like length, so that its time and memory, too, follow each sequence's own length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mmsa_lightning.batch import Padded
from mmsa_lightning.models.layers.attention import scaled_attention
from mmsa_lightning.models.layers.groups import like_lengths

NAME = "packed"
TILE = 32  # tokens


def whole_tiles(sequence: Padded) -> Tensor:
    """Which steps are packed in half precision, bool (batch, time): the real ones, and padding up to a whole tile.

    For every number of tokens that is new, oneDNN writes kernels for each product in bfloat16 and keeps them: that
    takes nearly the time of the products themselves, and hundreds of megabytes. So there are few such numbers.
    """
    room = sequence.mask.shape[1] - sequence.lengths
    wanted = -sequence.lengths.sum() % TILE
    added = (wanted - (room.cumsum(0) - room)).clamp(min=0).minimum(room)  # to the first sequences that have room
    return torch.arange(sequence.mask.shape[1]) < (sequence.lengths + added)[:, None]


class Grid:
    """The places of packed steps among padded sequences.

    Args:
        mask: bool (batch, time), True on real steps.
        rows: int64 (tokens,), of each packed token its place in the flattened mask; None: nothing is packed, and packed
            means padded.
    """

    def __init__(self, mask: Tensor, rows: Tensor | None) -> None:
        self.mask = mask
        self.rows = rows

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, time, ...) -> (1, tokens, ...)."""
        return padded if self.rows is None else padded.flatten(0, 1).index_select(0, self.rows).unsqueeze(0)

    def unpack(self, packed: Tensor) -> Tensor:
        """(1, tokens, ...) -> (batch, time, ...), with zeros on padding that was left out."""
        if self.rows is None:
            return packed
        shape = packed.shape[2:]
        empty = packed.new_zeros(self.mask.numel(), *shape)
        return empty.index_copy_(0, self.rows, packed[0]).view(*self.mask.shape, *shape)


class Packing(Grid):
    """The real steps of a batch, sequence by sequence from the shortest to the longest. On a GPU a batch stays padded:
    there starting kernels takes the time, not padding. In half precision a little padding is among them, see
    :func:`whole_tiles`.

    Args:
        sequence: the padded batch.
        padded: leave the batch as it is on a CPU, too.

    Attributes:
        groups: one after the other, the sequences that attention pads to the same length; see :func:`like_lengths`.
            Empty where the batch stays padded.
    """

    def __init__(self, sequence: Padded, padded: bool = False) -> None:
        super().__init__(sequence.mask, None)
        self.groups: list[Grid] = []
        if padded or sequence.mask.device.type != "cpu":
            return
        kept = whole_tiles(sequence) if torch.is_autocast_enabled("cpu") else sequence.mask
        lengths = kept.sum(dim=1)
        found = like_lengths(lengths)
        order = torch.cat(found)
        number, step = kept[order].nonzero().unbind(1)
        self.rows = order[number] * kept.shape[1] + step
        ends = lengths[order].cumsum(0)
        self.starts = (ends - lengths[order])[order.argsort()]  # of each sequence, its first token
        for some in found:
            longest = int(lengths[some].max())
            self.groups.append(Grid(sequence.mask[some, :longest], kept[some, :longest].flatten().nonzero().squeeze(1)))

    def first(self, packed: Tensor) -> Tensor:
        """The first step of each sequence: (1, tokens, ...) -> (batch, ...)."""
        return packed[:, 0] if self.rows is None else packed[0].index_select(0, self.starts)

    @property
    def positions(self) -> Tensor:
        """int64 (1, tokens): each token's place in its own sequence."""
        time = self.mask.shape[1]
        return (torch.arange(time, device=self.mask.device) if self.rows is None else self.rows % time).unsqueeze(0)


@dataclass(frozen=True)
class FirstOfAll:
    """Asks a layer for the first token of each sequence alone: it gets these as h, and reads keys and values from all.

    Attributes:
        packing: of ``all``.
        all: float (1, tokens, width), the layer's input.
        projections: names of the parts of an attention that make keys and values.
    """

    packing: Packing
    all: Tensor
    projections: tuple[str, str]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    packing: Packing | FirstOfAll | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Each layer calls this: query, key and value (batch, heads, time, width) -> (batch, time, heads, width)."""
    if packing is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, **options)
    if isinstance(packing, FirstOfAll):
        made = (getattr(module, name)(packing.all) for name in packing.projections)
        key, value = (x.unflatten(-1, (-1, query.shape[-1])).transpose(1, 2) for x in made)
    return attend(query, key, value, packing, dropout, window=sliding_window), None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing | FirstOfAll,
    p: float,
    *,
    bias: Tensor | None = None,
    window: int | None = None,
) -> Tensor:
    """Attention within each sequence of a packed batch.

    Args:
        query: float (1, heads, tokens, width); with :class:`FirstOfAll` (batch, heads, 1, width).
        key, value: float (1, heads, tokens, width).
        packing: of the tokens.
        p: dropout of the weights.
        bias: float (1, heads, time, time), added to the scores; with :class:`FirstOfAll` (1, heads, 1, time).
        window: a token sees only those that lie less than this many steps away.

    Returns:
        float (1, tokens, heads, width), or (batch, 1, heads, width).
    """
    if isinstance(packing, FirstOfAll):  # so few scores that padding does no harm
        key, value = (_padded(packing.packing, x) for x in (key, value))
        return _within(query, key, value, packing.packing.mask, p, bias, window)
    if packing.rows is None:
        return _within(query, key, value, packing.mask, p, bias, window)
    sizes = [len(group.rows) for group in packing.groups if group.rows is not None]
    read = []
    for group, *part in zip(packing.groups, *(x.split(sizes, dim=2) for x in (query, key, value)), strict=True):
        q, k, v = (_padded(group, x) for x in part)
        read.append(group.pack(_within(q, k, v, group.mask, p, bias, window)))
    return torch.cat(read, dim=1)


def _padded(grid: Grid, packed: Tensor) -> Tensor:
    """(1, heads, tokens, width) -> (batch, heads, time, width)."""
    return grid.unpack(packed.transpose(1, 2)).transpose(1, 2)


def _within(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, p: float, bias: Tensor | None, window: int | None
) -> Tensor:
    """As :func:`attend`, over padded sequences: (batch, heads, time, width) -> (batch, time, heads, width)."""
    queries, keys = query.shape[2], key.shape[2]
    allowed = mask[:, None, None, :]
    if window is not None:
        step = torch.arange(keys, device=key.device)
        near = (step[:queries, None] - step).abs() < window
        # Padding sees all: with nothing to see it would be not a number, and so would gradients.
        allowed = allowed & (near | ~mask[:, None, :queries, None])
    if bias is not None:
        bias = bias[:, :, :queries, :keys]
    return scaled_attention(query, key, value, allowed, p, bias).transpose(1, 2)


class RelativeAttention(nn.Module):
    """MPNet's attention, whose scores have a bias that depends on how far apart two tokens are, over a packed batch.

    Args:
        own: transformers' ``MPNetSelfAttention``, whose parts this takes over under their names.
    """

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o, self.dropout = own.q, own.k, own.v, own.o, own.dropout
        self.head_width: int = own.attention_head_size

    def forward(
        self, hidden_states: Tensor, attention_mask: Packing | FirstOfAll, position_bias: Tensor, **options: Any
    ) -> tuple[Tensor]:
        """Float (1, tokens, width) -> the same; the packing comes in the place of the mask."""
        read = attention_mask.all if isinstance(attention_mask, FirstOfAll) else hidden_states
        made = (self.q(hidden_states), self.k(read), self.v(read))
        query, key, value = (x.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for x in made)
        p = self.dropout.p if self.training else 0.0
        return (self.o(attend(query, key, value, attention_mask, p, bias=position_bias).flatten(2)),)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
