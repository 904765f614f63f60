"""Runs of every model, each an epoch long, and what packages are made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import filmed
import pytest

from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.experiment.app import main


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store of tokens, text features, audio and vision, all aligned."""
    path = tmp_path_factory.mktemp("inference") / "x.h5"
    source = generate(0, {"train": 40, "valid": 10, "test": 21})
    import_source(source, path, dataset="x", name="x", sha256="", tokenizer="minilm")
    return path


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> Path:
    """See :func:`filmed.write`."""
    folder = tmp_path_factory.mktemp("films")
    filmed.write(folder, tiny_bert)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str, store: Path) -> Callable[..., Path]:
    """A function that trains a model for an epoch and tells the run's folder; the same once alone."""
    folder = tmp_path_factory.mktemp("trained")

    @cache
    def train(model: str, text: str = "bert", *more: str) -> Path:
        data = ["data=own", f"data.path={store}", f"text={text}", f"text_encoder={tiny_bert}", f"model={model}"]
        short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
        runs = folder / str(len(list(folder.iterdir())))
        main([*data, *short, f"runs={runs}", *more])
        (run,) = (path.parent for path in runs.rglob("result.json"))
        return run

    return train
