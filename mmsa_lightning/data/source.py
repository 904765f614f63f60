"""What every reader of a published layout returns, before anything is checked or put right."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sequences:
    """One modality of one split as it was found.

    Attributes:
        values: (n, time, dim) padded on either side, or n arrays (length, dim).
        lengths: (n,) true lengths, where the source states them.
    """

    values: np.ndarray | list[np.ndarray]
    lengths: np.ndarray | None = None


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


@dataclass
class Source:
    """A whole source as it was found.

    Attributes:
        layout: the layout's name, such as ``mmsa``.
        splits: train, valid and test.
        aligned: the source says that all modalities of an utterance share their steps (words or tokens).
        report: one line for each thing worth telling the user.
    """

    layout: str
    splits: dict[str, SourceSplit]
    aligned: bool
    report: list[str] = field(default_factory=list)
