"""What every reader of a published layout returns, before anything is checked or mended."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mmsa_lightning.errors import UserError


@dataclass
class Sequences:
    """One modality of one split as it was found.

    Attributes:
        values: (n, time, dim) padded on either side, or n arrays (length, dim).
        lengths: (n,) true lengths, where the source states them.
    """

    values: np.ndarray | list[np.ndarray]
    lengths: np.ndarray | None = None

    def take(self, rows: list[int]) -> Sequences:
        """Those of the utterances ``rows``."""
        values, lengths = self.values, self.lengths
        chosen = values[np.array(rows)] if isinstance(values, np.ndarray) else [values[row] for row in rows]
        return Sequences(chosen, None if lengths is None else lengths[np.array(rows)])


@dataclass
class SourceSplit:
    """One split as it was found.

    Attributes:
        ids: "video$_$clip" of each utterance.
        label: (n,) or (n, 1) or (n, 1, 1), any numeric dtype.
        raw_text: the utterance as written.
        words: the utterance as words; then ``features`` have one step per word.
        tokens: word-piece ids with [CLS] and [SEP], without padding.
        features: text (word vectors or precomputed), audio, vision; what the source lacks is absent.
        unimodal: (n,) true per-modality labels, where they are known.
    """

    ids: list[str]
    label: np.ndarray
    raw_text: list[str] | None = None
    words: list[list[str]] | None = None
    tokens: list[np.ndarray] | None = None
    features: dict[str, Sequences] = field(default_factory=dict)
    unimodal: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def spoken(self) -> list[list[str]] | None:
        """The words of each utterance: ``words``, or what stands between blanks in its text; None without either."""
        if self.words is None and self.raw_text is not None:
            return [text.split() for text in self.raw_text]
        return self.words

    def check(self, name: str) -> None:
        """Check that every column has a row for each id.

        Raises:
            UserError: one has not.
        """
        columns = {column: getattr(self, column) for column in ("label", "raw_text", "words", "tokens")}
        columns |= {f"{m} label": label for m, label in self.unimodal.items()}
        for modality, sequences in self.features.items():
            columns |= {modality: sequences.values, f"{modality} lengths": sequences.lengths}
        for column, values in columns.items():
            if values is not None and len(values) != len(self.ids):
                raise UserError(f"{name}: {len(values)} rows of {column}, but {len(self.ids)} ids")

    def take(self, rows: list[int]) -> SourceSplit:
        """The utterances ``rows``, in that order."""

        def taken(column: list | None) -> list | None:
            return None if column is None else [column[row] for row in rows]

        return SourceSplit(
            ids=[self.ids[row] for row in rows],
            label=self.label[rows],
            raw_text=taken(self.raw_text),
            words=taken(self.words),
            tokens=taken(self.tokens),
            features={modality: sequences.take(rows) for modality, sequences in self.features.items()},
            unimodal={modality: label[rows] for modality, label in self.unimodal.items()},
        )


@dataclass
class Source:
    """A whole source as it was found.

    Attributes:
        layout: the layout's name, such as ``mmsa``.
        splits: train, valid and test.
        aligned: the source says that all modalities of an utterance share their steps (words or tokens).
        report: one line for each thing worth telling the user.
        names: of each feature, by modality, where the source says them.
    """

    layout: str
    splits: dict[str, SourceSplit]
    aligned: bool
    report: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)
