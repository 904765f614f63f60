"""A training command small enough to run many times: little demo data, a tiny random BERT, two epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def arguments(tiny_bert: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Overrides for a small run below ``tmp_path``, and whatever else is asked for."""
    store = tmp_path_factory.getbasetemp() / "demo.h5"  # made once for all tests

    def build(*overrides: str) -> list[str]:
        return [
            f"runs={tmp_path / 'runs'}",
            f"data.path={store}",
            "data.counts={train: 70, valid: 24, test: 26}",
            f"text_encoder={tiny_bert}",
            "trainer=cpu",
            "trainer.max_epochs=2",
            "trainer.enable_progress_bar=false",
            *overrides,
        ]

    return build
