"""Tensor Fusion Network (Zadeh et al., EMNLP 2017).

One vector for each modality, and the outer product of all of them, which holds every product of one, two and three
modalities' features. Original: https://github.com/A2Zadeh/TensorFusionNetwork.

Differences from the original:

- No batch normalisation, which in the original, and in MMSA, gives the utterance means of audio and vision zero mean
  and unit variance over a batch, and of which a batch of one has none. Here every step of audio and vision is
  standardised, over the train split (``data.standardize``), so that the means vary less. The original has before that
  divided vision by its largest value in train.
- Means and the LSTM leave padding out. The original, and MMSA after it, average over the zero padding, so that an
  utterance's mean depends on how far it is padded, and run the LSTM through it.
- Text's vector is a linear map of the LSTM's last state, as in the released code and in MMSA; the paper describes a
  dense network over its states.
- Dropout on the text too. The released code has none; MMSA has a rate for it, which a one-layer LSTM never uses.
- Rates and widths go by modality, not by position: MMSA orders dropouts audio, video, text, post-fusion, but widths
  text, audio, video.
- The output is scaled to the range of the labels, [-3, 3] on MOSI, as in MMSA; the released code scales it to [-4, 4].
- Any subset of the modalities; the original has all three. Text may be BERT's hidden states in place of word vectors.
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
from mmsa_lightning.models.layers.subnets import subnets, with_one
from mmsa_lightning.models.output import ModelOutput


class TFN(nn.Module):
    """Modality embedding sub-networks, the tensor fusion layer and the sentiment inference sub-network (sections
    4.1-4.3). Works with any non-empty subset of text, audio and vision, aligned or not.

    Args:
        dims: feature width of each modality read; None for text that comes as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`BertEncoder`.
        hidden: LSTM units for text; width of the three dense layers for audio and for vision.
        text_out: width of text's vector.
        dropout: for each modality: on text's last state, on the means of audio and vision.
        fusion_width: of the two hidden layers after the fusion.
        fusion_dropout: on the fused tensor.
        limit: predictions lie between -limit and limit. One that the config leaves null is the largest absolute value
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
            raise ValueError("every width is at least 1")
        if limit <= 0:
            raise ValueError(f"limit={limit}: give a number above 0")
        self.limit = limit
        self.encoders = subnets(dims, text_encoder, bert_dropout, hidden, text_out, dropout)
        size = math.prod(1 + cast(int, net.width) for net in self.encoders.values())
        self.inference = nn.Sequential(
            nn.Dropout(fusion_dropout),
            nn.Linear(size, fusion_width),
            nn.ReLU(),
            nn.Linear(fusion_width, fusion_width),
            nn.ReLU(),
            nn.Linear(fusion_width, 1),
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance, between -limit and limit.

        Args:
            batch: with every modality that ``dims`` named.
        """
        z = [net(batch.sequence(m)) for m, net in self.encoders.items()]  # (batch, width_m) each
        score = self.inference(tensor_fusion(z)).squeeze(-1)
        # sigmoid(score) from [0, 1] to [-limit, limit]; this form does not cancel near 0 in half precision.
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
