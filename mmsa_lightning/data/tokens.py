"""Text to word pieces: which word each piece belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsa_lightning.data.case import is_upper, tells_case
from mmsa_lightning.data.tokenizers import blank_of, tokenizer
from mmsa_lightning.data.vocabularies import vocabulary, vocabulary_sha256
from mmsa_lightning.errors import UserError

MAX_PIECES = 512  # BERT has no position beyond it


@dataclass
class Pieces:
    """One utterance's word pieces.

    Attributes:
        ids: int64 (pieces,), with the begin mark ([CLS] or <s>) first and the end mark ([SEP] or </s>) last.
        word: int64 (pieces,), the index of the word that each piece is of; -1 for the begin and the end mark.
        cut: whether the text was longer than :data:`MAX_PIECES` and lost its end.
        unknown: how many of the pieces are the unknown one.
        lost: how many words have no piece, or none but the blank before them.
        blank: how many pieces are nothing but the blank before a word.
    """

    ids: np.ndarray
    word: np.ndarray
    cut: bool
    unknown: int = 0
    lost: int = 0
    blank: int = 0


@dataclass
class Tokenized:
    """What a tokenizer made of the text of all splits.

    Attributes:
        pieces: of each split's utterances.
        vocabulary: the fields of :class:`~mmsa_lightning.data.store.Meta` that say whose they are.
        report: one line for each thing worth telling the user.
    """

    pieces: dict[str, list[Pieces]]
    vocabulary: dict[str, Any]
    report: list[str]


def check_known(name: str, pieces: Iterable[Pieces]) -> list[str]:
    """Check that a tokenizer knows the text that it was given.

    Args:
        name: of the tokenizer.
        pieces: what it made of all utterances.

    Returns:
        a line for the report on what it does not know, if there is any.

    Raises:
        UserError: it does not know most of the text.
    """
    utterances = list(pieces)
    unknown, lost = sum(p.unknown for p in utterances), sum(p.lost for p in utterances)
    total = sum(int((p.word >= 0).sum()) - p.blank for p in utterances) + lost
    if unknown + lost > total / 2:
        raise UserError(
            f"the tokenizer {name!r} does not know the text: {unknown + lost} of {total} word pieces are unknown to "
            "it; use a tokenizer for the language of the text"
        )
    report = []
    if unknown:
        report.append(f"text: {unknown} of {total} word pieces are unknown to the tokenizer ([UNK])")
    if lost:
        report.append(f"text: {lost} words have no word piece in the tokenizer's vocabulary, and are left out")
    return report


def tokenize(name: str, words: dict[str, list[list[str]]], *, keep_case: bool) -> Tokenized:
    """The word pieces of all splits' utterances, and whose they are.

    Args:
        name: of the tokenizer, see :func:`tokenizer`.
        words: of each split's utterances.
        keep_case: leave an upper-case transcript as it is; else a tokenizer that tells case gets it in lower case.

    Raises:
        UserError: there is no such tokenizer, or it does not know most of the text.
    """
    found, report = tokenizer(name), []
    spoken = (word for utterances in words.values() for utterance in utterances for word in utterance)
    lowered = not keep_case and tells_case(found) and is_upper(spoken)
    if lowered:
        words = {split: lower(utterances) for split, utterances in words.items()}
        report.append(
            f"text: an upper-case transcript, and the tokenizer {name} tells case: tokenized in lower case "
            "(--keep-case leaves it)"
        )
    pieces = {split: encode(found, utterances) for split, utterances in words.items()}
    report += check_known(name, [p for split in pieces.values() for p in split])
    known = {
        "vocabulary": vocabulary(name),
        "vocabulary_sha256": vocabulary_sha256(found),
        "vocabulary_assumed": False,
        "lower_cased": lowered,
    }
    return Tokenized(pieces, known, report)


def lower(utterances: list[list[str]]) -> list[list[str]]:
    """The same words in lower case."""
    return [[word.lower() for word in words] for words in utterances]


def encode(tokenizer: Any, utterances: list[list[str]], *, longest: int = MAX_PIECES) -> list[Pieces]:
    """The word pieces of each utterance, given as words; what exceeds ``longest`` is cut."""
    if not utterances:
        return []
    encodings = tokenizer(utterances, is_split_into_words=True, truncation=True, max_length=longest).encodings
    blank_piece = blank_of(tokenizer)
    blank_id = tokenizer.backend_tokenizer.token_to_id(blank_piece) if blank_piece else None
    pieces = []
    for encoding, words in zip(encodings, utterances, strict=True):
        ids = np.array(encoding.ids, dtype=np.int64)
        word = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
        cut = bool(encoding.overflowing)
        blank = ids == blank_id
        unknown, kept = int((ids == tokenizer.unk_token_id).sum()), word[(word >= 0) & ~blank]
        read = int(kept.max(initial=-1)) + 1 if cut else len(words)
        pieces.append(Pieces(ids, word, cut, unknown, read - len(set(kept.tolist())), int(blank.sum())))
    return pieces


def on_pieces(steps: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Per-word features (words, dim) as per-piece features (pieces, dim).

    Each piece gets its word's features; the begin and the end mark get zeros, as MAG-BERT's ``multimodal_driver.py``
    does it with [CLS] and [SEP].
    """
    placed = np.zeros((len(pieces.word), steps.shape[1]), steps.dtype)
    real = pieces.word >= 0
    placed[real] = steps[pieces.word[real]]
    return placed
