"""A pickle in the layout of MMSA's aligned_50.pkl, of the utterances of a store, which both sides read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from made import WIDTHS

from mmsa_lightning.data.store import Split, Store
from mmsa_lightning.data.utterances import Scale, moments, standardized

STEPS = 50  # what MMSA pads to and cuts off at


def write(path: Path, store: Path, seed: int = 0, *, scaled: bool = False, front: bool = False) -> None:
    """Tokens, labels, audio and vision; ``text``, precomputed features, is noise of width 768 where the store has none.

    Args:
        path: of the pickle.
        store: whose utterances it shall hold, with their tokens; noise stands in for audio or vision that it lacks.
        seed: of the noise.
        scaled: audio and vision standardised as our models get them, by the moments of the training split.
        front: zeros go before text, audio and vision, as in the pickles of MulT, and not behind them.
    """
    rng = np.random.default_rng(seed)
    splits = Store(store).splits
    train = splits["train"].sequences
    scale = {m: moments(train[m]) for m in WIDTHS if scaled and m in train}
    parts = {name: _part(split, scale, rng, front) for name, split in splits.items()}
    with path.open("wb") as file:
        pickle.dump(parts, file, protocol=4)


def _part(split: Split, scale: dict[str, Scale], rng: np.random.Generator, front: bool) -> dict[str, Any]:
    sequences = {name: [ragged[i] for i in range(len(split))] for name, ragged in split.sequences.items()}
    sequences |= {m: [standardized(values, scale[m]) for values in sequences[m]] for m in scale}
    tokens = _padded(sequences["tokens"])
    ones = [np.ones(len(t)) for t in sequences["tokens"]]
    mask, steps = _padded(ones), _padded(ones, front)
    noise = {m: rng.standard_normal((len(split), STEPS, w), np.float32) * steps[..., None] for m, w in WIDTHS.items()}
    return {
        "id": np.array(split.ids),
        "raw_text": np.array(split.raw_text or split.ids),
        "regression_labels": split.label,
        "text_bert": np.stack([tokens, mask, np.zeros_like(mask)], axis=1),
        "text": _padded(sequences["text"], front) if "text" in sequences else _noise(steps, rng),
        **{m: _padded(sequences[m], front) if m in sequences else noise[m] for m in WIDTHS},
    }


def _noise(steps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((*steps.shape, 768), np.float32) * steps[..., None]


def _padded(arrays: list[np.ndarray], front: bool = False) -> np.ndarray:
    padded = np.zeros((len(arrays), STEPS, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(padded, arrays, strict=True):
        kept = array[:STEPS]
        row[STEPS - len(kept) if front else 0 :][: len(kept)] = kept
    return padded
