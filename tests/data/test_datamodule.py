from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.store import SPLITS, Meta, Ragged, Split, Store, write
from mmsa_lightning.errors import UserError

COUNTS = {"train": 50, "valid": 11, "test": 13}


def make_split(n: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, n)
    return Split(
        ids=[f"v{seed}$_${i}" for i in range(n)],
        label=rng.uniform(-3, 3, n).astype(np.float32),
        sequences={
            "tokens": Ragged.from_arrays([rng.integers(1, 99, k, dtype=np.int32) for k in lengths]),
            "audio": Ragged.from_arrays([rng.normal(4, 3, (k, 5)).astype(np.float32) for k in lengths]),
            "vision": Ragged.from_arrays([rng.normal(size=(k + 2, 3)).astype(np.float32) for k in lengths]),
        },
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "made.h5"
    splits = {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)}
    splits["test"].sequences["audio"].values[:, 4] = 7  # constant in test alone
    splits["train"].sequences["audio"].values[:, 3] = 2  # constant in train
    write(path, splits, Meta("made", "table", "x.csv", "0" * 64, None, False, "words", []))
    return path


def module(path: Path, **options: Any) -> StoreDataModule:
    defaults: dict[str, Any] = {
        "batch_size": 32,
        "eval_batch_size": 128,
        "text": "bert",
        "modalities": None,
        "standardize": True,
        "seed": 1,
        "num_workers": 0,
    }
    data = StoreDataModule(str(path), **defaults | options)
    data.setup()
    return data


def batches(data: StoreDataModule, split: str) -> list[Batch]:
    loader = {"train": data.train_dataloader, "valid": data.val_dataloader, "test": data.test_dataloader}[split]()
    return list(loader)


@pytest.mark.parametrize("split", SPLITS)
def test_every_utterance_arrives_whole_and_once(path: Path, split: str) -> None:
    data = module(path, batch_size=8, eval_batch_size=4, standardize=False)
    stored, seen = Store(path).splits[split], []
    for batch in batches(data, split):
        for row, i in enumerate(batch.index.tolist()):
            seen.append(i)
            assert batch.label[row] == stored.label[i]
            for name in ("tokens", "audio", "vision"):
                padded, expected = getattr(batch, name), stored.sequences[name][i]
                n = int(padded.lengths[row])
                np.testing.assert_array_equal(padded.values[row, :n].numpy(), expected)
                assert (padded.values[row, n:] == 0).all()
                assert padded.mask[row].sum() == n == len(expected)
        assert batch.audio is not None and batch.audio.values.shape[1] == batch.audio.lengths.max()
    assert sorted(seen) == list(range(COUNTS[split]))


def test_standardised_with_the_moments_of_train_alone(path: Path) -> None:
    data = module(path)
    train = Store(path).splits["train"].sequences["audio"].values
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[3] = 1  # constant: centred, not divided by zero
    for split in SPLITS:
        stored = Store(path).splits[split].sequences["audio"]
        for batch in batches(data, split):
            assert batch.audio is not None and batch.vision is not None
            for row, i in enumerate(batch.index.tolist()):
                n = int(batch.audio.lengths[row])
                expected = (stored[i] - mean) / std
                np.testing.assert_allclose(batch.audio.values[row, :n].numpy(), expected, rtol=1e-4, atol=1e-5)
                assert (batch.audio.values[row, n:] == 0).all()  # padding stays zero


def test_workers_read_the_same(path: Path) -> None:
    alone, workers = (batches(module(path, batch_size=8, num_workers=n), "train") for n in (0, 2))
    for a, b in zip(alone, workers, strict=True):
        assert torch.equal(a.index, b.index)
        assert a.audio is not None and b.audio is not None
        assert torch.equal(a.audio.values, b.audio.values)


def test_a_pickled_split_carries_no_data(path: Path) -> None:
    """A worker that is spawned opens the store itself."""
    utterances = module(path).split("train")
    assert len(pickle.dumps(utterances)) < 5000
    again = pickle.loads(pickle.dumps(utterances))
    assert torch.equal(again[[3, 1]].label, utterances[[3, 1]].label)


def test_loading_does_not_disturb_trainings_random_numbers(path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    batches(module(path), "train")
    assert torch.equal(torch.rand(3), expected)


def test_only_the_modalities_asked_for(path: Path) -> None:
    data = module(path, modalities=["vision", "text"])
    assert data.dims == {"text": None, "vision": 3}
    (batch, *_) = batches(data, "valid")
    assert batch.audio is None and batch.tokens is not None and batch.vision is not None
    assert module(path).dims == {"text": None, "audio": 5, "vision": 3}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": ["smell"]}, "smell"),
        ({"modalities": []}, "at least one"),
        ({"text": "features"}, "it has text=bert"),
        ({"text": "letters"}, "choose one of"),
    ],
)
def test_what_is_lacking_is_said(path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        module(path, **options)


def test_a_modality_that_the_store_lacks_is_named(path: Path, tmp_path: Path) -> None:
    splits = dict(Store(path).splits)
    for split in splits.values():
        del split.sequences["vision"]
    write(tmp_path / "two.h5", splits, Store(path).meta)
    assert module(tmp_path / "two.h5").dims == {"text": None, "audio": 5}
    with pytest.raises(UserError, match="has no vision"):
        module(tmp_path / "two.h5", modalities=["text", "vision"])
