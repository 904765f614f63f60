"""Packages to serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_lightning.inference.export import package


@pytest.fixture(scope="session")
def texts_alone(trained: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a model that reads text alone, and tells what it attends to."""
    out = tmp_path_factory.mktemp("texts") / "package"
    package([trained("interactive_attention", "bert", "modalities=[text]")], out)
    return out


@pytest.fixture(scope="session")
def ensemble(trained: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of two models that read text, audio (5) and vision (20), and were trained to miss some of them."""
    missing = ["missing.mode=modality", "missing.rate=0.3", "missing.train=uniform"]
    out = tmp_path_factory.mktemp("ensemble") / "package"
    package([trained("interactive_attention", "bert", *missing, f"seed={seed}") for seed in (1, 2)], out)
    return out
