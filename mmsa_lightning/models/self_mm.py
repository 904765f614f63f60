"""Self-Supervised Multi-Task Multimodal Sentiment Analysis Network (Yu et al., AAAI 2021).

One head reads all modalities, and each modality has a head of its own. ``objectives/multitask.py`` trains these
single-modality heads on labels that it generates from the hidden layers of all heads. Original:
https://github.com/thuiar/Self-MM.

Differences from the original:

- Every LSTM reads up to the utterance's own last step. The original reads aligned audio and vision for as many steps as
  the text has tokens, and fails on a batch of one (``squeeze``).
- The gradient of a step is the mean over its accumulated batches. The last step of an epoch uses the batches that are
  left over. The original and thuiar/MMSA add the gradients up, and drop the batches that are left over. ``conf/``
  converts the L2 decay; Adam's ε is not converted, and so has four times the effect of theirs.
- The heads of single modalities run only in training: the prediction does not depend on them.
- Each head has three layers, as in the released code; the paper writes two.
- Any subset of the modalities works. Text as features goes through an LSTM, as audio and vision do.
- Audio and vision are standardised over the train split (``data.standardize``). The original and MMSA read them as they
  are.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import LSTMEncoder
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.models.output import ModelOutput


class SelfMM(nn.Module):
    """Works with any non-empty subset of text, audio and vision, aligned or not.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, from which BERT's [CLS] is read.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        lstm_hidden: LSTM units for each modality; ``text`` is used only if text comes as features.
        lstm_layers: layers of each LSTM.
        lstm_dropout: between the layers of each LSTM and on its last state.
        encoded: width to which each LSTM's last state is projected.
        hidden: width of the hidden layers of each head, ``fusion`` and one for each modality.
        dropout: on the input of each head, with the same keys.

    Raises:
        ValueError: no modality; a size below 1.
    """

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        lstm_hidden: Mapping[str, int],
        lstm_layers: int,
        lstm_dropout: float,
        encoded: Mapping[str, int],
        hidden: Mapping[str, int],
        dropout: Mapping[str, float],
    ) -> None:
        super().__init__()
        if not dims:
            raise ValueError("at least one modality is needed")
        if min(lstm_layers, *lstm_hidden.values(), *encoded.values(), *hidden.values()) < 1:
            raise ValueError("every width and the number of layers must be at least 1")
        self.modalities = list(dims)
        readers: dict[str, TextEncoder | LastState] = {
            m: TextEncoder(text_encoder, bert_dropout)
            if dim is None
            else LastState(dim, lstm_hidden[m], encoded[m], layers=lstm_layers, dropout=lstm_dropout)
            for m, dim in dims.items()
        }
        self.encoders = nn.ModuleDict(readers)
        width = {m: reader.width for m, reader in readers.items()}
        width["fusion"] = sum(width.values())
        self.heads = nn.ModuleDict({task: Head(width[task], hidden[task], dropout[task]) for task in width})
        self.feature_widths = {task: hidden[task] for task in ("fusion", *dims)}
        self.training_only = tuple(f"heads.{m}" for m in dims)  # modules that a prediction does not need

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance; in training also from each modality alone."""
        vectors = {m: self._read(m, batch.sequence(m)) for m in self.modalities}  # (batch, width_m)
        prediction, feature = self.heads["fusion"](torch.cat(list(vectors.values()), dim=-1))
        output = ModelOutput(prediction, features={"fusion": feature})
        if self.training:
            for m, vector in vectors.items():
                output.tasks[m], output.features[m] = self.heads[m](vector)
        return output

    def _read(self, m: str, sequence: Padded) -> Tensor:
        encoder = self.encoders[m]
        return encoder.first(sequence) if isinstance(encoder, TextEncoder) else encoder(sequence)


class LastState(nn.Module):
    """The last state of a unidirectional LSTM, projected: Self-MM's network for audio and for vision.

    Args:
        dim: feature width.
        hidden, layers: of the LSTM.
        width: of the returned vector.
        dropout: between the LSTM's layers and on its last state.
    """

    def __init__(self, dim: int, hidden: int, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0  # one layer has nothing in between, and torch would warn
        self.lstm = LSTMEncoder(dim, hidden, layers=layers, dropout=between, bidirectional=False)
        self.dropout = Dropout(dropout)
        self.project = nn.Linear(hidden, width)
        self.width = width

    def forward(self, sequence: Padded) -> Tensor:
        """Float (batch, time, dim) -> (batch, width)."""
        return self.project(self.dropout(self.lstm.last(sequence)))


class Head(nn.Module):
    """From one vector to a sentiment: f = ReLU(W_1 x + b_1), ŷ = W_3 ReLU(W_2 f + b_2) + b_3.

    The label generation stores f, which the paper calls F*, for each utterance.

    Args:
        inputs, hidden: widths of x and of both hidden layers.
        dropout: on x.
    """

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.feature = nn.Sequential(Dropout(dropout), nn.Linear(inputs, hidden), nn.ReLU())
        self.sentiment = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Float (batch, inputs) -> ŷ (batch,) and f (batch, hidden)."""
        feature = self.feature(vector)
        return self.sentiment(feature).squeeze(-1), feature
