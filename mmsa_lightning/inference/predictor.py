"""A trained model, ready to predict: numpy in, numpy out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.sampler import LengthSampler
from mmsa_lightning.data.store import Store
from mmsa_lightning.data.tokenizers import shown
from mmsa_lightning.data.utterances import Utterances
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import About
from mmsa_lightning.inference.inputs import SPLIT, Inputs, Reader, Utterance, far_features, far_note
from mmsa_lightning.inference.stores import check_store
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.models.output import attends

TOGETHER = 32  # utterances in a batch, counted in such of 32 steps
LOOKED_AT = 1000  # utterances of a store whose scale is compared


@dataclass
class Attention:
    """What a model attends to in an utterance.

    Attributes:
        words: each word and its share of the weights over the text, which sum to 1; empty where the model reads no word
            pieces, or has no weights over the text. Of an ensemble the mean over its members.
        weights: by name (``text`` within a modality, ``text<-audio`` from another) float32 (target steps, source
            steps), of the first member.
        pieces: the word pieces that the steps of text are; empty where it reads none.
    """

    words: list[tuple[str, float]]
    weights: dict[str, np.ndarray]
    pieces: list[str]


@dataclass
class Predictions:
    """Of n utterances.

    Attributes:
        ids: of them, in the order in which they came.
        sentiment: float32 (n,), in the unit of the labels that the model was trained on; not clipped to their range. Of
            an ensemble the mean over its members.
        members: float32 (members, n), each one's own.
        attention: of each utterance, where it was asked for.
    """

    ids: list[str]
    sentiment: np.ndarray
    members: np.ndarray
    attention: list[Attention] | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.sentiment, dtype=dtype, copy=copy if copy is not None else True)


class Predictor:
    """What :func:`mmsa_lightning.load` returns.

    Args:
        about: what its package says of it.
        models: one; the members of an ensemble.
        tokenizer: of the text encoder; None where the model reads no word pieces.
        device: where to compute, such as ``cpu`` or ``cuda``.

    Raises:
        UserError: there is no such device.
    """

    def __init__(self, about: About, models: Sequence[nn.Module], tokenizer: Any | None, device: str = "cpu") -> None:
        self.about = about
        self.device = _device(device)
        self.models = [model.to(self.device).eval() for model in models]
        self.tokenizer = tokenizer
        self.reader = Reader(about, tokenizer)
        encoders = [module for model in models for module in model.modules() if isinstance(module, TextEncoder)]
        self.known = min((encoder.vocabulary_size for encoder in encoders), default=0)  # word pieces
        positions = min((encoder.positions for encoder in encoders), default=0)
        if about.vocabulary is not None and about.vocabulary.longest > positions:
            raise UserError(f"its text encoder reads {positions} word pieces, not {about.vocabulary.longest}")

    @property
    def attends(self) -> bool:
        """Whether it can tell what it attends to."""
        return attends(self.models[0])

    def predict(
        self,
        texts: Sequence[str | None] | None = None,
        *,
        text: Sequence[Any] | None = None,
        audio: Sequence[Any] | None = None,
        vision: Sequence[Any] | None = None,
        attention: bool = False,
    ) -> Predictions:
        """Predict the sentiment of n utterances.

        Args:
            texts: n, as written, for a model that reads word pieces.
            text: n arrays (steps, width), for a model that reads features of the text.
            audio, vision: n arrays, on the scale of the training data before it was standardised: (width,) for one
                vector an utterance, or (steps, width). ``about.modalities`` says the width and on which steps. Without
                padding. None for an utterance, or for all, where the model was trained to miss the modality.
            attention: also tell what it attends to.

        Returns:
            the predictions; ``warnings.warn`` tells of texts that were cut, of words that are not known, and the like.

        Raises:
            UserError: the model needs what is not given, or cannot read what is.
        """
        given: dict[str, Any] = {"texts": texts, "text": text, "audio": audio, "vision": vision}
        # In their order: a column of a table that was sorted or filtered counts by its labels.
        present = {name: list(values) for name, values in given.items() if values is not None}
        if not present:
            raise UserError("give texts, or features as text, audio and vision")
        counts = {name: len(values) for name, values in present.items()}
        if isinstance(texts, str) or len(set(counts.values())) > 1:
            raise UserError(f"give as many of each as there are utterances, in lists: {counts}")
        written: list[Any] = present.pop("texts", [None] * next(iter(counts.values())))
        if wrong := [i for i, t in enumerate(written) if not (t is None or isinstance(t, str))]:
            raise UserError(f"utterance {wrong[0] + 1}: the text is {written[wrong[0]]!r}: give a string, or None")
        if texts is not None and self.about.dims.get("text", 0) is not None:
            raise UserError(
                "this model reads no texts"
                + (f", but features of width {self.about.dims['text']}: text=[…]" if "text" in self.about.dims else "")
            )
        if not (n := next(iter(counts.values()))):
            raise UserError("there are no utterances to predict")
        utterances = [
            Utterance(
                f"utterance {i + 1}",
                written[i],
                features={m: v[i] for m, v in present.items() if v[i] is not None},
            )
            for i in range(n)
        ]
        inputs = self.reader.read(utterances)
        for note, count in inputs.notes.items():
            warnings.warn(f"{count} of {n} utterances {note}", stacklevel=2)
        return self.run(inputs, attention=attention)

    def predict_store(self, path: str | Path, split: str = "test", *, attention: bool = False) -> Predictions:
        """Predict the sentiment of a split of a store, as in training.

        Args:
            path: of the store.
            split: train, valid or test.
            attention: also tell what it attends to.

        Raises:
            UserError: there is no such store or split, or it does not hold what the model reads.
        """
        stored = StoredUtterances(self, Store(path), split)
        for note in stored.notes:
            warnings.warn(f"utterances of {path} {note}", stacklevel=2)
        return stored.predict(range(len(stored)), attention=attention)

    def run(self, inputs: Inputs, *, attention: bool = False, without: str | None = None) -> Predictions:
        """Predict what was read.

        Args:
            inputs: as :class:`Reader` makes them.
            attention: also tell what it attends to.
            without: a modality to leave out, as training with missing modalities does it.
        """
        split, dropped = inputs.splits[SPLIT], inputs.dropped
        if without is not None:
            split, dropped = self._left_out(inputs, without)
        utterances = Utterances(_Given({SPLIT: split}), SPLIT, list(split.sequences), self.about.scale)
        told = [shown(self.tokenizer, p.ids) for p in inputs.pieces] if attention and inputs.pieces else None
        return self._predict(utterances, range(len(split)), told, dropped, attention)

    def _left_out(self, inputs: Inputs, modality: str) -> tuple[Any, np.ndarray | None]:
        """The utterances with zeros for a modality, or unknown word pieces between their marks."""
        split = inputs.splits[SPLIT]
        name = "tokens" if modality == "text" and "tokens" in split.sequences else modality
        arrays = [split.sequences[name][i] for i in range(len(split))]
        if name == "tokens":
            assert self.about.vocabulary is not None
            empty = [np.full_like(ids, self.about.vocabulary.unknown) for ids in arrays]
            for new, ids in zip(empty, arrays, strict=True):
                new[[0, -1]] = ids[[0, -1]]
        else:
            empty = [np.zeros_like(steps) for steps in arrays]
        dropped = inputs.dropped
        if dropped is not None:
            dropped = dropped.copy()
            dropped[:, MODALITIES.index(modality)] = True
        return type(split)(split.ids, split.label, split.sequences | {name: Loaded(empty)}), dropped

    @torch.no_grad()
    def _predict(
        self,
        utterances: Utterances,
        positions: Sequence[int],
        pieces: list[list[str]] | None,
        dropped: np.ndarray | None,
        attention: bool,
    ) -> Predictions:
        """Predict the utterances at some positions, whose word pieces are given."""
        if attention and not self.attends:
            raise UserError(f"{self.about.name} has no attention weights over steps to tell of")
        members = np.empty((len(self.models), len(positions)), np.float32)
        for places in LengthSampler(utterances.lengths[list(positions)], TOGETHER):
            batch = self._batch(utterances, [positions[i] for i in places], dropped)
            for k, model in enumerate(self.models):
                members[k, places] = full(model(batch).prediction).float().cpu().numpy()
        all_ids = utterances.store.splits[utterances.split].ids
        if (wrong := ~np.isfinite(members).all(axis=0)).any():
            id = all_ids[positions[int(wrong.argmax())]]
            raise UserError(f"the prediction for {id} is infinite or not a number: are its features far too large?")
        told = None
        if attention:  # one by one, so that nothing is padded
            told = [
                self._attention(self._batch(utterances, [position], dropped), pieces[i] if pieces else [])
                for i, position in enumerate(positions)
            ]
        return Predictions([all_ids[i] for i in positions], members.mean(axis=0), members, told)

    def _batch(self, utterances: Utterances, positions: list[int], dropped: np.ndarray | None) -> Batch:
        batch = utterances[positions]
        if batch.tokens is not None and (largest := int(batch.tokens.values.max())) >= self.known:
            raise UserError(f"there is a word piece {largest}, and the text encoder knows {self.known}")
        if dropped is not None:
            batch.dropped = torch.from_numpy(dropped[positions])
        return batch.to(self.device)

    def _attention(self, batch: Batch, pieces: list[str]) -> Attention:
        outputs = [model(batch, return_attention=True).attention for model in self.models]
        weights = [{name: a[0].float().cpu().numpy() for name, a in output.items()} for output in outputs]
        return Attention(_words([_over_text(w) for w in weights], pieces), weights[0], pieces)


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        raise UserError(f"device {name}: {str(error).splitlines()[0]}; cpu is always there") from error


class StoredUtterances:
    """A split of a store, as a trained model reads it.

    Args:
        predictor: with the model.
        store: opened.
        split: train, valid or test.

    Attributes:
        notes: what a user should know of them.

    Raises:
        UserError: see :func:`check_store`.
    """

    def __init__(self, predictor: Predictor, store: Store, split: str) -> None:
        self.predictor = predictor
        names = check_store(predictor.about, store, split)
        self.split = store.splits[split]
        self.utterances = Utterances(store, split, list(names.values()), predictor.about.scale)
        self.tokens = self.split.sequences["tokens"] if "tokens" in names.values() else None
        self.notes = []
        for m, modality in predictor.about.modalities.items():
            if modality.scale is not None:
                some = [self.split.sequences[m][i] for i in range(min(len(self), LOOKED_AT))]
                if far := far_features(np.concatenate(some), modality):
                    self.notes.append(far_note(m, far))

    def __len__(self) -> int:
        return len(self.split)

    def predict(self, positions: Sequence[int], *, attention: bool = False) -> Predictions:
        """Predict the utterances at these positions."""
        told = None
        if attention and self.tokens is not None:
            told = [shown(self.predictor.tokenizer, self.tokens[i]) for i in positions]
        return self.predictor._predict(self.utterances, positions, told, None, attention)


@dataclass
class _Given:
    splits: dict[str, Any]


def _over_text(weights: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The mean weight of each step of the text, (steps,), over all targets that attend to it."""
    of_text = [w.mean(axis=0) for name, w in weights.items() if name.rpartition("<-")[2] == "text"]
    return np.mean(of_text, axis=0) if of_text else None


def _words(members: Sequence[np.ndarray | None], pieces: list[str]) -> list[tuple[str, float]]:
    """Words with their share of the weights; the begin and the end mark have none."""
    found = [w for w in members if w is not None and len(w) == len(pieces)]
    if not found or len(pieces) < 3:
        return []
    mean = np.mean(found, axis=0)[1:-1]
    words: list[tuple[str, float]] = []
    for piece, weight in zip(pieces[1:-1], (mean / (mean.sum() or 1)).tolist(), strict=True):
        if piece.startswith("##") and words:
            words[-1] = words[-1][0] + piece[2:], words[-1][1] + weight
        else:
            words.append((piece, weight))
    return words
