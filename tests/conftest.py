"""What several tests need: a small random BERT on disk, padded sequences, ranks that start at once.

A fixture imports what it needs itself: the process that hands tests to workers (pytest -n) reads this file, too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mmsa_lightning.batch import Batch

# Before torch and its company are imported. No test depends on what the hub answers, or waits until it does not.
os.environ["HF_HUB_OFFLINE"] = "1"
# Several workers (pytest -n) share the cores.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest comes first, so that no worker (pytest -n) is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_ranks.py")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random BERT of one layer, width 32, and bert-base-uncased's vocabulary size."""
    from mmsa_lightning.experiment import candidate

    return candidate.tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture
def batch(batch_of: Callable[..., Batch]) -> Batch:
    """Four aligned utterances of 6, 3, 1 and 5 steps with tokens, audio (5) and vision (20)."""
    return batch_of([6, 3, 1, 5])


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """A function that makes a batch of utterances with these numbers of steps, as :func:`batch`."""
    import numpy as np
    import torch

    from mmsa_lightning.batch import Batch, Padded

    def make(lengths: list[int], *, audio_lengths: list[int] | None = None, seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        return Batch(
            index=torch.arange(len(lengths)),
            label=torch.from_numpy(rng.uniform(-3, 3, len(lengths)).astype(np.float32)),
            tokens=Padded.from_arrays([rng.integers(1, 1000, n) for n in lengths]),
            audio=Padded.from_arrays([rng.normal(size=(n, 5)).astype(np.float32) for n in audio_lengths or lengths]),
            vision=Padded.from_arrays([rng.normal(size=(n, 20)).astype(np.float32) for n in lengths]),
        )

    return make


@pytest.fixture(scope="module")
def forked_ranks() -> Iterator[None]:
    """Ranks that this process launches are forked from one that has imported torch and its company."""
    import warm
    from torch.distributed.launcher.api import LaunchConfig

    from mmsa_lightning.training import ranks

    warm.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "LaunchConfig", functools.partial(LaunchConfig, start_method="forkserver"))
        yield
