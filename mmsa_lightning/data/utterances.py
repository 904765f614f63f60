"""The utterances of a split as batches, standardised and without what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.data.missing import Masks
from mmsa_lightning.data.ragged import Ragged
from mmsa_lightning.data.sampler import Drawn
from mmsa_lightning.data.store import Split

Scale = tuple[np.ndarray, np.ndarray]


class Splits(Protocol):
    """What holds splits: a store, or utterances in memory."""

    splits: dict[str, Split]


class Utterances(Dataset[Batch]):
    """One split of a store; indexed with a list of positions, it answers with their :class:`Batch`.

    Args:
        store: the opened store, or what stands for it.
        split: train, valid or test.
        sequences: which of tokens, text, audio, vision to read.
        scale: (mean, standard deviation), each (dim,), of the sequences that are standardised.
        masks: of the split, where something is missing in it.
        unknown: the token id that stands for a missing one.
    """

    def __init__(
        self,
        store: Splits,
        split: str,
        sequences: Sequence[str],
        scale: Mapping[str, Scale],
        masks: Masks | None = None,
        unknown: int = 0,
    ) -> None:
        self.store = store
        self.split = split
        self.sequences = tuple(sequences)
        self.scale = scale
        self.masks = masks
        self.unknown = unknown

    def __len__(self) -> int:
        return len(self.store.splits[self.split])

    @property
    def lengths(self) -> np.ndarray:
        """int64 (n,): steps of each utterance's longest sequence."""
        split = self.store.splits[self.split]
        return np.max([split.sequences[name].lengths for name in self.sequences], axis=0)

    def __getitem__(self, indices: list[int]) -> Batch:
        split = self.store.splits[self.split]
        epoch = indices.epoch if isinstance(indices, Drawn) else 0
        rows = [self._utterance(i, epoch) for i in indices]
        padded = {name: self._standardised(name, [row[name] for row in rows]) for name in self.sequences}
        dropped = None
        if self.masks and self.masks.missing.mode == "modality":
            modalities = [_modality(name) for name in self.sequences]
            dropped = torch.tensor([self.masks.dropped(split.ids[i], epoch, modalities) for i in indices])
        return Batch(torch.tensor(indices), torch.from_numpy(split.label[indices]), **padded, dropped=dropped)

    def _utterance(self, i: int, epoch: int) -> dict[str, np.ndarray]:
        """Its sequences as stored. A step that is missing is zero, and a token the unknown one."""
        split = self.store.splits[self.split]
        sequences = {name: split.sequences[name][i] for name in self.sequences}
        if self.masks is None:
            return sequences
        lengths = {_modality(name): len(values) for name, values in sequences.items()}
        kept = self.masks.kept(i, split.ids[i], epoch, lengths)
        return {
            name: np.where(kept["text"], values, self.unknown)
            if name == "tokens"
            else np.where(kept[name][:, None], values, np.float32(0))
            for name, values in sequences.items()
        }

    def _standardised(self, name: str, rows: list[np.ndarray]) -> Padded:
        """Padded, and standardised at one go."""
        padded = Padded.from_arrays(rows)
        if name not in self.scale:
            return padded
        values = standardized(padded.values.numpy(), self.scale[name])
        return replace(padded, values=torch.from_numpy(values))


def _modality(sequence: str) -> str:
    return "text" if sequence == "tokens" else sequence


def standardized(values: np.ndarray, scale: Scale) -> np.ndarray:
    """``values``, (…, steps, features): steps that are zero throughout, missing ones and padding too, stay so."""
    mean, std = scale
    return np.where(values.any(axis=-1, keepdims=True), (values - mean) / std, values)


def moments(ragged: Ragged) -> Scale:
    """Mean and standard deviation of each feature over the steps that are not zero throughout, read in pieces.

    A constant feature gets the deviation 1, and so does every feature where no step holds anything. Of a modality of a
    single feature zero may be a value, such as silence or no: it is not centred, only divided, and zero stays zero.
    """

    def blocks() -> Iterator[np.ndarray]:
        return (block[block.any(axis=1)] for block in ragged.blocks())

    n, total, squares = 0, np.zeros(ragged.dim or 1), np.zeros(ragged.dim or 1)
    for block in blocks():
        n += len(block)
        total += block.sum(axis=0, dtype=np.float64)
    mean = total / max(n, 1) if len(total) > 1 else np.zeros(1)
    for block in blocks():
        squares += np.square(block - mean).sum(axis=0)
    std = np.sqrt(squares / max(n, 1))
    return mean.astype(np.float32), np.where(std > 1e-6 * np.abs(mean), std, 1.0).astype(np.float32)
