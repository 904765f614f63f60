"""The same utterances with more padding."""

from __future__ import annotations

import torch

from mmsa_lightning.batch import Batch, Padded


def longer(sequence: Padded, steps: int) -> Padded:
    """The same sequences with so many steps of padding more, filled with something other than zeros."""
    n, time = sequence.values.shape[:2]
    values = torch.full((n, time + steps, *sequence.values.shape[2:]), 9, dtype=sequence.values.dtype)
    values[:, :time] = sequence.values
    return Padded(values, torch.arange(time + steps) < sequence.lengths[:, None], sequence.lengths)


def more_padding(batch: Batch, steps: int) -> Batch:
    """:func:`longer` of every sequence."""
    found = {m: sequence for m in ("tokens", "text", "audio", "vision") if (sequence := getattr(batch, m)) is not None}
    return Batch(batch.index, batch.label, **{m: longer(sequence, steps) for m, sequence in found.items()})
