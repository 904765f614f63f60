"""A package against the run that it was made of."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import mmsa_lightning
from mmsa_lightning.experiment.run import restore
from mmsa_lightning.inference.export import package

MODELS = ["tfn", "lmf", "mfn", "raven", "mult", "misa", "mag_bert", "self_mm", "interactive_attention"]
ALONE = """
import sys
import warnings
import numpy as np
import mmsa_lightning
for line in sys.stdin:
    package, store, out = line.split()
    np.save(out, mmsa_lightning.load(package).predict_store(store).sentiment)
print(*{"lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb"} & set(sys.modules))
"""


def left(run: Path) -> dict[str, float]:
    """The predictions of test that a run wrote."""
    with (run / "predictions.csv").open() as file:
        return {row["id"]: float(row["prediction"]) for row in csv.DictReader(file) if row["split"] == "test"}


@pytest.mark.slow
def test_every_model_predicts_as_its_run_did_and_without_lightning(
    trained: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    runs = {(model, text): trained(model, text) for model in MODELS for text in ("bert", "features")}
    lines = []
    for (model, text), run in runs.items():
        package([run], tmp_path / f"{model}-{text}")
        lines.append(f"{tmp_path / f'{model}-{text}'} {store} {tmp_path / f'{model}-{text}.npy'}\n")
    done = subprocess.run(
        [sys.executable, "-c", ALONE], input="".join(lines), capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout.strip() == ""
    for (model, text), run in runs.items():
        expected = list(left(run).values())
        np.testing.assert_allclose(np.load(tmp_path / f"{model}-{text}.npy"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_what_stays_behind_is_what_no_prediction_depends_on(trained: Callable[..., Path], model: str) -> None:
    module, data = restore(trained(model))
    batch = data.split("test")[list(range(21))]
    module.model.eval()
    module.model(batch).prediction.square().sum().backward()
    unused = {name for name, p in module.model.named_parameters() if p.grad is None}
    behind = tuple(f"{name}." for name in getattr(module.model, "training_only", ()))
    assert {name for name, _ in module.model.named_parameters() if name.startswith(behind or ("-",))} == unused
    assert not any(isinstance(b, torch.Tensor) and b.shape[:1] == (40,) for b in module.model.buffers())


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_run_gives_the_same_bytes(trained: Callable[..., Path], tmp_path: Path) -> None:
    run = trained("self_mm")
    for name in ("a", "b"):
        package([run], tmp_path / name)
        package([run], tmp_path / f"{name}.zip")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    one, other = (mmsa_lightning.load(tmp_path / name) for name in ("a", "a.zip"))
    given = {"texts": ["fine work"], "audio": [np.ones((2, 5))], "vision": [np.zeros((2, 20))]}
    with warnings.catch_warnings(action="ignore"):
        assert one.predict(**given).sentiment == other.predict(**given).sentiment
