"""A package against the run that it was made of."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors import safe_open

import mmsa_lightning
from mmsa_lightning.data.store import Store, write
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.evaluation import evaluate
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.experiment.scaffold import write_model
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


def test_an_ensemble_averages_the_seeds_of_a_row(trained: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    runs = [trained("lmf", "bert", f"seed={seed}") for seed in (1, 2, 3)]
    about = package(runs, tmp_path / "p")
    found = mmsa_lightning.load(tmp_path / "p").predict_store(store)
    expected = np.array([list(left(run).values()) for run in runs])
    np.testing.assert_allclose(found.members, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sentiment, expected.mean(axis=0), rtol=0, atol=1e-6)
    card = (tmp_path / "p" / "README.md").read_text()
    maes = [member.test["mae"] for member in about.members]
    assert f"| mae | {np.mean(maes):.4f} | {np.std(maes, ddof=1):.4f} |" in card
    assert "An ensemble of 3 models that differ in their seed (1, 2, 3)" in card
    for others, words in (
        ([runs[0], trained("tfn")], "has other settings than"),
        ([runs[0], runs[0]], "a seed was given twice"),
        ([tmp_path], "holds no finished run"),
    ):
        with pytest.raises(UserError, match=words):
            package(others, tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_what_lora_learnt_is_in_the_weights(trained: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    run = trained("self_mm", "bert", "encoder.lora={rank:2,alpha:8,modules:[query]}", "optim.lr.bert=0.05")
    package([run], tmp_path / "p")
    with safe_open(tmp_path / "p" / "model.safetensors", "np") as weights:
        assert not any("lora" in name for name in weights.keys())  # noqa: SIM118
    found = mmsa_lightning.load(tmp_path / "p").predict_store(store).sentiment
    np.testing.assert_allclose(found, list(left(run).values()), rtol=0, atol=1e-5)


def test_what_is_frozen_is_in_the_package(
    trained: Callable[..., Path], store: Path, tiny_bert: str, tmp_path: Path
) -> None:
    run = trained("self_mm", "bert", "encoder.freeze=all")
    package([run], tmp_path / "p")
    found = mmsa_lightning.load(tmp_path / "p").predict_store(store).sentiment
    np.testing.assert_allclose(found, list(left(run).values()), rtol=0, atol=1e-6)
    text = "".join(path.read_text() for path in (tmp_path / "p").rglob("*.json"))
    assert tiny_bert not in text and str(tmp_path) not in text


def test_a_users_own_model_is_carried_only_when_asked(
    trained: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    write_model("toy", tmp_path / "mine")
    run = trained("toy", "bert", "--config-dir", str(tmp_path / "mine"))
    with pytest.raises(UserError, match=r"is your own file .*: give --config-dir DIR"):
        package([run], tmp_path / "p")
    package([run], tmp_path / "p", tmp_path / "mine")
    with pytest.raises(UserError, match="other code than the project's: give the folder of your own model"):
        evaluate(run, store, "test", "run")
    assert evaluate(run, store, "test", "run", tmp_path / "mine") is not None
    for module in [name for name in sys.modules if name.startswith("mmsa_plugin_")]:
        del sys.modules[module]
    with pytest.raises(UserError, match=r"carries code of its author, toy\.py"):
        mmsa_lightning.load(tmp_path / "p")
    assert not any(name.startswith("mmsa_plugin_") for name in sys.modules)
    found = mmsa_lightning.load(tmp_path / "p", allow_code=True).predict_store(store).sentiment
    np.testing.assert_allclose(found, list(left(run).values()), rtol=0, atol=1e-6)


def test_a_package_carries_one_file_of_the_users(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    write_model("toy", mine)
    (mine / "own_heads.py").write_text("one = 1\n")
    (mine / "toy.py").write_text("import own_heads\n" + (mine / "toy.py").read_text())
    monkeypatch.syspath_prepend(mine)
    run = trained("toy", "features", "--config-dir", str(mine))
    with pytest.raises(UserError, match=r"toy\.py imports own_heads\.py from beside it, and a package carries one"):
        package([run], tmp_path / "p", mine)
    (mine / "own_heads.py").write_text("one = 2\n")
    with pytest.raises(UserError, match="was made with other code than"):
        package([run], tmp_path / "p", mine)
    assert not (tmp_path / "p").exists()


def test_a_package_comes_from_the_hubs_cache(
    trained: Callable[..., Path], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``hf download`` leaves it; nothing is asked of the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="there is no package at somebody/sentiment, and it cannot be had from the hub"):
        mmsa_lightning.load("somebody/sentiment")
    repository = tmp_path / "hub" / "models--somebody--sentiment"
    package([trained("self_mm")], repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    found = mmsa_lightning.load("somebody/sentiment").predict_store(store).sentiment
    np.testing.assert_allclose(found, list(left(trained("self_mm")).values()), rtol=0, atol=1e-6)


def test_nothing_but_a_package_is_replaced(trained: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("all of it")
    (tmp_path / "a.zip").write_text("no zip")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photos.txt", "mine")
    others = ["a.zip", "bert", "photos.zip", "work"]
    for name in others:
        with pytest.raises(UserError, match="exists and is no package"):
            package([trained("self_mm")], tmp_path / name)
    assert (tmp_path / "bert" / "config.json").is_file() and (tmp_path / "work" / "thesis.tex").is_file()
    package([trained("self_mm")], tmp_path / "p")
    package([trained("lmf")], tmp_path / "p")
    for _ in range(2):
        package([trained("lmf")], tmp_path / "p.zip")
    (tmp_path / "p" / ".git").mkdir()
    with pytest.raises(UserError, match=r"holds \.git, which is not of the package there"):
        package([trained("self_mm")], tmp_path / "p")
    assert (tmp_path / "p" / ".git").is_dir()
    (tmp_path / "p" / ".git").rmdir()
    assert mmsa_lightning.load(tmp_path / "p").about.name == "lmf"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "p", "p.zip"])


@pytest.mark.parametrize("text", ["a: [1\n", "seed: 1\n", "data: x\n"])
def test_a_config_that_is_not_as_its_run_left_it_is_one_line(
    trained: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    run = Path(shutil.copytree(trained("lmf"), tmp_path / "run"))
    (run / "config.yaml").write_text(text)
    for command in (lambda: package([run], tmp_path / "p"), lambda: restore(run)):
        with pytest.raises(UserError, match=r"config\.yaml is not as its run left it"):
            command()


def test_a_package_tells_the_figures_of_its_runs(trained: Callable[..., Path], tmp_path: Path) -> None:
    run = trained("lmf", "bert", "seed=1")
    record = json.loads((run / "result.json").read_text())
    (member,) = package([run], tmp_path / "p").members
    assert (member.valid, member.test) == (record["valid"], record["test"])
    assert member.valid != member.test


def test_features_that_a_run_did_not_standardise_are_read_as_they_are(
    trained: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    run = trained("lmf", "features", "data.standardize=false")
    package([run], tmp_path / "p")
    found = mmsa_lightning.load(tmp_path / "p").predict_store(store).sentiment
    np.testing.assert_allclose(found, list(left(run).values()), rtol=0, atol=1e-6)


def test_a_package_tells_whether_text_was_put_in_lower_case(
    trained: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    found = Store(store)
    write(tmp_path / "lowered.h5", dict(found.splits), replace(found.meta, lower_cased=True))
    run = trained("lmf", "bert", f"data.path={tmp_path / 'lowered.h5'}")
    vocabularies = [package([one], tmp_path / "p").vocabulary for one in (run, trained("lmf", "bert", "seed=1"))]
    assert [vocabulary.lower_cased for vocabulary in vocabularies if vocabulary] == [True, False]
