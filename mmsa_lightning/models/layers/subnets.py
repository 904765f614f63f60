"""Sub-networks from a modality's sequence to one vector: those of TFN, which LMF uses as well."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from mmsa_lightning.batch import Padded
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import LSTMEncoder, nonverbal, text_reader
from mmsa_lightning.models.layers.pooling import masked_mean


class TextSubNet(nn.Module):
    """z of text: a linear layer over the LSTM's state at the last real step.

    Args:
        dim: feature width; None for text that comes as tokens, which BERT encodes for the LSTM to read.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: LSTM units.
        out: width of z.
        dropout: on the LSTM's state.
    """

    def __init__(
        self, dim: int | None, text_encoder: str, bert_dropout: float, *, hidden: int, out: int, dropout: float
    ) -> None:
        super().__init__()
        self.reader = text_reader(dim, text_encoder, bert_dropout)
        self.lstm = LSTMEncoder(self.reader.width, hidden, bidirectional=False)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, out)
        self.width = out

    def forward(self, text: Padded) -> Tensor:
        """(batch, time, dim), or tokens (batch, time) -> (batch, out)."""
        words = Padded(self.reader(text), text.mask, text.lengths)
        return self.linear(self.dropout(self.lstm.last(words)))


class MeanSubNet(nn.Module):
    """z of audio or vision: three dense layers over the mean of the real steps.

    Args:
        dim: feature width.
        hidden: width of each layer, and of z.
        dropout: on the mean.
    """

    def __init__(self, dim: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [Dropout(dropout)]
        for inputs in (dim, hidden, hidden):
            layers += [nn.Linear(inputs, hidden), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.width = hidden

    def forward(self, sequence: Padded) -> Tensor:
        """(batch, time, dim) -> (batch, hidden)."""
        return self.layers(masked_mean(sequence.values, sequence.mask))


def subnets(
    dims: Mapping[str, int | None],
    text_encoder: str,
    bert_dropout: float,
    hidden: Mapping[str, int],
    text_out: int,
    dropout: Mapping[str, float],
) -> nn.ModuleDict:
    """One sub-network for each modality in ``dims``; each has a ``width``.

    Args:
        dims: feature width of each modality; None for text that comes as tokens.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: LSTM units for text, width of the dense layers for audio and vision.
        text_out: width of text's vector.
        dropout: for each modality, where :class:`TextSubNet` and :class:`MeanSubNet` have it.

    Raises:
        ValueError: no modality; a width below 1.
    """
    if not dims:
        raise ValueError("at least one modality is needed")
    if min(text_out, *hidden.values()) < 1:
        raise ValueError("every width must be at least 1")
    nets = nn.ModuleDict()
    if "text" in dims:
        nets["text"] = TextSubNet(
            dims["text"], text_encoder, bert_dropout, hidden=hidden["text"], out=text_out, dropout=dropout["text"]
        )
    for m, dim in nonverbal(dims).items():
        nets[m] = MeanSubNet(dim, hidden=hidden[m], dropout=dropout[m])
    return nets


def with_one(z: Tensor) -> Tensor:
    """[1; z]: (batch, width) -> (batch, 1 + width). Outer products of such vectors hold those of every subset."""
    return F.pad(z, (1, 0), value=1.0)
