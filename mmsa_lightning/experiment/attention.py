"""What a model attends to in chosen utterances, with their words: ``attention.json`` of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsa_lightning import files
from mmsa_lightning.errors import UserError

if TYPE_CHECKING:  # reports of finished runs do without torch and Lightning
    from torch import nn

    from mmsa_lightning.data.datamodule import StoreDataModule

NAME = "attention.json"


def attention_maps(
    model: nn.Module, data: StoreDataModule, split: str, positions: Sequence[int]
) -> list[dict[str, Any]]:
    """Attention weights in some utterances of a split.

    Args:
        model: one that :func:`attends`; left in evaluation mode.
        data: set up.
        split: train, valid or test.
        positions: of the utterances in the split.

    Returns:
        a record an utterance: ``id``, ``split``, ``label``, ``prediction``; ``steps``, by modality the word piece that
        each step is of, or its number from 1 where that is not known; ``weights``, by name (``text`` within a modality,
        ``text<-audio`` from another) rows of weights over the source's steps, one for each of the target's.
    """
    import torch

    device = next(model.parameters()).device
    pieces = _Pieces(data, split)
    utterances, stored = data.split(split), data.store.splits[split]
    model.eval()
    records = []
    for i in positions:
        batch = utterances[[i]].to(device)  # alone, so that nothing is padded
        with torch.no_grad():
            output = model(batch, return_attention=True)
        steps = {m: pieces.of(i, m, int(batch.sequence(m).lengths[0])) for m in data.dims}
        weights = {name: [[round(w, 4) for w in row] for row in a[0].tolist()] for name, a in output.attention.items()}
        label, prediction = round(float(stored.label[i]), 4), round(float(output.prediction[0]), 4)
        about = {"id": stored.ids[i], "split": split, "label": label, "prediction": prediction}
        records.append({**about, "steps": steps, "weights": weights})
    return records


def write(run_dir: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write what :func:`attention_maps` returns as the run's ``attention.json``."""
    files.write_text(run_dir / NAME, json.dumps(records) + "\n")


def read(run_dir: Path) -> list[dict[str, Any]]:
    """What a run left; nothing for a model that does not tell its weights.

    Raises:
        UserError: the file is damaged.
    """
    path = run_dir / NAME
    if not path.is_file():
        return []
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        if all({"id", "label", "prediction", "steps", "weights"} <= set(record) for record in records):
            return [record for record in records if record["weights"]]
    except (ValueError, TypeError):
        pass
    raise UserError(f"{path} is damaged; with an ID, mmsa attention computes its map from the weights")


def headline(record: dict[str, Any]) -> str:
    """Which utterance a record is of, with its label and prediction."""
    return f"{record['id']} (label {record['label']:+.1f}, predicted {record['prediction']:+.2f})"


class _Pieces:
    """What the steps of a split's utterances are."""

    def __init__(self, data: StoreDataModule, split: str) -> None:
        from mmsa_lightning.data.vocabularies import tokenizer_of

        stored = data.store.splits[split]
        self.tokens = stored.sequences.get("tokens")
        self.tokenizer = None
        self.on_tokens: set[str] = set()
        name = data.store.meta.vocabulary
        if self.tokens is not None and name is not None:
            self.on_tokens = {m for m, sequence in data.sequences.items() if stored.aligned(["tokens", sequence])}
            try:
                self.tokenizer = tokenizer_of(name)
            except UserError:  # not on this machine: numbers will do
                return

    def of(self, i: int, modality: str, length: int) -> list[str]:
        """The word pieces of utterance ``i`` where the steps of a modality are those of tokens, else their numbers."""
        from mmsa_lightning.data.tokenizers import shown

        if self.tokenizer is not None and self.tokens is not None and modality in self.on_tokens:
            return shown(self.tokenizer, self.tokens[i])
        return [str(step) for step in range(1, length + 1)]
