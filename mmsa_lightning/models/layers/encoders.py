"""Sequence encoders: text in either form, LSTM over features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmsa_lightning.batch import Padded
from mmsa_lightning.models.layers.dropout import dropout
from mmsa_lightning.models.layers.text_encoder import TextEncoder


class Features(nn.Module):
    """Passes on text that comes as features, unchanged; it takes the place of the text encoder in a model.

    Args:
        dim: feature width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, sequence: Padded) -> Tensor:
        """float (batch, time, dim), unchanged."""
        return sequence.values


def text_reader(dim: int | None, text_encoder: str, bert_dropout: float) -> TextEncoder | Features:
    """The module that reads text: a :class:`TextEncoder` for tokens (``dim`` None), else :class:`Features`."""
    return TextEncoder(text_encoder, bert_dropout) if dim is None else Features(dim)


def nonverbal(dims: Mapping[str, int | None]) -> dict[str, int]:
    """Feature width of each modality except text; only text may come as tokens (None)."""
    return {m: dim for m, dim in dims.items() if m != "text" and dim is not None}


class LSTMEncoder(nn.Module):
    """An LSTM over only the real steps. If bidirectional, it is h = biLSTM(X), equation (2).

    Args:
        dim: feature width.
        hidden: units per direction.
        layers, dropout, bidirectional: as in ``nn.LSTM``.
    """

    def __init__(
        self, dim: int, hidden: int, *, layers: int = 1, dropout: float = 0.0, bidirectional: bool = True
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True, dropout=dropout, bidirectional=bidirectional)
        self.width = hidden * (2 if bidirectional else 1)

    def forward(self, sequence: Padded) -> Tensor:
        """Every step: float (batch, time, dim) -> float (batch, time, width); zeros on padding."""
        return self.steps_and_last(sequence)[0]

    def last(self, sequence: Padded) -> Tensor:
        """The last layer's final state: float (batch, time, dim) -> float (batch, width), forward before backward."""
        return self.steps_and_last(sequence)[1]

    def steps_and_last(self, sequence: Padded) -> tuple[Tensor, Tensor]:
        """The results of ``forward`` and ``last``, from one pass."""
        with torch.autocast("cpu", enabled=False):  # torch may refuse an LSTM in bfloat16 here: it stays float32
            values = sequence.values.to(next(self.lstm.parameters()).dtype)
            if not self.lstm.bidirectional:
                return self._one_way(values, sequence)
            return (self._each_way if values.device.type == "cpu" else self._both_ways)(values, sequence)

    def _both_ways(self, values: Tensor, sequence: Padded) -> tuple[Tensor, Tensor]:
        # Sorted here: if torch sorted, it would copy the order back from the GPU to unpack.
        order = sequence.lengths.argsort(descending=True)
        there, back = (x.to(values.device) for x in (order, order.argsort()))
        packed = pack_padded_sequence(values.index_select(0, there), sequence.lengths[order], batch_first=True)
        steps, (final, _) = self.lstm(packed)
        padded = pad_packed_sequence(steps, batch_first=True, total_length=values.shape[1])[0]
        return padded.index_select(0, back), torch.cat(list(final[-2:]), dim=-1).index_select(0, back)

    def _each_way(self, values: Tensor, sequence: Padded) -> tuple[Tensor, Tensor]:
        """As :meth:`_both_ways`, but each direction by itself, the second on sequences reversed within their lengths.

        torch's fast kernel for a CPU takes no packed sequences; with them torch goes step by step.
        """
        step, lengths = torch.arange(values.shape[1]), sequence.lengths[:, None]
        turned = torch.where(step < lengths, lengths - 1 - step, step).unsqueeze(-1)  # (batch, time, 1)
        for layer in range(self.lstm.num_layers):
            if layer:
                values = dropout(values, self.lstm.dropout, self.training)
            ahead = self._direction(values, f"l{layer}")
            back = self._direction(values.take_along_dim(turned, 1), f"l{layer}_reverse").take_along_dim(turned, 1)
            values = torch.cat([ahead, back], dim=-1).masked_fill(~sequence.mask.unsqueeze(-1), 0.0)
        return values, torch.cat([ahead[torch.arange(len(ahead)), sequence.lengths - 1], back[:, 0]], dim=-1)

    def _direction(self, values: Tensor, suffix: str) -> Tensor:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, f"{name}_{suffix}") for name in names]
        start = values.new_zeros(1, len(values), self.lstm.hidden_size)
        return torch.lstm(values, (start, start), weights, True, 1, 0.0, self.training, False, True)[0]

    def _one_way(self, values: Tensor, sequence: Padded) -> tuple[Tensor, Tensor]:
        # No step sees a later one, so padding does no harm: use the faster kernel for sequences of one length.
        steps = self.lstm(values)[0].masked_fill(~sequence.mask.unsqueeze(-1), 0.0)
        return steps, steps[torch.arange(len(steps)), sequence.lengths - 1]
