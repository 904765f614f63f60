"""Multimodal Transformer for Unaligned Multimodal Language Sequences (Tsai et al., ACL 2019).

Each modality, as target, reads each other one, as source, with a crossmodal transformer: the queries are the target's
steps, the keys and values are the source's. Then a self-attention transformer for each target, its memory, goes over
what the target has read. Original: https://github.com/yaohungt/Multimodal-Transformer.

Differences from the original:

- Sinusoidal positions are used, as in the original; MMSA has had them off since 2022-09. An utterance's first step has
  position 1. The original treats any step whose first channel is 0 as padding, and gives it no position.
- Padded steps are set to zero before the convolution. They are never attended to, and never taken as the last step. The
  original has no padding mask: its attention reads the zeros, and on right-padded data it predicts from a padded step.
- The future mask is computed from each utterance's own lengths. The original computes it from the padded lengths, so
  the steps that a step may read depend on the batch.
- Convolutions keep the length. The original's shorten it by kernel - 1, and fail on an utterance shorter than the
  kernel.
- Features that already have the common width are convolved too, as the paper says; the original leaves them unchanged.
- Keys have no bias: softmax ignores a constant that is added to all its scores, so the bias would have no gradient.
- Keys and values share one draw of the embedding dropout; the original draws twice.
- The input text has its own dropout rate, as in MMSA; the original uses that of the embedding dropout.
- Two of the modalities are enough. Text may be BERT's hidden states instead of word vectors.
- No weight decay, as in the original. MMSA's settings have one, but its optimiser never gets it. Here, a decay that is
  set is applied.
- Audio and vision are standardised over the train split (``data.standardize``). The original and MMSA read them as they
  are.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
- Training stops early, by ``patience``; the original always trains its 40 epochs.
- With the tuned settings, which are MMSA's, the gradient of a step is the mean over its accumulated batches, and is
  clipped once, before the step. MMSA adds the gradients up, and clips the sum so far after every batch. ``conf/``
  converts the clip; Adam's ε is not converted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.attention import scaled_attention
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import nonverbal, text_reader
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput


class MulT(nn.Module):
    """Temporal convolutions, directional crossmodal transformers, a memory for each target and a residual head. Needs
    two or three of text, audio and vision, aligned or not.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        width: d, the common width. A memory is d wide for each source of its target.
        kernel: size of the convolution over each modality's steps.
        heads: number of heads of every attention.
        layers: D, number of layers of each crossmodal transformer.
        memory_layers: number of layers of each memory; the original has at least 3.
        attn_mask: on: no step reads a step in its future; see :func:`attention_mask`.
        text_dropout: on the input text.
        attention_dropout: on attention weights over each source modality, and in the ``memory`` of every target.
        embedding_dropout: on the input of each transformer.
        residual_dropout: on the outputs of attention and feed-forward that are added to the residual stream.
        relu_dropout: on the hidden layer of a feed-forward.
        output_dropout: on the hidden layer of the head.

    Raises:
        ValueError: fewer than two modalities; a size below 1; a width that its heads do not divide; a dropout outside
            [0, 1).
    """

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        width: int,
        kernel: Mapping[str, int],
        heads: int,
        layers: int,
        memory_layers: int,
        attn_mask: bool,
        text_dropout: float,
        attention_dropout: Mapping[str, float],
        embedding_dropout: float,
        residual_dropout: float,
        relu_dropout: float,
        output_dropout: float,
    ) -> None:
        super().__init__()
        if len(dims) < 2:
            raise ValueError("MulT attends from one modality to another: it needs at least two of text, audio, vision")
        if min(width, heads, layers, memory_layers, *kernel.values()) < 1:
            raise ValueError("every width, kernel and number of heads or layers must be at least 1")
        if width % heads:
            raise ValueError(f"heads={heads} does not divide width={width}")
        dropouts = [text_dropout, embedding_dropout, residual_dropout, relu_dropout, output_dropout]
        if not all(0 <= p < 1 for p in [*dropouts, *attention_dropout.values()]):
            raise ValueError("every dropout must be in [0, 1)")
        self.modalities = list(dims)
        self.attn_mask = attn_mask

        self.encoders = nn.ModuleDict()
        if "text" in dims:
            reader = text_reader(dims["text"], text_encoder, bert_dropout)
            self.encoders["text"] = reader
            self.text_dropout = Dropout(text_dropout)
            self.text_convolution = TemporalConvolution(reader.width, width, kernel["text"])
        for m, dim in nonverbal(dims).items():
            self.encoders[m] = TemporalConvolution(dim, width, kernel[m])

        def transformer(width: int, layers: int, reads: str) -> Transformer:
            return Transformer(
                width,
                heads,
                layers,
                attention_dropout=attention_dropout[reads],
                embedding_dropout=embedding_dropout,
                residual_dropout=residual_dropout,
                relu_dropout=relu_dropout,
            )

        self.crossmodal = nn.ModuleDict(
            {f"{target}<-{source}": transformer(width, layers, source) for target, source in self._pairs()}
        )
        remembered = (len(dims) - 1) * width
        self.memory = nn.ModuleDict({m: transformer(remembered, memory_layers, "memory") for m in dims})
        joined = len(dims) * remembered
        self.residual = nn.Sequential(
            nn.Linear(joined, joined), nn.ReLU(), Dropout(output_dropout), nn.Linear(joined, joined)
        )
        self.head = nn.Linear(joined, 1)

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance.

        Args:
            batch: has every modality in ``dims``; their lengths may differ.
        """
        masks = {m: batch.sequence(m).mask for m in self.modalities}
        steps = {m: self._convolve(m, batch) for m in self.modalities}  # (batch, time, d)
        read: dict[str, list[Tensor]] = {m: [] for m in self.modalities}
        for target, source in self._pairs():
            mask = attention_mask(masks[target], masks[source], future=not self.attn_mask)
            read[target].append(self.crossmodal[f"{target}<-{source}"](steps[target], steps[source], mask))
        last = []
        for m in self.modalities:
            mask = attention_mask(masks[m], masks[m], future=not self.attn_mask)
            last.append(last_step(self.memory[m](torch.cat(read[m], dim=-1), None, mask), masks[m]))
        fusion = torch.cat(last, dim=-1)  # (batch, modalities * (modalities - 1) * d)
        fusion = fusion + self.residual(fusion)
        return ModelOutput(self.head(fusion).squeeze(-1))

    def _pairs(self) -> list[tuple[str, str]]:
        """(target, source) pairs: the target reads the source."""
        return [(target, source) for target in self.modalities for source in self.modalities if source != target]

    def _convolve(self, m: str, batch: Batch) -> Tensor:
        sequence = batch.sequence(m)
        if m == "text":
            return self.text_convolution(self.text_dropout(self.encoders[m](sequence)), sequence.mask)
        return self.encoders[m](sequence.values, sequence.mask)


class TemporalConvolution(nn.Module):
    """Section 3.2, temporal convolutions: every step sees its neighbours, and all modalities get the same width.

    Args:
        dim: feature width.
        width: d.
        kernel: how many steps it sees; before the first real step and after the last one it sees zeros.
    """

    def __init__(self, dim: int, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, width, kernel, padding="same", bias=False)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """float (batch, time, dim) and bool (batch, time) -> float (batch, time, width)."""
        real = values.masked_fill(~mask.unsqueeze(-1), 0.0)
        return self.conv(real.transpose(1, 2)).transpose(1, 2)


class Transformer(nn.Module):
    """Section 3.2: a crossmodal transformer; without a source, a self-attention transformer.

    All layers read the same source features, not the output of another transformer.

    Args:
        width, heads, layers: of the transformer.
        attention_dropout, embedding_dropout, residual_dropout, relu_dropout: see :class:`MulT`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        *,
        attention_dropout: float,
        embedding_dropout: float,
        residual_dropout: float,
        relu_dropout: float,
    ) -> None:
        super().__init__()
        self.dropout = Dropout(embedding_dropout)
        self.layers = nn.ModuleList(
            Layer(width, heads, attention_dropout, residual_dropout, relu_dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, target: Tensor, source: Tensor | None, mask: Tensor) -> Tensor:
        """Let the target's steps read the source's.

        Args:
            target: float (batch, q, width).
            source: float (batch, k, width); None: self-attention, each layer reads its own input.
            mask: bool (batch, q, k), True where a target step may read a source step; see :func:`attention_mask`.

        Returns:
            float (batch, q, width).
        """
        target = self._embed(target)
        source = None if source is None else self._embed(source)
        for layer in self.layers:
            target = layer(target, source, mask)
        return self.norm(target)

    def _embed(self, steps: Tensor) -> Tensor:
        steps = full(steps)
        time, width = steps.shape[1:]
        return self.dropout(math.sqrt(width) * steps + positions(time, width, steps.device, steps.dtype))


class Layer(nn.Module):
    """Attention, then a position-wise feed-forward. Each normalises its input and has a residual connection.

    Args:
        width, heads: of the attention.
        attention_dropout, residual_dropout, relu_dropout: see :class:`MulT`.
    """

    def __init__(
        self, width: int, heads: int, attention_dropout: float, residual_dropout: float, relu_dropout: float
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = CrossmodalAttention(width, heads, attention_dropout)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            _xavier(nn.Linear(width, 4 * width)),
            nn.ReLU(),
            Dropout(relu_dropout),
            _xavier(nn.Linear(4 * width, width)),
        )
        self.dropout = Dropout(residual_dropout)

    def forward(self, target: Tensor, source: Tensor | None, mask: Tensor) -> Tensor:
        """As :meth:`Transformer.forward`, for one layer."""
        queries = self.norm_attention(target)
        keys = queries if source is None else self.norm_attention(source)
        target = target + self.dropout(self.attention(queries, keys, mask))
        return target + self.dropout(self.feed_forward(self.norm_feed_forward(target)))


class CrossmodalAttention(nn.Module):
    """Section 3.1: Y = softmax(Q Kᵀ / √d_k) V with Q = X_α W_Q, K = X_β W_K, V = X_β W_V, in several heads.

    Args:
        width: of both modalities.
        heads: number of heads; it divides ``width``, and d_k = width / heads.
        dropout: on the weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        gain = math.sqrt(0.5)  # the original draws all three as one matrix, with twice the inputs plus outputs
        self.query = _xavier(nn.Linear(width, width), gain)
        self.key = _xavier(nn.Linear(width, width, bias=False), gain)
        self.value = _xavier(nn.Linear(width, width), gain)
        self.out = _xavier(nn.Linear(width, width))

    def forward(self, target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """float (batch, q, width), float (batch, k, width) and bool (batch, q, k) -> float (batch, q, width)."""
        q, k, v = (
            steps.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, time, d_k)
            for steps in (self.query(target), self.key(source), self.value(source))
        )
        p = self.dropout if self.training else 0.0
        read = scaled_attention(q, k, v, mask.unsqueeze(1), p)
        return self.out(read.transpose(1, 2).flatten(2))


def attention_mask(target: Tensor, source: Tensor, *, future: bool) -> Tensor:
    """Which source steps each target step may read: only real ones, and none in its future.

    With n source steps and m target steps, step i reads the steps up to i + |n - m|, as in the original. Every step,
    also a padded one, reads the first source step, so that no row is empty.

    Args:
        target: bool (batch, q), True on real steps.
        source: bool (batch, k), likewise; at least one in each row.
        future: whether a step may also read steps in its future.

    Returns:
        bool (batch, q, k).
    """
    real = source.unsqueeze(1)  # (batch, 1, k)
    if future:
        return real.expand(-1, target.shape[1], -1)
    offset = (source.sum(dim=1) - target.sum(dim=1)).abs()  # (batch,)
    i = torch.arange(target.shape[1], device=target.device)[:, None]
    j = torch.arange(source.shape[1], device=target.device)
    return real & (j <= i + offset[:, None, None])


def positions(time: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sinusoidal positions 1, 2, …: ``dtype`` (time, width).

    As in the original's code, the first half of the channels holds sines and the second half cosines; if the width is
    odd, the last channel is 0.
    """
    half = width // 2
    rate = torch.exp(torch.arange(half, device=device, dtype=dtype) * (-math.log(10000) / max(half - 1, 1)))
    angle = torch.arange(1, time + 1, device=device)[:, None] * rate  # (time, half)
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))


def last_step(steps: Tensor, mask: Tensor) -> Tensor:
    """The last real step: float (batch, time, width) and bool (batch, time) -> float (batch, width)."""
    return steps[torch.arange(len(steps), device=steps.device), mask.sum(dim=1) - 1]


def _xavier(linear: nn.Linear, gain: float = 1.0) -> nn.Linear:
    nn.init.xavier_uniform_(linear.weight, gain)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear
