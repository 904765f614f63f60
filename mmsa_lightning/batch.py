"""The one thing that flows through the project: a batch of utterances."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Padded:
    """Sequences of different lengths, padded on the right with zeros to the longest of the batch.

    Attributes:
        values: float32 (batch, time, dim), or int64 (batch, time) for token ids.
        mask: bool (batch, time), True on real steps.
        lengths: int64 (batch,), always on the CPU, where ``pack_padded_sequence`` wants them; each at least 1.
    """

    values: Tensor
    mask: Tensor
    lengths: Tensor

    @classmethod
    def from_arrays(cls, arrays: list[np.ndarray]) -> Padded:
        """Pad ``arrays``, each (time, dim) float or (time,) int."""
        lengths = torch.tensor([len(array) for array in arrays])
        longest = int(lengths.max())
        dtype = np.int64 if np.issubdtype(arrays[0].dtype, np.integer) else np.float32
        values = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), dtype=dtype)
        for row, array in zip(values, arrays, strict=True):
            row[: len(array)] = array
        return cls(torch.from_numpy(values), torch.arange(longest) < lengths[:, None], lengths)

    def to(self, *args: Any, **kwargs: Any) -> Padded:
        """Move values and mask as ``Tensor.to`` does; lengths stay on the CPU."""
        return replace(self, values=self.values.to(*args, **kwargs), mask=self.mask.to(*args, **kwargs))

    def pin_memory(self) -> Padded:
        """In page-locked memory, but for the lengths."""
        return replace(self, values=self.values.pin_memory(), mask=self.mask.pin_memory())


@dataclass
class Batch:
    """A batch of utterances. A modality that the data lacks is None.

    Text comes as ``tokens`` (word-piece ids with [CLS] and [SEP], for BERT) or as ``text`` (word vectors or
    precomputed features), whichever the model reads.

    Attributes:
        index: int64 (batch,), the utterance's position in its split.
        label: float32 (batch,), sentiment, in the range that the store states.
        tokens, text, audio, vision: the sequences; see :class:`Padded`.
        dropped: bool (batch, 3), of each modality whether the utterance lacks it, as ``missing.mode:
            modality`` has it; None where whole modalities do not go missing. Their sequences hold zeros (tokens: the
            unknown one) and keep their lengths.
    """

    index: Tensor
    label: Tensor
    tokens: Padded | None = None
    text: Padded | None = None
    audio: Padded | None = None
    vision: Padded | None = None
    dropped: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def sequence(self, modality: str) -> Padded:
        """The sequence of one of the modalities; tokens stand for text where there are tokens."""
        found = self.tokens if modality == "text" and self.tokens is not None else getattr(self, modality)
        if found is None:
            raise KeyError(f"this batch has no {modality}")
        return found

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Move every tensor as ``Tensor.to`` does (lengths stay on the CPU)."""
        return replace(self, **{name: value.to(*args, **kwargs) for name, value in self._present().items()})

    def pin_memory(self) -> Batch:
        """In page-locked memory, from which a GPU takes it while the processor goes on. ``DataLoader`` calls this."""
        return replace(self, **{name: value.pin_memory() for name, value in self._present().items()})

    def _present(self) -> dict[str, Any]:
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
