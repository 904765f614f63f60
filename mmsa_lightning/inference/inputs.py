"""From utterances as a person has them to what a model reads: the same way that its training data went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmsa_lightning.data import tokens
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import Split
from mmsa_lightning.data.tokens import Pieces
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import About, Modality
from mmsa_lightning.modalities import MODALITIES

FAR = 5.0  # standard deviations that the mean of a feature may lie from that of training
SPLIT = "given"


@dataclass
class Utterance:
    """What is known of one utterance.

    Attributes:
        id: by which errors and results name it.
        text: as written; None or blank where it is missing.
        label: NaN where it is not known.
        features: by modality float (steps, width); a modality that is missing is absent.
    """

    id: str
    text: str | None = None
    label: float = float("nan")
    features: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Inputs:
    """Utterances as a model reads them; what it has of a store are splits.

    Attributes:
        splits: one, :data:`SPLIT`.
        dropped: bool (n, 3), of each of :data:`MODALITIES` whether an utterance lacks it; None where the model was not
            trained to see that.
        pieces: the word pieces of each utterance; none where the model reads none.
        words: of each utterance.
        notes: what a user should know, and of how many utterances.
    """

    splits: dict[str, Split]
    dropped: np.ndarray | None
    pieces: list[Pieces]
    words: list[list[str]]
    notes: Counter[str]

    def __len__(self) -> int:
        return len(self.splits[SPLIT])


def join(parts: Sequence[Inputs]) -> Inputs:
    """Several inputs of one reader as one, in their order."""
    splits = [part.splits[SPLIT] for part in parts]
    dropped = [part.dropped for part in parts if part.dropped is not None]
    split = Split(
        [id for split in splits for id in split.ids],
        np.concatenate([split.label for split in splits]),
        {
            name: Loaded(split.sequences[name][i] for split in splits for i in range(len(split)))
            for name in splits[0].sequences
        },
    )
    return Inputs(
        {SPLIT: split},
        np.concatenate(dropped) if dropped else None,
        [pieces for part in parts for pieces in part.pieces],
        [words for part in parts for words in part.words],
        sum((part.notes for part in parts), Counter()),
    )


class Reader:
    """Reads utterances for one package.

    Args:
        about: of the package.
        tokenizer: of its text encoder; None where it reads no word pieces.
    """

    def __init__(self, about: About, tokenizer: Any | None) -> None:
        self.about = about
        self.tokenizer = tokenizer

    def read(self, utterances: Sequence[Utterance]) -> Inputs:
        """What the model reads.

        Raises:
            UserError: an utterance lacks what the model needs, or has features that are not of its kind.
        """
        notes: Counter[str] = Counter()
        absent = [self._absent(utterance, notes) for utterance in utterances]
        words = [(utterance.text or "").split() for utterance in utterances]
        sequences: dict[str, list[np.ndarray]] = {}
        pieces: list[Pieces] = []
        if self.about.vocabulary is not None:
            most = self.about.vocabulary.longest - 2
            usual = min(self.about.modalities["text"].median_steps, most)
            unknown = [
                _steps(u, self._on_words) or usual if "text" in gone else 0
                for u, gone in zip(utterances, absent, strict=True)
            ]
            if longer := [i for i, n in enumerate(unknown) if n > most]:
                id, n = utterances[longer[0]].id, unknown[longer[0]]
                raise UserError(f"{id} has no text, and features of {n} steps: this model reads {most} at most")
            pieces = self._pieces(words, unknown, notes)
            words = [["?"] * n if n else own for n, own in zip(unknown, words, strict=True)]
            sequences["tokens"] = [p.ids for p in pieces]
        for m, modality in self.about.modalities.items():
            if modality.width is not None:
                sequences[m] = [
                    self._features(u, m, modality, pieces[i] if pieces else None, words[i], sequences, i, notes)
                    for i, u in enumerate(utterances)
                ]
        self._check_aligned(utterances, sequences)
        self._compare_scale(sequences, absent, notes)
        split = Split(
            [u.id for u in utterances],
            np.array([u.label for u in utterances], np.float32),
            {name: Loaded(arrays) for name, arrays in sequences.items()},
        )
        dropped = None
        if self.about.missing == "modality":
            dropped = np.array([[m in gone for m in MODALITIES] for gone in absent])
        return Inputs({SPLIT: split}, dropped, pieces, words, notes)

    def _absent(self, utterance: Utterance, notes: Counter[str]) -> list[str]:
        """The modalities that an utterance lacks, if the model was trained to miss some."""
        of_text = self.about.dims.get("text", 0) is None
        has = {m: m in utterance.features for m in self.about.modalities}
        if of_text:
            has["text"] = bool(utterance.text and utterance.text.strip())
        absent = [m for m, there in has.items() if not there]
        if len(absent) == len(has):
            raise UserError(f"{utterance.id} has none of {', '.join(has)}, which this model reads: leave it out")
        if absent and self.about.missing is None:
            raise UserError(
                f"{utterance.id} has no {' and no '.join(absent)}, and this model was not trained to miss any (a run "
                "with missing.mode=modality missing.train=uniform is): give it, or leave the utterance out"
            )
        for m in absent:
            notes[f"have no {m}, as utterances in training had none"] += 1
        if other := [m for m in utterance.features if m not in has or (m == "text" and of_text)]:
            raise UserError(
                f"{utterance.id} has features of {other[0]}, which this model does not read; leave them out"
            )
        return absent

    @property
    def _on_words(self) -> list[str]:
        return [m for m, modality in self.about.modalities.items() if modality.steps == "text"]

    def _pieces(self, words: list[list[str]], unknown: list[int], notes: Counter[str]) -> list[Pieces]:
        """Word pieces; of an utterance without text so many unknown ones, if it is not 0."""
        vocabulary = self.about.vocabulary
        assert vocabulary is not None
        made = tokens.encode(
            self.tokenizer, tokens.lower(words) if vocabulary.lower_cased else words, longest=vocabulary.longest
        )
        for i, n in enumerate(unknown):
            if n:
                ids = np.insert(made[i].ids, 1, [vocabulary.unknown] * n)
                made[i] = Pieces(ids, np.array([-1, *range(n), -1]), False)
        known = [p for p, n in zip(made, unknown, strict=True) if not n]
        if cut := sum(p.cut for p in known):
            notes[f"are longer than {vocabulary.longest} word pieces: their end was cut off"] += cut
        if foreign := sum(p.unknown + p.lost > (len(p.ids) - 2 + p.lost) / 2 for p in known):
            notes["consist mostly of words that the text encoder does not know: another language?"] += foreign
        return made

    def _features(
        self,
        utterance: Utterance,
        m: str,
        modality: Modality,
        pieces: Pieces | None,
        words: list[str],
        sequences: dict[str, list[np.ndarray]],
        i: int,
        notes: Counter[str],
    ) -> np.ndarray:
        """Float32 (steps, width), on the steps that the model was trained with."""
        text = sequences.get("tokens") or sequences.get("text")
        steps = len(text[i]) if text and m != "text" else None
        if m not in utterance.features:
            if steps is None or modality.steps == "own":
                steps = self._usual(utterance, modality)
            return np.zeros((steps, modality.width or 0), np.float32)
        values = np.asarray(utterance.features[m])
        if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            raise UserError(f"{m} of {utterance.id} is {values.dtype}: give numbers")
        values = values[None] if values.ndim == 1 else values
        if values.ndim != 2 or not len(values) or values.shape[1] != modality.width:
            raise UserError(
                f"{m} of {utterance.id} has the shape {values.shape}: this model reads (steps, {modality.width})"
            )
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(f"{m} of {utterance.id} has values that are infinite or not a number")
        if modality.steps == "text" and pieces is not None and len(values) == len(words):
            return tokens.on_pieces(values, pieces)  # as in training, where these are as many as the pieces, too
        if modality.steps == "own" or len(values) == steps:
            return values
        if steps is None:
            return self._on_unread_text(utterance, m, values, words, notes)
        if modality.steps == "utterance" and len(values) == 1:
            return np.repeat(values, steps, axis=0)
        wanted = "one step" if modality.steps == "utterance" else f"{len(words)} steps, one a word, or {steps}"
        raise UserError(
            f"{m} of {utterance.id} has {len(values)} steps: this model was trained with {wanted}"
            + (" for each utterance" if modality.steps == "utterance" else ", one a step of its text")
        )

    def _usual(self, utterance: Utterance, modality: Modality) -> int:
        """So many steps as other features of the utterance have, where all share them; else as in training."""
        told = [m for m, other in self.about.modalities.items() if self.about.aligned and other.steps != "utterance"]
        return _steps(utterance, told) or modality.median_steps

    def _on_unread_text(
        self, utterance: Utterance, m: str, values: np.ndarray, words: list[str], notes: Counter[str]
    ) -> np.ndarray:
        """Features that lay on word pieces in training, which this model does not read: their number is not known."""
        modality = self.about.modalities[m]
        if modality.steps == "utterance" and len(values) == 1:
            notes[
                f"have one step of {m}, repeated as often as is usual: training had it on each word piece of a text"
            ] += 1
            return np.repeat(values, self._usual(utterance, modality), axis=0)
        if words and len(values) < len(words) + 2:
            raise UserError(
                f"{m} of {utterance.id} has {len(values)} steps for {len(words)} words: this model was trained with "
                "one a word piece, [CLS] and [SEP] included, as a store has them that mmsa data import makes"
            )
        if not words:
            notes[f"need a step of {m} for each word piece of their text, [CLS] and [SEP] too: see that they have"] += 1
        return values

    def _check_aligned(self, utterances: Sequence[Utterance], sequences: dict[str, list[np.ndarray]]) -> None:
        for i, utterance in enumerate(utterances if self.about.aligned else ()):
            steps = {name: len(arrays[i]) for name, arrays in sequences.items()}
            if len(set(steps.values())) > 1:
                raise UserError(
                    f"{utterance.id} has {', '.join(f'{n} steps of {name}' for name, n in steps.items())}: this model "
                    "was trained with as many of each"
                )

    def _compare_scale(
        self, sequences: dict[str, list[np.ndarray]], absent: list[list[str]], notes: Counter[str]
    ) -> None:
        for m, modality in self.about.modalities.items():
            there = [steps for steps, gone in zip(sequences.get(m, []), absent, strict=False) if m not in gone]
            if modality.scale is not None and there:
                far = far_features(np.concatenate(there), modality)
                if far:
                    notes[far_note(m, far)] += len(there)


def _steps(utterance: Utterance, modalities: Sequence[str]) -> int:
    """The steps of an utterance's features of these modalities; 0 where it has none."""
    there = [utterance.features.get(m) for m in modalities]
    return max((len(values) for values in there if np.ndim(values) == 2), default=0)  # type: ignore[arg-type]


def far_features(steps: np.ndarray, modality: Modality) -> list[str]:
    """Features whose mean, float (steps, width), lies far outside of what they were in training."""
    mean, std = modality.scale or (np.zeros(1), np.ones(1))
    real = steps[steps.any(axis=1)]
    if not len(real):
        return []
    far = np.abs(real.mean(axis=0, dtype=np.float64) - mean) > FAR * std
    return [modality.names[i] if modality.names else f"number {i + 1}" for i in np.flatnonzero(far)]


def far_note(m: str, far: Sequence[str]) -> str:
    """What a user should know of them."""
    shown = ", ".join(far[:3]) + (f" and {len(far) - 3} more" if len(far) > 3 else "")
    return (
        f"have features of {m} that lie, on average, more than {FAR:g} standard deviations from those of training "
        f"({shown}): were they made in another way?"
    )
