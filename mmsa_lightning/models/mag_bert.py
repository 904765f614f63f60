"""Multimodal Adaptation Gate for BERT (Rahman et al., ACL 2020).

The audio and vision that go with a word shift the word's vector inside a fine-tuned BERT, at one place between its
layers. Original: https://github.com/WasifurRahman/BERT_multimodal_transformer.

Differences from the original:

- The gate sits after the embeddings or after any one layer (``layer``). The paper compares such places; the released
  code and thuiar/MMSA have only the first, which is the default here.
- The bias of W_m a_m is multiplied by the gate, as in the released code, so closed gates shift nothing. In the paper it
  is outside the gate.
- BERT's pooler starts at random, as the gate and the head do (normal, standard deviation 0.02). The original keeps the
  pretrained pooler, which not every published BERT has.
- α is the paper's, without the original's 1e-6 in the divisor. Its norms are computed in float32, and their gradients
  are finite even where the shift or the word's vector is zero.
- BERT's own biases and layer norms have no weight decay. The original also exempts those of the gate and the head; here
  AdamW at the published rate shrinks these by 1e-7 of their size per step.
- The loss is the squared error, and the optimiser is AdamW with a linear warm-up, as in the original. thuiar/MMSA uses
  L1 and plain Adam without warm-up; only the tuned learning rates, dropouts and batch sizes come from it.
- One of audio and vision is enough. Text as features has no BERT: the gate shifts the word vectors, and the last state
  of an LSTM over them replaces the pooled [CLS].
- Audio and vision are standardised over the train split (``data.standardize``). The original and MMSA read them as they
  are.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
- AdamW is torch's, with an ε of 1e-8. The original uses that of transformers 3, which adds an ε of 1e-6 before the bias
  correction of the second moment: in the first step this equals an ε of 3e-5 here. It also applies the decay after the
  step and not before, a difference of 1e-12 per step.
- The weights of the epoch with the lowest validation MAE are kept, and ``patience`` may stop training before its 40
  epochs are over. The original trains on to the end, keeps no weights, and reports the lowest validation squared error
  and the highest test accuracy of any epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.alignment import check_aligned
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import LSTMEncoder, text_reader
from mmsa_lightning.models.layers.families import FAMILIES
from mmsa_lightning.models.layers.shift import shift_scale, shifting
from mmsa_lightning.models.layers.text_encoder import Pack, TextEncoder
from mmsa_lightning.models.output import ModelOutput

INITIAL_STD = 0.02  # BERT's initializer_range, which the original uses for its new parameters


class MAGBert(nn.Module):
    """BERT with a :class:`MAG`. Needs text, and at least one of audio and vision, aligned with the text.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        layer: where the gate sits: 0 after the embeddings (or the word vectors), j after BERT's j-th layer.
        beta_shift: β, the largest length of a shift, as a share of the length of the word's vector.
        dropout: on the shifted vectors.
        head_dropout: on the head's input.
        lstm_hidden: units of the LSTM over text that comes as features.

    Raises:
        ValueError: no text, or nothing but text; a ``layer`` that BERT does not have; a ``beta_shift`` that is not
            above 0; an ``lstm_hidden`` below 1.
    """

    needs_alignment = True

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        layer: int,
        beta_shift: float,
        dropout: float,
        head_dropout: float,
        lstm_hidden: int,
    ) -> None:
        super().__init__()
        nonverbal = shifting(dims, "MAG-BERT")
        if beta_shift <= 0:
            raise ValueError(f"beta_shift={beta_shift}: give a number above 0")
        if lstm_hidden < 1:
            raise ValueError(f"lstm_hidden={lstm_hidden}: give a whole number from 1")
        reader = text_reader(dims["text"], text_encoder, bert_dropout)
        layers = len(reader.layers) if isinstance(reader, TextEncoder) else 0
        if isinstance(reader, TextEncoder) and not layers:
            raise ValueError(
                f"MAG-BERT shifts words between the layers of its text encoder, and those of a "
                f"{reader.bert.config.model_type} model cannot be walked: choose one of {', '.join(FAMILIES)}"
            )
        if not 0 <= layer <= layers:
            raise ValueError(f"layer={layer}: this text has layers 0 (embeddings or word vectors) to {layers}")

        self.layer = layer
        self.nonverbal = list(nonverbal)
        self.encoders = nn.ModuleDict({"text": reader})
        self.mag = MAG(reader.width, nonverbal, beta_shift, dropout)
        if isinstance(reader, TextEncoder):
            self.pooler = nn.Linear(reader.width, reader.width)
        else:
            self.lstm = LSTMEncoder(reader.width, lstm_hidden, bidirectional=False)
        self.head_dropout = Dropout(head_dropout)
        self.head = nn.Linear(reader.width if isinstance(reader, TextEncoder) else lstm_hidden, 1)
        for name, part in self.named_children():
            if name != "encoders":
                part.apply(_initialise)

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance from its words, each shifted by the audio and vision that go with it.

        Raises:
            ValueError: modalities differ in length.
        """
        check_aligned(batch, ("text", *self.nonverbal), "MAG-BERT needs aligned modalities")
        text = batch.sequence("text")
        nonverbal = {m: batch.sequence(m).values for m in self.nonverbal}  # (batch, time, dim)

        def shifted(j: int, h: Tensor, pack: Pack) -> Tensor:
            return self.mag(h, {m: pack(values) for m, values in nonverbal.items()}) if j == self.layer else h

        reader = self.encoders["text"]
        if isinstance(reader, TextEncoder):
            vector = self.pooler(reader.first(text, shifted)).tanh()
        else:
            vector = self.lstm.last(replace(text, values=self.mag(reader(text), nonverbal)))
        return ModelOutput(self.head(self.head_dropout(vector)).squeeze(-1))


class MAG(nn.Module):
    """The Multimodal Adaptation Gate: z̄ = dropout(LayerNorm(z + α H)).

    The other modalities shift a word's vector z by H = Σ_m g_m ⊙ (W_m a_m + b_m), with gates
    g_m = ReLU(W_gm [a_m; z] + b_gm). α = min(β ||z|| / ||H||, 1) limits the length of the shift to β times that of z.

    Args:
        width: of z.
        dims: feature width of each other modality.
        beta_shift: β.
        dropout: on z̄.
    """

    def __init__(self, width: int, dims: Mapping[str, int], beta_shift: float, dropout: float) -> None:
        super().__init__()
        self.beta_shift = beta_shift
        self.gate = nn.ModuleDict({m: nn.Linear(dim + width, width) for m, dim in dims.items()})
        self.shift = nn.ModuleDict({m: nn.Linear(dim, width) for m, dim in dims.items()})
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, z: Tensor, nonverbal: Mapping[str, Tensor]) -> Tensor:
        """Float (batch, time, width) and, for each other modality, (batch, time, dim) -> (batch, time, width)."""
        gated = [
            self.gate[m](torch.cat([a, z], dim=-1)).relu() * self.shift[m](a)  # (batch, time, width)
            for m, a in nonverbal.items()
        ]
        shift = torch.stack(gated).sum(dim=0)
        return self.dropout(self.norm(z + shift_scale(z, shift, self.beta_shift) * shift))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INITIAL_STD)
        nn.init.zeros_(module.bias)
