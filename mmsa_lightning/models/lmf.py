"""Low-rank Multimodal Fusion (Liu et al., ACL 2018).

TFN's linear map of the outer product of all modalities, with its weights a sum of ``rank`` outer products of a factor
for each modality, so that the outer product itself is never formed. Original:
https://github.com/Justin1904/Low-rank-Multimodal-Fusion.

Differences from the original:

- Every parameter is trained, as in the original. MMSA leaves the weights over ranks and the bias out of its optimiser.
- Each rank's factor is initialised by itself (Xavier). The released code gives PyTorch all ranks as one tensor, taken
  for a convolution's, with the rank as the number of outputs.
- No batch normalisation, which in the original, and in MMSA, gives the utterance means of audio and vision zero mean
  and unit variance over a batch, and of which a batch of one has none. Here every step of audio and vision is
  standardised, over the train split (``data.standardize``), so that the means vary less.
- Means and the LSTM leave padding out; the original, and MMSA after it, average and read the zero padding as well.
- No dropout after the fusion: the released code and MMSA have a rate for it and never use it. Dropout on the text, as
  in the released code; in MMSA a one-layer LSTM never uses the rate.
- Rates and widths go by modality, not by position: MMSA orders dropouts audio, video, text, post-fusion, but widths
  text, audio, video.
- Any subset of the modalities; the original has all three. Text may be BERT's hidden states in place of word vectors.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
- The loss is a mean over the batch, as MMSA's, whose L2 decay this has. The original's is a sum, beside which decay
  weighs as many times less as a batch has utterances.
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
    """TFN's sub-networks and low-rank fusion down to the prediction. Works with any non-empty subset of text, audio and
    vision, aligned or not.

    Args:
        dims: feature width of each modality read; None for text that comes as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`BertEncoder`.
        hidden: LSTM units for text; width of the three dense layers for audio and for vision.
        text_out: width of text's vector.
        dropout: for each modality: on text's last state, on the means of audio and vision.
        rank: r, of the fusion's weights.

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
            batch: with every modality that ``dims`` named.
        """
        z = {m: net(batch.sequence(m)) for m, net in self.encoders.items()}  # (batch, width_m) each
        return ModelOutput(self.fusion(z).squeeze(-1))


class LowRankFusion(nn.Module):
    """h = W · ([1; z_1] ⊗ ... ⊗ [1; z_M]) + b with W = Σ_i λ_i w_1^(i) ⊗ ... ⊗ w_M^(i) for each output.

    In the paper every λ_i is 1; the released code learns them, and so does this.

    Args:
        widths: of each modality's vector.
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
        # w_m^(i) · [1; z_m] for every rank i: (batch, rank, outputs). Their product over m needs no outer product.
        projected = [torch.einsum("bd,rdh->brh", with_one(vectors[m]), w) for m, w in self.factors.items()]
        terms = functools.reduce(torch.mul, projected)
        return torch.einsum("r,brh->bh", self.weights, terms) + self.bias
