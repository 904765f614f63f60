from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from mmsa_lightning.data.sampler import ORDERS, LengthSampler, TrainingSampler

LENGTHS = np.random.default_rng(0).integers(1, 60, 229)


def batches(epoch: int = 0, **options: Any) -> list[list[int]]:
    sampler = TrainingSampler(LENGTHS, **{"batch_size": 8, "seed": 3, "order": "bucket"} | options)
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [1, 8, 100, 229, 300])
def test_every_utterance_once_an_epoch(order: str, size: int) -> None:
    found = batches(order=order, batch_size=size)
    assert sorted(i for batch in found for i in batch) == list(range(229))
    whole, left = divmod(229, size)
    assert sorted(map(len, found)) == [left] * (left > 0) + [size] * whole


@pytest.mark.parametrize("order", ORDERS)
def test_order_is_a_function_of_seed_and_epoch(order: str) -> None:
    assert batches(epoch=4, order=order) == batches(epoch=4, order=order)
    assert batches(epoch=4, order=order) != batches(epoch=5, order=order)
    assert batches(epoch=4, order=order) != batches(epoch=4, order=order, seed=4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [8, 32])
def test_the_batch_that_is_left_over_is_any_utterances(order: str, size: int) -> None:
    """229 leave 5 over each time. In 300 epochs each utterance is among them some 6.6 times, whatever its length."""
    left = np.zeros(len(LENGTHS))
    for epoch in range(300):
        (short,) = (batch for batch in batches(epoch, order=order, batch_size=size) if len(batch) < size)
        left[short] += 1
    assert left.max() < 25  # the chance of as many as that is below one in a million
    thirds = [left[part].mean() for part in np.array_split(np.argsort(LENGTHS), 3)]
    assert min(thirds) > 5 and max(thirds) < 8.2


@pytest.mark.parametrize(("size", "pool"), [(8, 56), (32, 32), (64, 64)])
def test_a_pool_is_at_most_a_quarter_of_the_split(size: int, pool: int) -> None:
    """Of 229 it is 57: how far lengths reach within a batch, against so many random ones in one sort."""
    spread = np.mean([np.ptp(LENGTHS[b]) for e in range(40) for b in batches(e, batch_size=size) if len(b) == size])
    rng = np.random.default_rng(1)
    drawn = [np.sort(rng.choice(LENGTHS, pool, replace=False)).reshape(-1, size) for _ in range(400)]
    assert spread == pytest.approx(np.mean([np.ptp(part, axis=1).mean() for part in drawn]), rel=0.05)


def test_large_splits_pool_sixteen_batches() -> None:
    lengths = np.random.default_rng(0).permutation(10_000)
    sampler = TrainingSampler(lengths, 8, seed=0, order="bucket")
    spread = np.mean([np.ptp(lengths[batch]) for batch in sampler])
    assert spread == pytest.approx(10_000 * 7 / (16 * 8 + 1), rel=0.1)  # 7 gaps of the 129 that 128 numbers leave


def test_uniform_batches_are_of_any_length() -> None:
    means = [LENGTHS[batch].mean() for e in range(40) for batch in batches(e, order="uniform") if len(batch) == 8]
    assert np.std(means) == pytest.approx(LENGTHS.std() / np.sqrt(8), rel=0.1)


def test_batches_hold_similar_lengths_in_no_order_of_length() -> None:
    spread = np.mean([np.ptp(LENGTHS[batch]) for batch in batches()])
    assert spread < 0.25 * np.ptp(LENGTHS)
    means = [LENGTHS[batch].mean() for batch in batches()]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_divide_the_batches_of_one_process(order: str, world: int) -> None:
    alone = batches(epoch=1, batch_size=4 * world, order=order)
    ranks = [batches(epoch=1, batch_size=4, order=order, rank=rank, world=world) for rank in range(world)]
    for step, whole in enumerate(alone):
        shares = [rank[step] for rank in ranks]
        assert len({len(share) for share in shares}) == 1
        together = [i for share in shares for i in share]
        assert set(together) == set(whole)
        assert len(together) - len(whole) < world  # repeats only to make equal shares


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_repeats_nothing(world: int) -> None:
    whole = list(LengthSampler(LENGTHS, 16))
    samplers = [LengthSampler(LENGTHS, 16, rank, world) for rank in range(world)]
    assert [list(sampler) for sampler in samplers] == [whole[rank::world] for rank in range(world)]
    assert sum(len(s) for s in samplers) == len(whole) > 10
    assert sorted(i for batch in whole for i in batch) == list(range(229))


@pytest.mark.parametrize("size", [1, 2, 16, 1000])
def test_an_evaluation_batch_holds_what_fits_and_no_less(size: int) -> None:
    lengths = np.append(LENGTHS, [600, 70, 601])
    found = list(LengthSampler(lengths, size))
    padded = [len(batch) * lengths[batch].max() for batch in found]
    assert all(steps <= 32 * size or len(batch) == 1 for steps, batch in zip(padded, found, strict=True))
    for batch, following in itertools.pairwise(found):  # not even one more
        assert (len(batch) + 1) * lengths[following[0]] > 32 * size
    assert sorted(i for batch in found for i in batch) == list(range(232))


def test_a_rank_without_a_batch_repeats_the_first() -> None:
    """Every rank must reach the metrics, which know repeats."""
    lengths = np.full(10, 32)
    shares = [list(LengthSampler(lengths, 8, rank, 3)) for rank in range(3)]
    assert shares[2] == shares[0]
    assert sorted(shares[0][0] + shares[1][0]) == list(range(10))


def test_training_goes_on_after_the_batches_that_are_done() -> None:
    sampler = TrainingSampler(LENGTHS, 8, seed=3, order="bucket")
    whole = list(sampler)
    sampler.done = 20
    assert list(sampler) == whole[20:]
    assert list(sampler) == whole  # the next epoch


def test_evaluation_goes_by_length() -> None:
    order = [i for batch in LengthSampler(LENGTHS, 16) for i in batch]
    assert (np.diff(LENGTHS[order]) >= 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_the_batch_that_is_left_over_comes_anywhere_in_an_epoch(order: str) -> None:
    """229 leave 5 over: one of 29 batches, which are shuffled."""
    places = {[len(batch) for batch in batches(epoch, order=order)].index(5) for epoch in range(100)}
    assert len(places) > 20
