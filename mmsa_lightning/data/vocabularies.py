"""Whose vocabulary a store's tokens are of, and whether a text encoder has the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from mmsa_lightning.data.store import Meta
from mmsa_lightning.data.tokenizers import tokenizer
from mmsa_lightning.errors import UserError

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
