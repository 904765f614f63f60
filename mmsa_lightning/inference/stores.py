"""Whether a store holds what a trained model reads."""

from __future__ import annotations

from mmsa_lightning.data.store import SPLITS, Store, check_names
from mmsa_lightning.data.vocabularies import UNCASED, UNCASED_SHA256, command
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import About


def check_store(about: About, store: Store, split: str) -> dict[str, str]:
    """Check that a store can be read with a trained model.

    Args:
        about: of the model.
        store: opened.
        split: train, valid or test.

    Returns:
        by modality the sequence of the store to read.

    Raises:
        UserError: it cannot.
    """
    if split not in SPLITS:
        raise UserError(f"split {split}: choose one of {', '.join(SPLITS)}")
    names = {}
    for m, modality in about.modalities.items():
        name = "tokens" if modality.width is None else m
        if name not in store.dims:
            what = {"tokens": "word pieces", "text": "features of the text"}.get(name, name)
            raise UserError(f"{store.path} has no {what}, which this model reads; it has {', '.join(store.dims)}")
        if store.dims[name] != modality.width:
            raise UserError(
                f"{store.path} has {m} of width {store.dims[name]}, but this model reads {modality.width} features"
            )
        check_names(m, modality.names, store.meta.feature_names.get(name), str(store.path))
        names[m] = name
    if "tokens" in names.values():
        _check_vocabulary(about, store)
    if about.aligned and store.splits[split].aligned(names.values()) is False:
        raise UserError(
            f"{store.path}: {', '.join(names)} are not aligned, as those were that this model was trained on; import "
            "the source with features of one step per word or per utterance"
        )
    return names


def _check_vocabulary(about: About, store: Store) -> None:
    vocabulary, meta = about.vocabulary, store.meta
    assert vocabulary is not None
    stored = meta.vocabulary_sha256 or (UNCASED_SHA256 if meta.vocabulary == UNCASED else None)
    if stored != vocabulary.sha256 and (stored or meta.vocabulary != vocabulary.name):
        raise UserError(
            f"{store.path} has word pieces of {meta.vocabulary}, but this model reads those of {vocabulary.name}; "
            f"tokenize it with: {command(store.path, about.text_encoder or vocabulary.name)}"
        )
    longest = max(int(split.sequences["tokens"].lengths.max()) for split in store.splits.values())
    if longest > vocabulary.longest:
        raise UserError(
            f"{store.path} has an utterance of {longest} word pieces; this model reads {vocabulary.longest}"
        )
