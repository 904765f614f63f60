from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.data import ragged
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split, Store, write
from mmsa_lightning.data.utterances import moments
from mmsa_lightning.errors import UserError

COUNTS = {"train": 50, "valid": 11, "test": 13}
META = Meta("made", "table", "x.csv", "0" * 64, None, False, "words", [])


def make_split(n: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, n)
    return Split(
        ids=[f"v{seed}$_${i}" for i in range(n)],
        label=rng.uniform(-3, 3, n).astype(np.float32),
        sequences={
            "tokens": Loaded([rng.integers(1, 99, k, dtype=np.int32) for k in lengths]),
            "audio": Loaded([rng.normal(4, 3, (k, 5)).astype(np.float32) for k in lengths]),
            "vision": Loaded([rng.normal(-2, 5, (k + 2, 3)).astype(np.float32) for k in lengths]),
        },
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "made.h5"
    splits = {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)}
    for i in range(COUNTS["test"]):
        splits["test"].sequences["audio"][i][:, 4] = 7  # constant in test alone
    for i in range(COUNTS["train"]):
        splits["train"].sequences["audio"][i][:, 3] = 2  # constant in train
    write(path, splits, META)
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


@pytest.mark.parametrize("modality", ["audio", "vision"])
def test_standardised_with_the_moments_of_train_alone(path: Path, modality: str) -> None:
    data = module(path)
    stored = Store(path).splits["train"].sequences[modality]
    train = np.concatenate([stored[i] for i in range(len(stored))])
    mean, std = train.mean(axis=0), train.std(axis=0)
    if modality == "audio":
        std[3] = 1  # constant: centred, not divided by zero
    for split in SPLITS:
        stored = Store(path).splits[split].sequences[modality]
        for batch in batches(data, split):
            padded = batch.sequence(modality)
            for row, i in enumerate(batch.index.tolist()):
                n = int(padded.lengths[row])
                expected = (stored[i] - mean) / std
                np.testing.assert_allclose(padded.values[row, :n].numpy(), expected, rtol=1e-4, atol=1e-5)
                assert (padded.values[row, n:] == 0).all()  # padding stays zero


def test_steps_that_hold_nothing_are_no_data_and_stay_zero(tmp_path: Path) -> None:
    """15 % of the steps are empty, as [CLS], [SEP] and missing audio leave them: mean 100 and deviation 5 are found."""
    rng = np.random.default_rng(0)
    splits = {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)}
    for split in splits.values():
        for steps in split.sequences["audio"].arrays:  # type: ignore[attr-defined]
            steps[:] = rng.normal(100, 5, steps.shape)
            steps[:, 2] = np.where(rng.random(len(steps)) < 0.5, 0, 1)  # a feature that is 0 in steps that are not
            steps[rng.random(len(steps)) < 0.15] = 0
        split.sequences["audio"].arrays[0][:] = 0  # type: ignore[attr-defined]
    write(tmp_path / "made.h5", splits, META)
    data = module(tmp_path / "made.h5")
    stored = splits["train"].sequences["audio"]
    held, empty = [], 0
    for batch in batches(data, "train"):
        audio = batch.sequence("audio")
        for row, i in enumerate(batch.index.tolist()):
            real, raw = audio.values[row, : int(audio.lengths[row])].numpy(), stored[i]
            is_empty = (raw == 0).all(axis=1)
            assert (real[is_empty] == 0).all()
            held.append(real[~is_empty])
            empty += int(is_empty.sum())
    assert empty > 50
    np.testing.assert_allclose(np.concatenate(held).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.concatenate(held).std(axis=0), 1, atol=1e-4)


def test_a_single_feature_is_only_divided(tmp_path: Path) -> None:
    """Zero is one of its values, beside what stands in steps that hold nothing."""
    rng = np.random.default_rng(0)
    splits = {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)}
    for split in splits.values():
        arrays = [(rng.random((length, 1)) < 0.5).astype(np.float32) * 3 for length in split.sequences["audio"].lengths]
        split.sequences["audio"] = Loaded(arrays)
    write(tmp_path / "made.h5", splits, META)
    values = torch.cat(
        [batch.sequence("audio").values.flatten() for batch in batches(module(tmp_path / "made.h5"), "train")]
    )
    assert values.unique().tolist() == [0.0, 1.0]


def test_features_are_told_apart_from_constants_whatever_their_unit(tmp_path: Path) -> None:
    splits = {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)}
    for split in splits.values():
        for steps in split.sequences["audio"].arrays:  # type: ignore[attr-defined]
            steps[:, 1] *= 1e-12
    write(tmp_path / "made.h5", splits, META)
    steps = [
        audio.values[row, : int(audio.lengths[row])]
        for batch in batches(module(tmp_path / "made.h5"), "train")
        for audio in [batch.sequence("audio")]
        for row in range(len(batch))
    ]
    np.testing.assert_allclose(torch.cat(steps).std(dim=0)[:3], 1, atol=1e-2)


def test_a_modality_that_holds_nothing_stays_zero(tmp_path: Path) -> None:
    splits = {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)}
    for split in splits.values():
        for steps in split.sequences["audio"].arrays:  # type: ignore[attr-defined]
            steps[:] = 0
    write(tmp_path / "made.h5", splits, META)
    for batch in batches(module(tmp_path / "made.h5"), "train"):
        assert (batch.sequence("audio").values == 0).all()


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


def test_an_utterance_is_as_long_as_its_longest_sequence(path: Path) -> None:
    """Vision has two steps more than text and audio."""
    text = [len(tokens) for tokens in Store(path).splits["valid"].sequences["tokens"]]
    assert module(path).split("valid").lengths.tolist() == [n + 2 for n in text]
    assert module(path, modalities=["text", "audio"]).split("valid").lengths.tolist() == text


def write_made(path: Path, **changed: Split) -> Path:
    write(path, {name: make_split(COUNTS[name], seed) for seed, name in enumerate(SPLITS)} | changed, META)
    return path


def test_alignment_is_of_the_sequences_that_are_read(path: Path) -> None:
    assert not module(path).aligned
    assert module(path, modalities=["text", "audio"]).aligned
    assert module(path, modalities=["vision"]).aligned
    assert not module(path, modalities=["audio", "vision"]).aligned


@pytest.mark.parametrize("split", SPLITS)
def test_alignment_and_the_largest_token_are_of_every_split(tmp_path: Path, split: str) -> None:
    odd = make_split(COUNTS[split], 7)
    lengths = odd.sequences["tokens"].lengths
    odd.sequences["audio"] = Loaded([np.ones((n, 5), np.float32) for n in lengths[::-1]])  # same in sum
    odd.sequences["tokens"][3][0] = 4321
    data = module(write_made(tmp_path / "odd.h5", **{split: odd}), modalities=["text", "audio"])
    assert not data.aligned
    assert data.largest_token == 4321


def test_a_batch_is_moved_without_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = module(path), []
    batch = next(iter(data.val_dataloader()))
    move = torch.Tensor.to

    def to(tensor: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        asked.append(options)
        return move(tensor, *args, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.label.is_meta and moved.audio.values.is_meta and moved.audio.mask.is_meta
    assert asked == [{"non_blocking": True}] * 8  # index, label, and values and mask of three modalities


def test_no_tokens_have_no_largest(path: Path) -> None:
    assert module(path, modalities=["audio"]).largest_token == -1


def test_a_checkpoint_of_other_data_is_refused(path: Path, tmp_path: Path) -> None:
    state = module(path).state_dict()
    module(path, batch_size=3, modalities=["audio"]).load_state_dict(state)
    other = make_split(COUNTS["test"], 2)
    other.label[0] += 0.25
    changed = write_made(tmp_path / "other.h5", test=other)
    with pytest.raises(UserError, match=r"trained on other data than .*other\.h5"):
        module(changed).load_state_dict(state)


def test_a_store_that_is_replaced_during_a_run_does_not_slip_in(tmp_path: Path) -> None:
    path = write_made(tmp_path / "made.h5")
    data = module(path)
    before, state = data.split("test")[[0, 5]], data.state_dict()
    write_made(path, test=make_split(20, 9))
    assert module(path).state_dict() != state  # it was replaced
    data.setup("test")
    after = data.split("test")[[0, 5]]
    assert (len(data.split("test")), data.state_dict()) == (COUNTS["test"], state)
    assert torch.equal(after.label, before.label)
    assert torch.equal(after.sequence("audio").values, before.sequence("audio").values)


def test_an_order_that_is_unknown_is_an_error(path: Path) -> None:
    with pytest.raises(ValueError, match="choose one of bucket, uniform"):
        module(path, order="sorted")


@pytest.mark.parametrize(("order", "like"), [("bucket", True), ("uniform", False)])
def test_training_batches_are_drawn_in_the_order_asked_for(path: Path, order: str, like: bool) -> None:
    data = module(path, batch_size=4, order=order)
    lengths = data.split("train").lengths
    spread = np.mean([np.ptp(lengths[batch.index.numpy()]) for _ in range(5) for batch in batches(data, "train")])
    assert (spread < 0.6 * np.mean([np.ptp(np.random.default_rng(i).choice(lengths, 4)) for i in range(200)])) == like


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"eval_batch_size": 0}, {"num_workers": -1}], ids=str)
def test_batch_sizes_below_1_and_negative_workers_are_errors(path: Path, wrong: dict[str, int]) -> None:
    module(path, batch_size=1, eval_batch_size=1)
    with pytest.raises(ValueError, match="at least 1"):
        module(path, **wrong)


def test_moments_of_several_blocks_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(i, 1 + i, (4, 3)).astype(np.float32) for i in range(6)]
    monkeypatch.setattr(ragged, "BLOCK", 2 * arrays[0].nbytes)
    mean, std = moments(Loaded(arrays))
    np.testing.assert_allclose(mean, np.concatenate(arrays).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, np.concatenate(arrays).std(axis=0), rtol=1e-5)
