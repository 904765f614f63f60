"""The epochs of finished runs, from their ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsa_lightning import files

FOLLOWED = {  # of generated labels, name in metrics.csv before the task: what it is
    "corr_true": "correlation with true labels",
    "corr": "correlation with the label",
    "flipped": "share of changed signs",
    "clamped": "share at the limit",
}


def read_history(run_dir: Path) -> dict[str, np.ndarray]:
    """Every logged value, float64 (epochs,) by its name; NaN in an epoch that lacks it."""
    return files.read_columns(run_dir / "metrics.csv")


def together(histories: Sequence[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """One value of the runs that logged it, float64 (runs, epochs), as far as each of them was trained."""
    logged = [history[name] for history in histories if name in history]
    epochs = min(map(len, logged))
    return np.stack([values[:epochs] for values in logged])
