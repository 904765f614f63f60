"""A store of made-up utterances of any number and length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmsa_lightning.data import store
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split

WIDTHS = {"audio": 5, "vision": 20}  # of MMSA's MOSI


def write(path: Path, counts: dict[str, int], mean_length: int, seed: int = 0) -> None:
    """Tokens, audio and vision with the same steps; lengths are spread as CMU-MOSI's, log-normally.

    Args:
        path: of the store.
        counts: utterances of train, valid and test.
        mean_length: steps in the mean; none is shorter than 3 or longer than 512.
    """
    rng = np.random.default_rng(seed)
    splits = {name: _split(name, counts[name], mean_length, rng) for name in SPLITS}
    store.write(path, splits, Meta("own", "made", path.name, "0" * 64, None, True, "bert-base-uncased", []))


def _split(name: str, n: int, mean_length: int, rng: np.random.Generator) -> Split:
    spread = 0.6
    lengths = np.round(rng.lognormal(np.log(mean_length) - spread**2 / 2, spread, n)).clip(3, 512).astype(int)
    ends = lengths.cumsum()[:-1]
    values = {"tokens": rng.integers(1000, 30000, lengths.sum(), dtype=np.int32)}
    values |= {m: rng.standard_normal((lengths.sum(), width), np.float32) for m, width in WIDTHS.items()}
    return Split(
        [f"{name}$_${i}" for i in range(n)],
        rng.uniform(-3, 3, n).astype(np.float32),
        {m: Loaded(np.split(array, ends)) for m, array in values.items()},
    )
