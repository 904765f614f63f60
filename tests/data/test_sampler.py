from __future__ import annotations

import numpy as np
import pytest

from mmsa_lightning.data.sampler import BucketSampler, LengthSampler

LENGTHS = np.random.default_rng(0).integers(1, 60, 229)


def batches(epoch: int = 0, **options: int) -> list[list[int]]:
    sampler = BucketSampler(LENGTHS, **{"batch_size": 8, "seed": 3} | options)
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


def test_every_utterance_once_an_epoch() -> None:
    assert sorted(i for batch in batches() for i in batch) == list(range(229))
    assert sorted(len(batch) for batch in batches())[:2] == [5, 8]  # 229 = 28 * 8 + 5


def test_order_is_a_function_of_seed_and_epoch() -> None:
    assert batches(epoch=4) == batches(epoch=4)
    assert batches(epoch=4) != batches(epoch=5)
    assert batches(epoch=4) != batches(epoch=4, seed=4)


def test_batches_hold_similar_lengths_in_no_order_of_length() -> None:
    spread = np.mean([np.ptp(LENGTHS[batch]) for batch in batches()])
    assert spread < 0.25 * np.ptp(LENGTHS)
    means = [LENGTHS[batch].mean() for batch in batches()]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_divide_the_batches_of_one_process(world: int) -> None:
    alone = batches(epoch=1, batch_size=4 * world)
    ranks = [batches(epoch=1, batch_size=4, rank=rank, world=world) for rank in range(world)]
    for step, whole in enumerate(alone):
        shares = [rank[step] for rank in ranks]
        assert len({len(share) for share in shares}) == 1
        together = [i for share in shares for i in share]
        assert set(together) == set(whole)
        assert len(together) - len(whole) < world  # repeats only to make equal shares


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_repeats_nothing(world: int) -> None:
    samplers = [LengthSampler(LENGTHS, 16, rank, world) for rank in range(world)]
    assert sum(len(s) for s in samplers) == 15
    assert sorted(i for sampler in samplers for batch in sampler for i in batch) == list(range(229))


def test_a_rank_without_a_batch_repeats_the_first() -> None:
    """Every rank must reach the metrics, which know repeats."""
    shares = [list(LengthSampler(LENGTHS[:10], 8, rank, 3)) for rank in range(3)]
    assert shares[2] == shares[0]
    assert sorted(shares[0][0] + shares[1][0]) == list(range(10))


def test_training_goes_on_after_the_batches_that_are_done() -> None:
    sampler = BucketSampler(LENGTHS, 8, seed=3)
    whole = list(sampler)
    sampler.done = 20
    assert list(sampler) == whole[20:]
    assert list(sampler) == whole  # the next epoch


def test_evaluation_goes_by_length() -> None:
    order = [i for batch in LengthSampler(LENGTHS, 16) for i in batch]
    assert (np.diff(LENGTHS[order]) >= 0).all()
