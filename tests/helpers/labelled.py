"""Small stores whose labels reach as far as is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split, write


def make_store(path: Path, label_range: list[float], dataset: str = "own") -> Path:
    """Eight utterances a split with labels at both ends of the range, a true label of audio known for every other."""
    rng = np.random.default_rng(0)
    label = np.resize(np.float32([*label_range, np.mean(label_range)]), 8)
    sequences: dict[str, Any] = {
        "tokens": Loaded([rng.integers(1, 1000, 3).astype(np.int32) for _ in label]),
        "audio": Loaded([rng.normal(size=(3, 5)).astype(np.float32) for _ in label]),
    }
    audio = np.where(np.arange(8) % 2, label, np.float32(np.nan))
    splits = {
        name: Split([f"{name}$_${i}" for i in range(8)], label, sequences, unimodal={"audio": audio}) for name in SPLITS
    }
    write(path, splits, Meta(dataset, "made", "x", "0" * 64, None, True, "words", [], label_range=label_range))
    return path


def overrides(store: Path, text_encoder: str, model: str) -> list[str]:
    return ["data=own", f"data.path={store}", f"model={model}", "text=bert", f"text_encoder={text_encoder}"]
