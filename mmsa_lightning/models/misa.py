"""Modality-Invariant and -Specific Representations (Hazarika et al., ACM MM 2020).

Two encoders read the utterance vector of each modality: one that all modalities share, and one of its own. A
Transformer layer over their outputs predicts the sentiment. The losses in ``objectives/misa.py`` make the shared and
the private vectors differ. Original: https://github.com/declare-lab/MISA.

Differences from the original:

- No adversarial discriminator and no classifier of shared and private vectors: the published settings turn both off
  (``use_cmd_sim``, ``sp_weight`` 0), so that nothing trains them.
- Every sequence is read to its own end. thuiar/MMSA reads unaligned audio and vision only as far as the text is long.
- BERT is fine-tuned as a whole on any data. The original freezes its first nine layers on MOSEI; thuiar/MMSA does not.
- Two modalities are enough; the head's input and its hidden layer are then narrower by the same factor.
- Text as features goes through the same kind of recurrent encoder as audio and vision, as the original's word vectors
  do. Here the word vectors are features of the data, and not trained.
- Audio and vision are standardised over the train split (``data.standardize``). The original standardises each
  utterance by itself, and MMSA reads the features as they are.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
- The best epoch is the one with the lowest validation MAE, and ``patience`` says when to stop. The original and MMSA
  choose by the squared error, averaged within each batch and then over the batches.
- The gradient of a step is the mean over its accumulated batches, and is clipped once, before the step. MMSA adds the
  gradients up, and clips the sum so far after every batch. ``conf/`` converts the clip; Adam's ε is not converted. The
  original accumulates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import LSTMEncoder
from mmsa_lightning.models.layers.pooling import masked_mean
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.models.output import ModelOutput


class MISA(nn.Module):
    """Needs at least two of text, audio and vision, aligned or not.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: d_h, width of every projected, shared and private vector.
        heads: number of heads of the Transformer layer; it divides ``hidden``.
        feedforward: width of the hidden layer in the Transformer layer.
        transformer_dropout: inside the Transformer layer.
        dropout: on the hidden layer of the head.

    Raises:
        ValueError: fewer than two modalities; a size below 1; ``heads`` that do not divide ``hidden``.
    """

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        hidden: int,
        heads: int,
        feedforward: int,
        transformer_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        if len(dims) < 2:
            raise ValueError("MISA separates what modalities share from what is private to each: it needs at least two")
        if min(hidden, heads, feedforward) < 1:
            raise ValueError("every width and the number of heads must be at least 1")
        if hidden % heads:
            raise ValueError(f"hidden={hidden} cannot be divided among heads={heads}")
        self.modalities = list(dims)

        self.encoders = nn.ModuleDict(
            {m: TextEncoder(text_encoder, bert_dropout) if dim is None else StackedLSTM(dim) for m, dim in dims.items()}
        )
        widths = {m: int(self.encoders[m].width) for m in dims}  # type: ignore[arg-type]
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(widths[m], hidden), nn.ReLU(), nn.LayerNorm(hidden)) for m in dims}
        )
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(hidden, hidden), nn.Sigmoid()) for m in dims})
        self.shared = nn.Sequential(nn.Linear(hidden, hidden), nn.Sigmoid())
        self.reconstruct = nn.ModuleDict({m: nn.Linear(hidden, hidden) for m in dims})
        self.fusion = nn.TransformerEncoderLayer(hidden, heads, feedforward, transformer_dropout, batch_first=True)
        n = len(dims)
        self.head = nn.Sequential(
            nn.Linear(2 * n * hidden, n * hidden), nn.ReLU(), Dropout(dropout), nn.Linear(n * hidden, 1)
        )
        parts = ("private", "shared", "projected", "reconstructed")
        self.feature_widths = {f"{part}_{m}": hidden for part in parts for m in dims}

    training_only = ("reconstruct",)  # modules that a prediction does not need

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance; in training also give what the objective reads, as ``features``:
        ``projected_text`` (u), ``shared_text`` (h^c), ``private_text`` (h^p), ``reconstructed_text`` (û), and so on,
        each (batch, hidden)."""
        projected = {m: self.project[m](self._utterance(m, batch.sequence(m))) for m in self.modalities}
        private = {m: self.private[m](projected[m]) for m in self.modalities}
        shared = {m: self.shared(projected[m]) for m in self.modalities}
        stack = torch.stack([*private.values(), *shared.values()], dim=1)  # (batch, 2 modalities, hidden)
        output = ModelOutput(self.head(self.fusion(stack).flatten(1)).squeeze(-1))
        if self.training:
            for m in self.modalities:
                output.features[f"private_{m}"] = private[m]
                output.features[f"shared_{m}"] = shared[m]
                output.features[f"projected_{m}"] = projected[m]
                output.features[f"reconstructed_{m}"] = self.reconstruct[m](private[m] + shared[m])
        return output

    def _utterance(self, m: str, sequence: Padded) -> Tensor:
        """One vector for an utterance: the mean over BERT's last hidden states, or the final states of the LSTMs."""
        encoded: Tensor = self.encoders[m](sequence)
        return masked_mean(encoded, sequence.mask) if encoded.dim() == 3 else encoded


class StackedLSTM(nn.Module):
    """sLSTM: two bidirectional LSTMs, each with ``dim`` units per direction, and layer normalisation between them.

    Recurrent weights start orthogonal, as in the original.

    Args:
        dim: feature width, and units per direction of both LSTMs.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = LSTMEncoder(dim, dim)
        self.norm = nn.LayerNorm(2 * dim)
        self.second = LSTMEncoder(2 * dim, dim)
        self.width = 4 * dim
        for name, parameter in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(parameter)

    def forward(self, sequence: Padded) -> Tensor:
        """The final states of both: float (batch, time, dim) -> float (batch, 4 dim)."""
        steps, last = self.first.steps_and_last(sequence)
        return torch.cat([last, self.second.last(replace(sequence, values=self.norm(steps)))], dim=-1)
