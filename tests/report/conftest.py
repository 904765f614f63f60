"""Rows made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.report.rows import Row, Utterance
from mmsa_lightning.training.protocols import MOSI, Protocol


@pytest.fixture
def row() -> Callable[..., Row]:
    """A function that makes a row from a test MAE each seed; its errors and other figures as given."""

    def make(
        name: str,
        maes: list[float],
        errors: np.ndarray | None = None,
        protocol: Protocol = MOSI,
        **figures: float | None,
    ) -> Row:
        errors = np.ones((len(maes), 4)) if errors is None else errors
        test = dict.fromkeys(protocol.headings, 0.5) | figures
        known = {"text": "features", "text_encoder": None, "data": "demo", "modalities": ["text"]}
        known |= {"protocol": protocol.name}
        results = {seed: {"test": test | {"mae": mae}} | known for seed, mae in enumerate(maes, start=1)}
        utterances = [Utterance(f"u{i}", 0.0, f"words of {i}") for i in range(errors.shape[1])]
        return Row(name, results, {seed: Path(f"seed{seed}") for seed in results}, utterances, errors)

    return make
