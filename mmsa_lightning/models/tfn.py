"""Tensor Fusion Network (Zadeh et al., EMNLP 2017).

Each modality gives one vector. The outer product of these vectors, each with a 1 in front, holds all products of
features of one, two and three modalities. Original: https://github.com/A2Zadeh/TensorFusionNetwork.

Differences from the original:

- No batch normalisation. In the original and in MMSA, it gives the utterance means of audio and vision zero mean and
  unit variance over a batch, which is undefined for a batch of one. Here every step of audio and vision is standardised
  over the train split (``data.standardize``), so the means vary less than after batch normalisation. Before its batch
  normalisation, the original divides vision by its largest value in train.
- The means and the LSTM leave padding out. In the original and in MMSA both include the zero padding, so an utterance's
  mean depends on how far it is padded.
- Text's vector is a linear map of the LSTM's last state, as in the released code and in MMSA; the paper describes a
  dense network over its states.
- Text has dropout too. The released code has none; MMSA gives a rate for it to a one-layer LSTM, which does not use it.
- Dropout rates and widths are named by modality. MMSA gives them by position: dropouts in the order audio, video, text,
  post-fusion, but widths in the order text, audio, video.
- The output is scaled to the range of the labels, [-3, 3] on MOSI, as in MMSA; the released code scales it to [-4, 4].
- Any subset of the modalities works; the original needs all three. Text may be BERT's hidden states instead of word
  vectors.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.subnets import subnets, with_one
from mmsa_lightning.models.output import ModelOutput


class TFN(nn.Module):
    """Modality embedding sub-networks, the tensor fusion layer and the sentiment inference sub-network (sections
    4.1-4.3). Works with any non-empty subset of text, audio and vision, aligned or not.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: LSTM units for text; width of the three dense layers for audio and for vision.
        text_out: width of text's vector.
        dropout: for each modality; on the LSTM's last state for text, on the mean for audio and vision.
        fusion_width: width of the two hidden layers after the fusion.
        fusion_dropout: on the fused tensor.
        limit: predictions lie between -limit and limit. If it is null in the config, it is the largest absolute value
            of the data's label range.

    Raises:
        ValueError: no modality; a width below 1; a limit that is not above 0.
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
        fusion_width: int,
        fusion_dropout: float,
        limit: float,
    ) -> None:
        super().__init__()
        if fusion_width < 1:
            raise ValueError("every width must be at least 1")
        if limit <= 0:
            raise ValueError(f"limit={limit}: give a number above 0")
        self.limit = limit
        self.encoders = subnets(dims, text_encoder, bert_dropout, hidden, text_out, dropout)
        size = math.prod(1 + cast(int, net.width) for net in self.encoders.values())
        self.inference = nn.Sequential(
            Dropout(fusion_dropout),
            nn.Linear(size, fusion_width),
            nn.ReLU(),
            nn.Linear(fusion_width, fusion_width),
            nn.ReLU(),
            nn.Linear(fusion_width, 1),
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance, between -limit and limit.

        Args:
            batch: has every modality in ``dims``.
        """
        z = [net(batch.sequence(m)) for m, net in self.encoders.items()]  # (batch, width_m) each
        score = self.inference(tensor_fusion(z)).squeeze(-1)
        # Equals sigmoid(score) scaled to [-limit, limit]; this form does not cancel near 0 in half precision.
        return ModelOutput(self.limit * (score / 2).tanh())


def tensor_fusion(vectors: Sequence[Tensor]) -> Tensor:
    """[1; z_1] ⊗ ... ⊗ [1; z_M], flattened, the last index running fastest.

    Args:
        vectors: float (batch, width_m), one for each modality.

    Returns:
        float (batch, Π (1 + width_m)).
    """
    return functools.reduce(_outer, (with_one(z) for z in vectors))


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("bi,bj->bij", a, b).flatten(1)
