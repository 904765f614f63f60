"""A model that is checked, by itself: built from its config with small widths, and the batches that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.data.releases import LABEL_RANGES
from mmsa_lightning.experiment.components import build
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.models.layers import minilm
from mmsa_lightning.objectives.base import Objective

FORMS = ("bert", "features")  # of text
WIDTHS = {"text": 12, "audio": 5, "vision": 20}
LENGTHS = (6, 3, 1, 5)


@dataclass(frozen=True)
class Candidate:
    """A model, and how it is built and fed.

    Attributes:
        config: plain and resolved, with :func:`tiny_bert` as its ``text_encoder``.
        folder: for what is written meanwhile.
        plugins: the user's own folder; None where the model is one of ours.
    """

    config: dict[str, Any]
    folder: Path
    plugins: Path | None = None

    @property
    def modalities(self) -> list[str]:
        """Those that the config reads."""
        wanted = self.config["modalities"]
        return [m for m in MODALITIES if wanted is None or m in wanted]

    def make(self, dims: dict[str, int | None], labels: Tensor) -> tuple[nn.Module, Objective]:
        """The model and its objective, without dropout, from the same random state each time.

        Args:
            dims: feature width of each modality; None for text as tokens.
            labels: float32 (n,), of the train split.

        Raises:
            UserError: the model does not read these.
        """
        torch.manual_seed(0)
        limit = {"limit": 3.0}
        model = build("model", self.config["model"], plugins=self.plugins, where_null=limit, dims=dims)
        objective = build("objective", self.config["objective"], where_null=limit)
        objective.setup(labels, getattr(model, "feature_widths", {}))
        return without_dropout(model), objective

    def made(self, form: str, lengths: Sequence[int] = LENGTHS) -> tuple[nn.Module, Objective]:
        """As :meth:`make`, for a :meth:`batch` of these."""
        return self.make(self.dims(form), self.batch(form, lengths).label)

    def dims(self, form: str) -> dict[str, int | None]:
        """Of a :meth:`batch` with text in this form, ``bert`` or ``features``."""
        return {m: None if (m, form) == ("text", "bert") else WIDTHS[m] for m in self.modalities}

    def batch(self, form: str, lengths: Sequence[int] = LENGTHS, longer: int = 0) -> Batch:
        """Utterances of ``lengths`` words; audio and vision have the same steps or, unaligned, ``longer`` ones."""
        rng = np.random.default_rng(0)
        batch = Batch(
            index=torch.arange(len(lengths)),
            label=torch.from_numpy(rng.uniform(-3, 3, len(lengths)).astype(np.float32)),
            audio=_sequences([n * (1 + longer) + longer for n in lengths], WIDTHS["audio"], rng),
            vision=_sequences([n * (1 + longer) for n in lengths], WIDTHS["vision"], rng),
        )
        if form == "bert":
            batch.tokens = Padded.from_arrays([rng.integers(1, 1000, n) for n in lengths])
        else:
            batch.text = _sequences(lengths, WIDTHS["text"], rng)
        wanted = [*self.modalities, *(["tokens"] if "text" in self.modalities else [])]
        return Batch(batch.index, batch.label, **{m: p for m, p in present(batch).items() if m in wanted})

    def suitable(self, model: nn.Module, form: str, lengths: Sequence[int] = LENGTHS) -> Batch:
        """A :meth:`batch` of unaligned sequences, unless the model needs them aligned."""
        return self.batch(form, lengths, longer=0 if getattr(model, "needs_alignment", False) else 2)

    def demo(self, form: str, count: int) -> tuple[Batch, dict[str, int | None]]:
        """All of ``count`` made-up training utterances, standardised, and their dims."""
        source = generate(0, {"train": count, "valid": 1, "test": 1})
        store, encoder = self.folder / f"demo{count}.h5", self.config["text_encoder"]
        if find_spec(minilm.PACKAGE) is None:  # then the tiny BERT reads words by their number
            words = {word for split in source.splits.values() for utterance in split.words or [] for word in utterance}
            pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
            Path(encoder, "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        if not store.exists():
            import_source(
                source,
                store,
                dataset="demo",
                name="made up",
                sha256="",
                tokenizer="minilm" if find_spec(minilm.PACKAGE) else encoder,
                label_range=LABEL_RANGES["demo"],
            )
        data = StoreDataModule(
            str(store),
            batch_size=count,
            eval_batch_size=count,
            text=form,
            modalities=self.modalities,
            standardize=True,
            seed=1,
            num_workers=0,
        )
        data.setup()
        return data.split("train")[list(range(count))], data.dims


def tiny_bert(folder: Path) -> str:
    """Write a random BERT of one layer, width 32, and bert-base-uncased's vocabulary size.

    Returns:
        the folder, as ``text_encoder`` takes it.
    """
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


def without_dropout(model: nn.Module) -> nn.Module:
    """The model, with every rate of dropout 0."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for rate in ("dropout", "attention_dropout"):  # of attention and LSTMs
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return model


def present(batch: Batch) -> dict[str, Any]:
    """The sequences that a batch has, :class:`Padded`, by name."""
    found = {name: getattr(batch, name) for name in ("tokens", "text", "audio", "vision")}
    return {name: padded for name, padded in found.items() if padded is not None}


def longer(sequence: Padded, steps: int) -> Padded:
    """The same sequences with so many steps of padding more; all padding is filled with something other than zeros."""
    n, time = sequence.values.shape[:2]
    values = torch.full((n, time + steps, *sequence.values.shape[2:]), 7, dtype=sequence.values.dtype)
    real = sequence.mask.reshape(n, time, *[1] * (sequence.values.ndim - 2))
    values[:, :time] = torch.where(real, sequence.values, 7)
    return Padded(values, torch.arange(time + steps) < sequence.lengths[:, None], sequence.lengths)


def more_padding(batch: Batch, steps: int) -> Batch:
    """:func:`longer` of every sequence."""
    padded: dict[str, Any] = {name: longer(p, steps) for name, p in present(batch).items()}
    return Batch(batch.index, batch.label, **padded)


def alone(batch: Batch, i: int) -> Batch:
    """Utterance ``i`` by itself, without padding."""
    own = {name: p.values[i, : int(p.lengths[i])].numpy() for name, p in present(batch).items()}
    sequences: dict[str, Any] = {name: Padded.from_arrays([values]) for name, values in own.items()}
    return Batch(batch.index[i : i + 1], batch.label[i : i + 1], **sequences)


def _sequences(lengths: Sequence[int], width: int, rng: np.random.Generator) -> Padded:
    return Padded.from_arrays([rng.normal(size=(n, width)).astype(np.float32) for n in lengths])
