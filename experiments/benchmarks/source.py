"""A pickle in the layout of MMSA's aligned_50.pkl, which both sides read.

Of the utterances of a store, or made up, as long as those of CMU-MOSI (15 word pieces in the mean).
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.data.store import Split, Store

STEPS = 50  # what MMSA pads to and cuts off at
WIDTHS = {"audio": 5, "vision": 20}  # of MMSA's MOSI; noise stands in for what a store lacks


def write(path: Path, store: Path | None, counts: dict[str, int], seed: int = 0) -> None:
    """Tokens, labels, audio and vision; ``text``, precomputed features, is noise of width 768.

    Args:
        path: of the pickle.
        store: whose utterances it shall hold, with their tokens.
        counts: utterances of train, valid and test to make up where there is no store.
    """
    rng = np.random.default_rng(seed)
    splits = Store(store).splits if store else {}
    parts = {name: _of(splits[name], rng) if splits else _made_up(name, n, rng) for name, n in counts.items()}
    with path.open("wb") as file:
        pickle.dump(parts, file, protocol=4)


def _of(split: Split, rng: np.random.Generator) -> dict[str, Any]:
    found = {name: [split.sequences[name][i] for i in range(len(split))] for name in split.sequences}
    return _part(split.ids, split.raw_text or split.ids, split.label, found, rng)


def _made_up(split: str, n: int, rng: np.random.Generator) -> dict[str, Any]:
    lengths = np.clip(np.round(rng.lognormal(2.5, 0.6, n)), 3, STEPS).astype(int)
    tokens = [np.concatenate([[101], rng.integers(1000, 30000, k - 2), [102]]) for k in lengths]
    ids = [f"{split}$_${i}" for i in range(n)]
    return _part(ids, ids, rng.uniform(-3, 3, n), {"tokens": tokens}, rng)


def _part(
    ids: list[str],
    raw_text: list[str],
    label: np.ndarray,
    sequences: dict[str, list[np.ndarray]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    tokens = _padded(sequences["tokens"])
    mask = _padded([np.ones(len(t)) for t in sequences["tokens"]])
    noise = {m: rng.standard_normal((len(ids), STEPS, w), np.float32) * mask[..., None] for m, w in WIDTHS.items()}
    return {
        "id": np.array(ids),
        "raw_text": np.array(raw_text),
        "regression_labels": np.asarray(label, dtype=np.float32),
        "text_bert": np.stack([tokens, mask, np.zeros_like(mask)], axis=1),
        "text": rng.standard_normal((len(ids), STEPS, 768), np.float32) * mask[..., None],
        **{m: _padded(sequences[m]) if m in sequences else noise[m] for m in WIDTHS},
    }


def _padded(arrays: list[np.ndarray]) -> np.ndarray:
    padded = np.zeros((len(arrays), STEPS, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array[:STEPS]
    return padded
