"""Low-rank Multimodal Fusion (Liu et al., ACL 2018).

Like TFN, a linear map of the outer product of all modalities. The weights of the map are a sum of ``rank`` terms, each
an outer product of one factor for each modality, so the outer product of the modalities is never formed. Original:
https://github.com/Justin1904/Low-rank-Multimodal-Fusion.

Differences from the original:

- Every parameter is trained, as in the original. MMSA leaves the weights over ranks and the bias out of its optimiser.
- Each rank's factor is initialised by itself (Xavier). The released code initialises all ranks as one tensor, which
  PyTorch takes for the weights of a convolution with the rank as its number of outputs.
- No batch normalisation. In the original and in MMSA, it gives the utterance means of audio and vision zero mean and
  unit variance over a batch, which is undefined for a batch of one. Here every step of audio and vision is
  standardised over the train split (``data.standardize``), so the means vary less than after batch normalisation.
- The means and the LSTM leave padding out; in the original and in MMSA both include the zero padding.
- No dropout after the fusion: the released code and MMSA have a rate for it and never use it. Text has dropout, as in
  the released code; MMSA gives this rate to a one-layer LSTM, which does not use it.
- Dropout rates and widths are named by modality. MMSA gives them by position: dropouts in the order audio, video, text,
  post-fusion, but widths in the order text, audio, video.
- Any subset of the modalities works; the original needs all three. Text may be BERT's hidden states instead of word
  vectors.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
- The loss is a mean over the batch, as in MMSA, and the L2 decay is MMSA's. The original's loss is a sum over the
  batch: beside it, the same decay weighs less, by a factor of the batch size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.subnets import subnets, with_one
from mmsa_lightning.models.output import ModelOutput


class LMF(nn.Module):
    """TFN's sub-networks, and a low-rank fusion that gives the prediction. Works with any non-empty subset of text,
    audio and vision, aligned or not.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: LSTM units for text; width of the three dense layers for audio and for vision.
        text_out: width of text's vector.
        dropout: for each modality; on the LSTM's last state for text, on the mean for audio and vision.
        rank: r, the rank of the fusion's weights.

    Raises:
        ValueError: no modality; a width or a rank below 1.
    """

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        hidden: Mapping[str, int],
        text_out: int,
        dropout: Mapping[str, float],
        rank: int,
    ) -> None:
        super().__init__()
        self.encoders = subnets(dims, text_encoder, bert_dropout, hidden, text_out, dropout)
        self.fusion = LowRankFusion({m: cast(int, net.width) for m, net in self.encoders.items()}, 1, rank=rank)

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance.

        Args:
            batch: has every modality in ``dims``.
        """
        z = {m: net(batch.sequence(m)) for m, net in self.encoders.items()}  # (batch, width_m) each
        return ModelOutput(self.fusion(z).squeeze(-1))


class LowRankFusion(nn.Module):
    """h = W · ([1; z_1] ⊗ ... ⊗ [1; z_M]) + b with W = Σ_i λ_i w_1^(i) ⊗ ... ⊗ w_M^(i) for each output.

    In the paper every λ_i is 1; here they are learnt, as in the released code.

    Args:
        widths: width of each modality's vector.
        outputs: width of h.
        rank: r, how many terms W has.

    Raises:
        ValueError: a rank below 1.
    """

    def __init__(self, widths: Mapping[str, int], outputs: int, *, rank: int) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank={rank}: give a whole number from 1")
        self.factors = nn.ParameterDict({m: torch.empty(rank, 1 + width, outputs) for m, width in widths.items()})
        self.weights = nn.Parameter(torch.empty(rank))  # λ
        self.bias = nn.Parameter(torch.zeros(outputs))
        for m, width in widths.items():
            nn.init.normal_(self.factors[m], std=math.sqrt(2 / (1 + width + outputs)))  # Xavier
        nn.init.normal_(self.weights, std=math.sqrt(2 / (rank + 1)))  # Xavier, from r ranks to one

    def forward(self, vectors: Mapping[str, Tensor]) -> Tensor:
        """float (batch, width_m) by modality -> float (batch, outputs)."""
        # w_m^(i) · [1; z_m] for every rank i: (batch, rank, outputs). Multiplying these over m needs no outer product.
        projected = [torch.einsum("bd,rdh->brh", with_one(vectors[m]), w) for m, w in self.factors.items()]
        terms = functools.reduce(torch.mul, projected)
        return torch.einsum("r,brh->bh", self.weights, terms) + self.bias
