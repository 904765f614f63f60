from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.data.demo import DIMS, WORD_VECTOR, DemoDataModule, generate
from mmsa_lightning.data.inspect import describe
from mmsa_lightning.data.store import Store, write
from mmsa_lightning.errors import UserError

COUNTS = {"train": 300, "valid": 20, "test": 30}


def prepare(path: Path, seed: int = 0) -> Store:
    data = DemoDataModule(
        str(path),
        generator_seed=seed,
        counts=COUNTS,
        batch_size=8,
        eval_batch_size=8,
        text="bert",
        modalities=None,
        standardize=True,
        seed=1,
        num_workers=0,
    )
    data.prepare_data()
    return Store(path)


def test_a_function_of_the_seed(tmp_path: Path) -> None:
    first, second, other = (prepare(tmp_path / f"{n}.h5", seed) for n, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.meta.content_sha256 == second.meta.content_sha256 != other.meta.content_sha256


def test_made_once_and_again_only_when_asked_for_other_data(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    prepare(path)
    before = path.stat().st_mtime_ns
    prepare(path)
    assert path.stat().st_mtime_ns == before
    assert prepare(path, seed=1).meta.content_sha256 != prepare(tmp_path / "x.h5").meta.content_sha256


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(UserError, match="is not a usable store"):
        prepare(path)
    assert path.read_text() == "mine"

    store = prepare(tmp_path / "imported.h5")
    store.meta.layout = "mmsa"
    write(tmp_path / "imported.h5", store.splits, store.meta)
    before = (tmp_path / "imported.h5").read_bytes()
    with pytest.raises(UserError, match="not demo data"):
        prepare(tmp_path / "imported.h5", seed=1)
    assert (tmp_path / "imported.h5").read_bytes() == before


def test_has_what_the_published_sets_have_and_true_unimodal_labels(tmp_path: Path) -> None:
    store = prepare(tmp_path / "demo.h5")
    assert {name: len(split) for name, split in store.splits.items()} == COUNTS
    assert store.dims == {"tokens": None, "text": WORD_VECTOR} | DIMS
    assert store.meta.aligned
    train = store.splits["train"]
    assert set(train.unimodal) == {"text", "audio", "vision"}
    assert np.abs(train.label).max() <= 3
    assert (train.label == 0).any() and (train.label > 0).any() and (train.label < 0).any()
    assert "demo" in describe(store)


def test_a_word_has_one_vector_of_its_own() -> None:
    split = generate(0, {"train": 200}).splits["train"]
    assert split.words is not None
    found: dict[str, bytes] = {}
    for words, vectors in zip(split.words, split.features["text"].values, strict=True):
        assert vectors.shape == (len(words), WORD_VECTOR)
        for word, vector in zip(words, vectors, strict=True):
            assert found.setdefault(word, vector.tobytes()) == vector.tobytes()
    assert len(set(found.values())) == len(found) > 40


def test_modalities_partly_disagree() -> None:
    """Irony: in about one utterance of five the words say the opposite of voice and face."""
    unimodal = generate(0, {"train": 2000}).splits["train"].unimodal
    opposite = np.sign(unimodal["text"]) != np.sign(unimodal["audio"])
    strong = np.abs(unimodal["audio"]) > 1
    assert 0.15 < opposite[strong].mean() < 0.25
    assert 0.3 < np.corrcoef(unimodal["text"], unimodal["audio"])[0, 1] < 0.8


def test_every_modality_carries_its_sentiment() -> None:
    """A linear model on mean features finds it; words say it, too."""
    split = generate(0, {"train": 1500}).splits["train"]
    for modality in DIMS:
        means = np.stack([sequence.mean(axis=0) for sequence in split.features[modality].values])
        weights, *_ = np.linalg.lstsq(means[:1000], split.unimodal[modality][:1000])
        assert np.corrcoef(means[1000:] @ weights, split.unimodal[modality][1000:])[0, 1] > 0.4
    text = split.unimodal["text"]
    assert split.raw_text is not None
    praise = [any(w in t for w in ("wonderful", "brilliant", "masterpiece")) for t in split.raw_text]
    assert text[praise].mean() > 1.5
