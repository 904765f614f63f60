"""Which utterances make a batch: for training at random or of similar lengths, for evaluation sorted by length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from torch.utils.data import Sampler

ORDERS = ("bucket", "uniform")
POOL = 16  # at most so many batches are sorted by length together
SHARE = 4  # a pool is at most this part (a quarter) of the split; else the same utterances would meet in every epoch
USUAL = 32  # steps of an utterance, by which the size of evaluation's batches is counted


class Drawn(list[int]):
    """The positions of a training batch, and its epoch, of which a worker, that may live for several, knows by this."""

    def __init__(self, positions: Iterable[int], epoch: int) -> None:
        super().__init__(positions)
        self.epoch = epoch

    def __reduce__(self) -> tuple[type[Drawn], tuple[list[int], int]]:
        return Drawn, (list(self), self.epoch)


class TrainingSampler(Sampler[list[int]]):
    """Batches in a random order that depends on (seed, epoch) alone, each utterance once.

    Each epoch is one permutation of the split. ``uniform`` cuts it into batches. ``bucket`` cuts it into pools, sorts
    each pool by length and cuts it into batches, for less padding; where length goes with the label, the labels of such
    a batch are more alike than those of a uniform one. Either way the last utterances of the permutation make the batch
    that is left over, and all batches are shuffled.

    Every rank takes an equal share of each of these global batches, so that ``world`` ranks with ``batch_size`` b see
    what one process with ``world`` * b sees. Where the last batch does not divide, its first utterances are repeated.

    Args:
        lengths: (n,) steps of each utterance.
        batch_size: utterances per rank.
        seed: see above.
        order: one of :data:`ORDERS`.
        rank, world: see above.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, seed: int, order: str, rank: int = 0, world: int = 1
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.order = order
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.done = 0  # batches of the epoch to skip: a resumed run has trained on them

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = self._batches(rng.permutation(len(self.lengths)))
        done, self.done = self.done, 0
        for b in rng.permutation(len(batches))[done:]:
            batch = np.resize(batches[b], -(-len(batches[b]) // self.world) * self.world)
            yield Drawn(batch[self.rank :: self.world].tolist(), self.epoch)

    def _batches(self, shuffled: np.ndarray) -> list[np.ndarray]:
        size = self.batch_size * self.world
        whole, left = np.split(shuffled, [len(shuffled) // size * size])
        batches = whole.reshape(-1, size)
        if self.order == "bucket" and len(batches):
            most = max(1, min(POOL, len(shuffled) // SHARE // size))
            pools = [part.ravel() for part in np.array_split(batches, -(-len(batches) // most))]
            by_length = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
            batches = np.concatenate(by_length).reshape(-1, size)
        return [*batches, *([left] if len(left) else [])]


class LengthSampler(Sampler[list[int]]):
    """Every utterance once, in batches by length; rank r takes every ``world``-th batch.

    A batch has at most ``size`` times :data:`USUAL` steps, padding included, so that memory is bounded: more utterances
    where they are short, fewer where they are long. An utterance that is longer than that is a batch of its own.

    The batches are the same for any number of ranks, so that predictions agree to the last digit. A rank left without a
    batch takes the first one again: the metrics need every rank, and ignore repeats.

    Args:
        lengths: (n,) steps of each utterance.
        size: of a batch, in utterances of :data:`USUAL` steps.
        rank, world: see above.
    """

    def __init__(self, lengths: np.ndarray, size: int, rank: int = 0, world: int = 1) -> None:
        batches: list[list[int]] = [[]]
        for i in np.argsort(lengths, kind="stable").tolist():  # the longest of a batch comes last
            if batches[-1] and (len(batches[-1]) + 1) * lengths[i] > size * USUAL:
                batches.append([])
            batches[-1].append(i)
        self.batches = batches[rank::world] or batches[:1]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
