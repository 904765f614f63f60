"""A model of one's own is one file and one YAML in a folder of one's own, as ``mmsa new model`` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from mmsa_lightning import cli
from mmsa_lightning.experiment.app import main

TINY = BertConfig(num_hidden_layers=1, hidden_size=32, intermediate_size=64, num_attention_heads=2)
GUIDE = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text()


def block(language: str, opening: str) -> str:
    """The guide's code block in this language that has this line at its top."""
    blocks = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    (found,) = [text for text in blocks if opening in "\n".join(text.splitlines()[:2])]
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    cli.main(["new", "model", "toy"])
    return tmp_path / "mine"


def test_the_guide_shows_what_is_written(folder: Path) -> None:
    assert (folder / "toy.py").read_text() == block("python", "# mine/toy.py")
    assert (folder / "model" / "toy.yaml").read_text() == block("yaml", "# mine/model/toy.yaml")


def test_it_passes_the_checks_of_ours(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["check", "model=toy", "--config-dir", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert "ok   padding changes nothing" in lines
    assert len(lines) == 12 and all(line.startswith("ok   ") for line in lines)


def test_trains_from_a_folder_of_its_own(arguments: Callable[..., list[str]], folder: Path, tmp_path: Path) -> None:
    cli.main(["train", "--config-dir", str(folder), *arguments("model=toy"), "model.width=12"])
    (path,) = (tmp_path / "runs").rglob("result.json")
    outcome = json.loads(path.read_text())
    assert (outcome["model"], outcome["ablation"]) == ("toy", "full")
    tiny_bert = sum(p.numel() for p in BertModel(TINY, add_pooling_layer=False).parameters())
    lstms = sum(2 * 4 * 12 * (dim + 12 + 2) for dim in (5, 20))
    assert outcome["parameters"] == tiny_bert + lstms + (32 + 24 + 24) * 12 + 12 + 12 + 1
    weights = torch.load(path.parent / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert weights["model.head.0.weight"].shape == (12, 32 + 24 + 24)
    assert not (path.parent / "generated_labels.csv").exists()


def test_changed_code_is_not_taken_for_finished(
    arguments: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    command = ["--config-dir", str(folder), *arguments("model=toy", "trainer.max_epochs=1")]
    main(command)
    main(command)
    assert "already finished" in capsys.readouterr().out
    (folder / "toy.py").write_text((folder / "toy.py").read_text() + "\n# changed\n")
    with pytest.raises(SystemExit):
        main(command)
    assert "other code" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (".squeeze(-1))", ")", "Toy returned predictions of the shape (32, 1) for 32 utterances: one number each"),
        ("ModelOutput(", "(", "Toy returned Tensor: a model returns ModelOutput(prediction)"),
        ("width: int", "width: str", "model.width=32: Toy wants a text"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(
    arguments: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    right: str,
    wrong: str,
    words: str,
) -> None:
    source = (folder / "toy.py").read_text()
    assert source.count(right) == 1
    (folder / "toy.py").write_text(source.replace(right, wrong))
    with pytest.raises(SystemExit) as stop:
        main(["--config-dir", str(folder), *arguments("model=toy", "trainer.max_epochs=1")])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and f"error: {words}" in error and "Traceback" not in error


@pytest.mark.parametrize("name", ["model/lmf.yaml", "tuned/lmf_mosi.yaml"])
def test_a_file_with_the_name_of_one_of_ours_is_not_passed_over(
    arguments: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / "tuned").mkdir()
    (folder / name).write_text((folder / "model" / "toy.yaml").read_text())
    for command in (["train", *arguments("model=lmf")], ["check", "model=lmf"]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*command, "--config-dir", str(folder)])
        assert stop.value.code == 2
        assert f"{folder / name}: conf/ of mmsa-lightning has {name}, too" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("*.yaml"))


def test_the_folder_must_be_named(
    arguments: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments("model._target_=toy.Toy"))
    assert stop.value.code == 2
    assert "--config-dir" in capsys.readouterr().err
