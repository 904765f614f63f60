"""A store's tokens in the vocabulary of another text encoder, with all that lies on the tokens.

They are made of the raw text. Where there is none, or features do not lie on its words, each id becomes that of the
same piece, if the two tokenizers have the same pieces and divide a text alike, as BERT's and MPNet's do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.data import store, tokenizers, tokens, vocabularies
from mmsa_lightning.data.ragged import Loaded, Ragged
from mmsa_lightning.data.store import SEQUENCES, SPLITS, Meta, Split, Store
from mmsa_lightning.data.tokens import Pieces
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES


def tokenize_store(path: Path, text_encoder: str, out: Path, *, keep_case: bool = False) -> Meta:
    """Copy the store at ``path`` to ``out``, with tokens of another vocabulary.

    Features of one step per word or per utterance that lie on the tokens follow them; other sequences are copied.

    Args:
        path: a store with tokens.
        text_encoder: whose tokenizer to use, see :func:`mmsa_lightning.data.tokenizers.tokenizer`.
        out: the new store's place; one that is there is replaced.
        keep_case: see :func:`mmsa_lightning.data.tokens.tokenize`.

    Raises:
        UserError: ``path`` is no store with tokens, there is no such tokenizer, or what the store holds does not say
            exactly what the new one must hold. ``out`` is then as it was before.
    """
    found = Store(path)
    if "tokens" not in found.dims:
        raise UserError(f"{path} has no tokens: there is nothing to make for a text encoder")
    try:
        splits, meta = _of_text(found, text_encoder, keep_case)
    except _Inexact as reason:
        try:
            splits, meta = _renumbered(found, text_encoder)
        except _Inexact as other:
            raise UserError(
                f"{path} cannot be tokenized for {text_encoder}: {reason}, and its ids cannot be renumbered: {other}; "
                f"import the source again with --text-encoder {text_encoder}"
            ) from other
    return store.write(out, splits, meta)


class _Inexact(Exception):
    """This way does not lead to exactly what an import of the source would give."""


# From the raw text.


def _of_text(found: Store, text_encoder: str, keep_case: bool) -> tuple[dict[str, Split], Meta]:
    words = {name: [text.split() for text in split.raw_text or []] for name, split in found.splits.items()}
    if any(split.raw_text is None for split in found.splits.values()):
        raise _Inexact("it holds no raw text")
    made = tokens.tokenize(text_encoder, words, keep_case=keep_case)
    report = [f"tokens: those of {text_encoder}, from the raw text; before, of {found.meta.vocabulary}", *made.report]
    if cut := sum(p.cut for pieces in made.pieces.values() for p in pieces):
        report.append(f"text: {cut} utterances are longer than {tokens.MAX_PIECES} word pieces; their end was cut off")

    moved = _moved(found, words, made.pieces, report)
    splits = {}
    for name, split in found.splits.items():
        new: dict[str, Ragged] = {"tokens": Loaded([p.ids for p in made.pieces[name]]), **moved[name]}
        sequences = split.sequences | new
        splits[name] = replace(split, sequences={s: sequences[s] for s in SEQUENCES if s in sequences})
    aligned = all(split.aligned(split.sequences) for split in splits.values())
    return splits, replace(found.meta, aligned=aligned, report=[*found.meta.report, *report], **made.vocabulary)


def _moved(
    found: Store, words: dict[str, list[list[str]]], new: dict[str, list[Pieces]], report: list[str]
) -> dict[str, dict[str, Ragged]]:
    """Of each split the sequences that lie on the tokens, on the new ones."""
    moved: dict[str, dict[str, Ragged]] = {name: {} for name in SPLITS}
    on_tokens = [m for m in MODALITIES if m in found.dims and _on_tokens(found, m)]
    old: dict[str, list[Pieces]] = {}
    for modality in on_tokens:
        stored = {name: split.sequences[modality] for name, split in found.splits.items()}
        if all(is_repeated(steps) for ragged in stored.values() for steps in each(ragged)):
            report.append(f"{modality}: one step per utterance, repeated over the new tokens")
            for name, ragged in stored.items():
                moved[name][modality] = _Repeated(ragged, new[name])
            continue
        try:
            old = old or _old_pieces(found, words)
            by_word = {name: _ByWord(ragged, old[name], new[name]) for name, ragged in stored.items()}
            for name, placed in by_word.items():
                placed.check(found.splits[name].ids, modality)
        except _Inexact:
            if on_tokens != ["text"]:
                raise
            # No model reads text features beside tokens, and nothing else has their steps: they may keep them.
            report.append("text: features of the earlier tokens, kept with their own steps")
            continue
        report.append(f"{modality}: one step per word, given to each of its new word pieces")
        for name, placed in by_word.items():
            moved[name][modality] = placed
    return moved


def _on_tokens(found: Store, modality: str) -> bool:
    return all(split.aligned(["tokens", modality]) for split in found.splits.values())


def each(ragged: Ragged) -> Iterator[np.ndarray]:
    """One sequence after the other, so that no more than one is in memory."""
    return (ragged[i] for i in range(len(ragged)))


def is_repeated(steps: np.ndarray) -> bool:
    """Whether all steps (time, dim) are the same one."""
    return bool((steps == steps[:1]).all())


def _old_pieces(found: Store, words: dict[str, list[list[str]]]) -> dict[str, list[Pieces]]:
    """The pieces that the store's tokens are, with their words."""
    name, tokenizer, pieces = found.meta.vocabulary, _old_tokenizer(found.meta), {}
    for split, texts in words.items():
        pieces[split] = tokens.encode(tokenizer, tokens.lower(texts) if found.meta.lower_cased else texts)
        stored = found.splits[split]
        for i, made in enumerate(pieces[split]):
            if not np.array_equal(made.ids, stored.sequences["tokens"][i]):
                raise _Inexact(f"the tokens of {stored.ids[i]} are not those that {name} makes of its raw text")
    return pieces


def _old_tokenizer(meta: Meta) -> Any:
    """That of the store's tokens."""
    try:
        tokenizer = vocabularies.tokenizer_of(meta.vocabulary or "")
    except UserError as error:
        raise _Inexact(str(error).partition(";")[0]) from error
    if meta.vocabulary_sha256 not in (None, vocabularies.vocabulary_sha256(tokenizer)):
        raise _Inexact(f"{meta.vocabulary} is no longer the vocabulary that it was")
    return tokenizer


class _Repeated(Ragged):
    """Features of one step per utterance, over the new tokens.

    Args:
        stored: the same step over the old tokens.
        new: the new tokens of each utterance.
    """

    def __init__(self, stored: Ragged, new: list[Pieces]) -> None:
        self.stored = stored
        self.lengths = np.array([len(pieces.ids) for pieces in new], dtype=np.int64)
        self.dtype, self.dim = stored.dtype, stored.dim

    def __getitem__(self, i: int) -> np.ndarray:
        return np.repeat(self.stored[i][:1], self.lengths[i], axis=0)


class _ByWord(Ragged):
    """Features of one step per word, over the new tokens.

    Args:
        stored: over the old tokens.
        old, new: the tokens of each utterance.
    """

    def __init__(self, stored: Ragged, old: list[Pieces], new: list[Pieces]) -> None:
        self.stored, self.old, self.new = stored, old, new
        self.lengths = np.array([len(pieces.ids) for pieces in new], dtype=np.int64)
        self.dtype, self.dim = stored.dtype, stored.dim

    def __getitem__(self, i: int) -> np.ndarray:
        return tokens.on_pieces(self._words(i), self.new[i])

    def _words(self, i: int) -> np.ndarray:
        """(words, dim): zeros for a word that has no old piece."""
        steps, word = self.stored[i], self.old[i].word
        by_word = np.zeros((1 + max(word.max(), self.new[i].word.max()), steps.shape[1]), steps.dtype)
        by_word[word[word >= 0]] = steps[word >= 0]
        return by_word

    def check(self, ids: list[str], modality: str) -> None:
        """Raise _Inexact unless the features are one step per word, and every new piece is of a word that has one."""
        for i, steps in enumerate(each(self.stored)):
            if not np.array_equal(tokens.on_pieces(self._words(i), self.old[i]), steps):
                raise _Inexact(f"{modality} of {ids[i]} is not one step per word")
            if not set(self.new[i].word.tolist()) <= set(self.old[i].word.tolist()):
                raise _Inexact(f"the earlier tokens of {ids[i]} lack words, so their {modality} is not known")


# From the ids.


def _renumbered(found: Store, text_encoder: str) -> tuple[dict[str, Split], Meta]:
    """The same tokens under other ids; all else is as it was."""
    new = tokenizers.tokenizer(text_encoder)
    renumber = _same_pieces(_old_tokenizer(found.meta), new)

    def ids(stored: np.ndarray) -> np.ndarray:
        if strange := set(stored.tolist()) - renumber.keys():
            raise _Inexact(f"{text_encoder} has no piece that is its id {min(strange)}")
        return np.array([renumber[token] for token in stored.tolist()], dtype=np.int32)

    splits = {}
    for name, split in found.splits.items():
        renumbered = Loaded([ids(stored) for stored in each(split.sequences["tokens"])])
        splits[name] = replace(split, sequences=split.sequences | {"tokens": renumbered})
    told = f"tokens: those of {found.meta.vocabulary}, renumbered as {text_encoder} numbers the same pieces"
    meta = replace(
        found.meta,
        vocabulary=vocabularies.vocabulary(text_encoder),
        vocabulary_sha256=vocabularies.vocabulary_sha256(new),
        report=[*found.meta.report, told],
    )
    return splits, meta


def _same_pieces(old: Any, new: Any) -> dict[int, int]:
    """The new id of each old one, special tokens by their role; of tokenizers that divide every text alike."""
    if _division(old) != _division(new):
        raise _Inexact("the two tokenizers divide a text in other ways")
    special = _special(old) | _special(new)
    before, after = ({p: i for p, i in t.get_vocab().items() if p not in special} for t in (old, new))
    if before.keys() != after.keys():  # the longest piece that fits is taken: one more may change any word
        raise _Inexact("the two vocabularies do not have the same pieces")
    roles = [*zip(tokenizers.frame(old), tokenizers.frame(new), strict=True)]
    roles += [(getattr(old, role), getattr(new, role)) for role in ("pad_token_id", "unk_token_id", "mask_token_id")]
    same = {i: after[piece] for piece, i in before.items()}
    return same | {i: equal for i, equal in roles if None not in (i, equal)}


def _division(tokenizer: Any) -> dict[str, Any]:
    """How a tokenizer divides a text, its vocabulary apart."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    if state["model"]["type"] != "WordPiece":  # another model divides by more than its pieces
        raise _Inexact(f"a {state['model']['type']} tokenizer needs the text")
    model = {key: value for key, value in state["model"].items() if key not in ("vocab", "unk_token")}
    return {"normalizer": state["normalizer"], "pre_tokenizer": state["pre_tokenizer"], "model": model}


def _special(tokenizer: Any) -> set[str]:
    """The special tokens, those without a role included."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return added | set(tokenizer.all_special_tokens)
