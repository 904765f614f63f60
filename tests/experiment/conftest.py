"""A small run, made once for all tests of a process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> Callable[..., Path]:
    """A function that trains TFN for an epoch on a store of its own, and tells the run's folder."""
    from mmsa_lightning.data.demo import generate
    from mmsa_lightning.data.importer import import_source
    from mmsa_lightning.experiment.app import main

    folder = tmp_path_factory.mktemp("runs")
    source = generate(0, {"train": 40, "valid": 10, "test": 21})
    import_source(
        source, folder / "x.h5", dataset="x", name="x", sha256="", tokenizer="minilm", label_range=(-3.0, 3.0)
    )

    def train(name: str, *more: str) -> Path:
        store = shutil.copy(folder / "x.h5", folder / f"{name}.h5")
        data = ["data=own", f"data.path={store}", "text=bert", f"text_encoder={tiny_bert}", "model=tfn"]
        short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
        main([*data, *short, f"runs={folder / name}", *more])
        (run,) = (path.parent for path in (folder / name).rglob("result.json"))
        return run

    return train
