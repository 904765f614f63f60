"""What a model reads in the place of a modality that an utterance lacks: a learnt vector, whatever the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.modalities import MODALITIES


class Absent(nn.Module):
    """Puts a vector of its modality into each real step of a sequence that was dropped.

    The vectors begin at zero, which is what is there without them. Tokens have none: ids cannot be learnt, but what the
    text encoder makes of [CLS], unknown tokens and [SEP] can.

    Args:
        dims: feature width of each modality that the model reads; None for text as tokens.
    """

    def __init__(self, dims: Mapping[str, int | None]) -> None:
        super().__init__()
        self.vectors = nn.ParameterDict({m: torch.zeros(dim) for m, dim in dims.items() if dim is not None})

    def forward(self, batch: Batch) -> Batch:
        """The batch with the vectors in it; the same where no modality is dropped."""
        if batch.dropped is None:
            return batch
        filled: dict[str, Any] = {m: self._fill(batch, m, vector) for m, vector in self.vectors.items()}
        return replace(batch, **filled)

    def _fill(self, batch: Batch, modality: str, vector: Tensor) -> Any:
        assert batch.dropped is not None
        sequence = batch.sequence(modality)
        steps = sequence.mask & batch.dropped[:, MODALITIES.index(modality), None]
        return replace(
            sequence, values=torch.where(steps[..., None], vector.to(sequence.values.dtype), sequence.values)
        )


def learn_absent(model: nn.Module, dims: Mapping[str, int | None]) -> None:
    """Have a model read what :class:`Absent` makes of a batch; the vectors are parameters of it, ``absent.vectors``."""
    model.absent = Absent(dims)
    model.register_forward_pre_hook(_fill_first)


def _fill_first(model: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return (model.absent(arguments[0]), *arguments[1:])
