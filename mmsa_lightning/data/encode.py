"""Text read by an encoder that is not fine-tuned: computed once and stored as features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mmsa_lightning.data import store
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.ragged import Ragged
from mmsa_lightning.data.store import SEQUENCES, Meta, Split
from mmsa_lightning.data.utterances import Utterances
from mmsa_lightning.data.vocabularies import compare_vocabularies
from mmsa_lightning.models.layers.text_encoder import TextEncoder

TOGETHER = 64  # utterances


class Encoded(Ragged):
    """The last layer of a frozen encoder over each utterance's tokens, [CLS] and [SEP] included.

    Args:
        utterances: with tokens.
        encoder: on the device to compute on.
    """

    def __init__(self, utterances: Utterances, encoder: TextEncoder) -> None:
        self.utterances = utterances
        self.encoder = encoder.eval()
        self.lengths = utterances.lengths
        self.dtype = np.dtype(np.float32)
        self.dim = encoder.width

    def __getitem__(self, i: int) -> np.ndarray:
        return self._read([i])

    def blocks(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), TOGETHER):
            yield self._read(list(range(start, min(start + TOGETHER, len(self)))))

    @torch.no_grad()
    def _read(self, positions: list[int]) -> np.ndarray:
        tokens = self.utterances[positions].sequence("text").to(next(self.encoder.parameters()).device)
        return self.encoder(tokens)[tokens.mask].cpu().numpy()


def encode_store(path: Path, text_encoder: str, out: Path) -> Meta:
    """Copy the store at ``path`` to ``out``, with a frozen encoder's output for its tokens as ``text``.

    Args:
        path: a store with tokens; its own ``text`` is not copied, all else is.
        text_encoder: see :class:`TextEncoder`; it reads on a GPU where there is one.
        out: the new store's place; one that is there is replaced.

    Raises:
        UserError: ``path`` is no store with tokens, or there is no such encoder, or it cannot read them. ``out`` is
            then as it was before.
    """
    data = StoreDataModule(
        str(path),
        batch_size=TOGETHER,
        eval_batch_size=TOGETHER,
        text="bert",
        modalities=["text"],
        standardize=False,
        seed=0,
        num_workers=0,
    )
    data.setup()
    encoder = TextEncoder(text_encoder)
    data.check_encoder(text_encoder, encoder.vocabulary_size, encoder.positions)
    if unknown := compare_vocabularies(data.store.meta, path, text_encoder):
        print(unknown)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")

    def encoded(name: str, split: Split) -> Split:
        sequences = split.sequences | {"text": Encoded(data.split(name), encoder)}
        return replace(split, sequences={s: sequences[s] for s in SEQUENCES if s in sequences})

    splits, meta = {name: encoded(name, split) for name, split in data.store.splits.items()}, data.store.meta
    told = f"text: the last layer of {text_encoder}, not fine-tuned, over the tokens"
    made = replace(
        meta,
        aligned=all(split.aligned(split.sequences) for split in splits.values()),
        feature_names={m: names for m, names in meta.feature_names.items() if m != "text"},
        report=[*meta.report, told],
    )
    return store.write(out, splits, made)
