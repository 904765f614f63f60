"""What sorting by length does to training batches, and what it saves.

    python experiments/benchmarks/batches.py --store stores/mosi.h5 [--sizes 16 32 64 128] [--epochs 40] [OVERRIDE ...]

For each batch size and ``data.order`` over some epochs: the weight of the utterance that weighs most, against the mean
of all (in the mean over its batch, one of a left-over batch of 4 weighs 32 times as much as one of 128); how likely two
utterances that met in a batch meet again in the next epoch; the standard deviation of a batch's mean label; the steps
of padded batches against the real ones; and utterances a second over an epoch's steps, loader apart, of the model that
the overrides name.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from steps import Steps

from mmsa_lightning.data.sampler import ORDERS, TrainingSampler
from mmsa_lightning.data.store import Store
from mmsa_lightning.training.trainer import quieten


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE")
    args = parser.parse_intermixed_args()
    quieten()
    train = Store(args.store).splits["train"]
    lengths = np.max([ragged.lengths for ragged in train.sequences.values()], axis=0)
    print("| batch | order | largest weight | meet again | batch's mean label | padded / real steps | utterances/s |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for size, order in itertools.product(args.sizes, ORDERS):
        sampler = TrainingSampler(lengths, size, seed=0, order=order)
        weight, meeting, spread, padding = figures(sampler, train.label, args.epochs)
        rate = speed(f"data.path={args.store}", f"data.batch_size={size}", f"data.order={order}", *args.overrides)
        print(
            f"| {size} | {order} | {weight:.1f} | {meeting:.3f} | {spread:.3f} | {padding:.2f} | {rate:.0f} |",
            flush=True,
        )


def figures(sampler: TrainingSampler, label: np.ndarray, epochs: int) -> tuple[float, float, float, float]:
    """Largest weight, chance to meet again, spread of mean labels, padded against real steps; see above.

    Args:
        sampler: of one process.
        label: (n,), of its utterances.
        epochs: how many are drawn.
    """
    n = len(label)
    weight, means, meetings, padded = np.zeros(n), [], [], 0
    earlier: list[list[int]] = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        place = np.empty(n, int)
        for number, batch in enumerate(batches):
            place[batch] = number
            weight[batch] += 1 / len(batch)
            padded += len(batch) * int(sampler.lengths[batch].max())
        means += [label[batch].mean() for batch in batches if len(batch) == sampler.batch_size]
        if earlier:
            pairs = sum(len(batch) * (len(batch) - 1) for batch in earlier)
            again = sum(int((count * (count - 1)).sum()) for batch in earlier for count in [np.bincount(place[batch])])
            meetings.append(again / pairs)
        earlier = batches
    real = epochs * int(sampler.lengths.sum())
    met = float(np.mean(meetings)) if meetings else float("nan")
    return weight.max() / weight.mean(), met, float(np.std(means)), padded / real


def speed(*overrides: str) -> float:
    """Utterances a second over one epoch's steps, after two steps to warm up."""
    steps = Steps("data=own", *overrides)
    batches = steps.batches()
    for _ in range(2):
        steps.step(next(batches))
    epoch = list(steps.data.train_dataloader())
    start = time.perf_counter()
    for batch in epoch:
        steps.step(batch)
    return sum(map(len, epoch)) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
