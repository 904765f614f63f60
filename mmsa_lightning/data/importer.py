"""From a published file to a store."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmsa_lightning.data import formats, store, tokenizers, tokens, vocabularies
from mmsa_lightning.data.clean import clean
from mmsa_lightning.data.extraction import Extraction
from mmsa_lightning.data.releases import LABEL_RANGES, RELEASES
from mmsa_lightning.data.source import Source
from mmsa_lightning.data.store import Meta
from mmsa_lightning.data.tokens import Pieces
from mmsa_lightning.errors import UserError


def import_file(
    source: Path,
    dataset: str,
    out: Path,
    tokenizer: str | None = None,
    split: tuple[float, float, float] | None = None,
    label_range: tuple[float, float] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    keep_case: bool = False,
    more: Sequence[Path] = (),
    **features: Path | None,
) -> Meta:
    """Read ``source``, whatever its layout, and write a store at ``out``.

    Args:
        source: see :func:`mmsa_lightning.data.formats.read`, as for ``more``, ``split``, ``separator``, ``encoding``
            and ``features``.
        dataset: ``mosi``, ``mosei`` or the user's own name.
        out: the store's place; one that is there is replaced.
        tokenizer, keep_case: see :func:`import_source`.
        label_range: the lowest and the highest label that there can be; None: the data set's, or what is found.

    Raises:
        UserError: the source is not readable, not known or not sound. ``out`` is then as it was before.
    """
    label_range = known_range(dataset, label_range)
    with formats.unforeseen(source):
        found = formats.read(
            source, more=more, dataset=dataset, split=split, separator=separator, encoding=encoding, **features
        )
        return _import(found, [source, *more], dataset, out, tokenizer, keep_case, label_range, features)


def known_range(dataset: str, stated: tuple[float, float] | None) -> tuple[float, float] | None:
    """The lowest and the highest label of a data set, as far as they are known.

    Raises:
        UserError: the name or the range cannot be one, or the data set has another range.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", dataset):
        raise UserError(f"a dataset's name may have only letters, digits, '.', '-' and '_', not {dataset!r}")
    if dataset not in LABEL_RANGES and (name := dataset.lower()) in LABEL_RANGES:
        raise UserError(f"--dataset {dataset}: {name} is written in small letters; other data need another name")
    known = LABEL_RANGES.get(dataset)
    if stated is None:
        return known
    if not all(map(math.isfinite, stated)) or stated[0] >= stated[1]:
        raise UserError("--label-range wants two numbers, the lower first, such as: --label-range -1 1")
    if known is not None and stated != known:
        raise UserError(f"labels of {dataset} lie in [{known[0]:g}, {known[1]:g}]; other data need another --dataset")
    return stated


def _import(
    found: Source,
    sources: list[Path],
    dataset: str,
    out: Path,
    tokenizer: str | None,
    keep_case: bool,
    label_range: tuple[float, float] | None,
    features: dict[str, Path | None],
) -> Meta:
    for option, file in features.items():
        if file is not None:
            found.report.append(f"{option.replace('_', ' ')}: from {file.name}, SHA-256 {sha256([file])}")
    files = formats.computational_sequences(*sources)
    if not files:
        (source,) = sources
        files = [source / name for name in sorted(formats.FOLDS)] if source.is_dir() else [source]
    return import_source(
        found,
        out,
        dataset=dataset,
        name=", ".join(source.resolve().name for source in sources),
        sha256=sha256(files),
        tokenizer=tokenizer,
        keep_case=keep_case,
        label_range=label_range,
    )


def import_source(
    source: Source,
    out: Path,
    *,
    dataset: str,
    name: str,
    sha256: str,
    tokenizer: str | None,
    keep_case: bool = False,
    label_range: tuple[float, float] | None = None,
    extraction: Extraction | None = None,
) -> Meta:
    """Clean ``source`` and write it as a store at ``out``.

    Args:
        name: what the store says it comes from.
        sha256: of that.
        tokenizer: a text encoder whose tokenizer makes tokens of the words or the text if the source has no tokens;
            otherwise it says whose tokens they are. ``minilm`` stands for bert-base-uncased's. None means ``minilm``
            for making tokens, and assumes its vocabulary for those of the source.
        keep_case: see :func:`mmsa_lightning.data.tokens.tokenize`.
        label_range: the lowest and the highest label that there can be; None: what is found.
        extraction: how the features were made of videos, where they were.

    Raises:
        UserError: the source is not sound, or there is no such tokenizer, or it does not know the text, or its tokens
            are not of the vocabulary that they are said to be of. ``out`` is then as it was before.
    """
    pieces, vocabulary = _pieces(source, tokenizer or "minilm", keep_case)
    if pieces is None and any(split.tokens is not None for split in source.splits.values()):
        vocabulary = _stated_vocabulary(source, tokenizer)
    with formats.naming(Path(name)):
        cleaned = clean(source, pieces, label_range)
    meta = Meta(
        dataset=dataset,
        layout=source.layout,
        source=name,
        source_sha256=sha256,
        release=RELEASES.get(sha256),
        aligned=cleaned.aligned,
        report=cleaned.report,
        label_range=cleaned.label_range,
        range_found=label_range is None,
        feature_names=source.names,
        extraction=extraction,
        **vocabulary,
    )
    return store.write(out, cleaned.splits, meta)


def _pieces(source: Source, name: str, keep_case: bool) -> tuple[dict[str, list[Pieces]] | None, dict[str, Any]]:
    """Word pieces of each split's words or text, and whose they are; None if the source has tokens or no text."""
    splits = {split_name: split for split_name, split in source.splits.items() if split.tokens is None}
    texts = {split_name: words for split_name, split in splits.items() if (words := split.spoken) is not None}
    if not texts or len(texts) < len(source.splits):
        return None, {"vocabulary": None}
    made = tokens.tokenize(name, texts, keep_case=keep_case)
    source.report += made.report
    return made.pieces, made.vocabulary


def _stated_vocabulary(source: Source, name: str | None) -> dict[str, Any]:
    """Whose the source's own tokens are, as far as it is known."""
    stated = vocabularies.vocabulary(name or vocabularies.UNCASED)
    if name is None:
        source.report.append(f"tokens: assumed to be those of {stated}; --text-encoder NAME states another")
    known: dict[str, Any] = {"vocabulary": stated, "vocabulary_assumed": name is None}
    try:
        tokenizer = vocabularies.tokenizer_of(stated)
    except UserError as error:
        if name is not None:
            source.report.append(f"tokens: stated to be those of {stated}, which cannot be checked here: {error}")
        return known
    splits = source.splits.values()
    texts = [pair for split in splits for pair in zip(split.tokens or [], split.raw_text or [], strict=False)]
    found, total = tokenizers.spelled(tokenizer, texts)
    if found < total / 2:
        read = f"read as those of {stated}, {total - found} of {total} word pieces do not occur in their text"
        if name is not None:
            raise UserError(
                f"the source has token ids of its own, which are not of the vocabulary of {name}: {read}; name the "
                "encoder that they are of, and use mmsa data tokenize on the store for another"
            )
        source.report.append(f"tokens: {read}")
    return known | ({"vocabulary_sha256": vocabularies.vocabulary_sha256(tokenizer)} if name is not None else {})


def sha256(files: list[Path]) -> str:
    """SHA-256 of the files' bytes, one file after the other, read in pieces."""
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
