"""Which utterances make a batch: length buckets to train on, by length to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

POOL = 16  # batches that are shuffled, then sorted by length together


class BucketSampler(Sampler[list[int]]):
    """Batches of similar lengths in a random order that depends on (seed, epoch) alone.

    Each epoch is one permutation of the split, cut into pools of :data:`POOL` batches; a pool is sorted by length and
    cut into batches, and all batches are shuffled. Every rank takes an equal share of each of these global batches, so
    that ``world`` ranks with ``batch_size`` b see what one process with ``world`` * b sees. Where the last batch does
    not divide, its first utterances are repeated.

    Args:
        lengths: (n,) steps of each utterance.
        batch_size: utterances per rank.
        seed, rank, world: see above.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.done = 0  # batches of the epoch that were trained on before, by a run that goes on

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        size = self.batch_size * self.world
        shuffled = rng.permutation(len(self.lengths))
        pools = [shuffled[i : i + size * POOL] for i in range(0, len(shuffled), size * POOL)]
        order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        done, self.done = self.done, 0
        for b in rng.permutation(len(batches))[done:]:
            batch = np.resize(batches[b], -(-len(batches[b]) // self.world) * self.world)
            yield batch[self.rank :: self.world].tolist()


class LengthSampler(Sampler[list[int]]):
    """Every utterance once, in batches by length; rank r takes every ``world``-th batch.

    The batches are the same for any number of ranks, so that the last digit of a prediction is. A rank for which there
    is none takes the first, again: the metrics need every rank, and know repeats.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, rank: int = 0, world: int = 1) -> None:
        order = np.argsort(lengths, kind="stable").tolist()
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        self.batches = batches[rank::world] or batches[:1]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
