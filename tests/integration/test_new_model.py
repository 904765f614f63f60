"""A model of one's own is one file and one YAML in a folder of one's own, as the guide's example is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmsa_lightning.experiment.app import main

GUIDE = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text()


def block(language: str, opening: str) -> str:
    """The guide's code block in this language that has this line at its top."""
    blocks = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    (found,) = [text for text in blocks if opening in "\n".join(text.splitlines()[:2])]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "toy.py").write_text(block("python", "# mine/toy.py"))
    (tmp_path / "mine" / "model" / "toy.yaml").write_text(block("yaml", "# mine/model/toy.yaml"))
    return tmp_path / "mine"


def test_trains_from_a_folder_of_its_own(arguments: Callable[..., list[str]], folder: Path, tmp_path: Path) -> None:
    main([*arguments("model=toy"), "--config-dir", str(folder), "model.width=12"])
    (path,) = (tmp_path / "runs").rglob("result.json")
    outcome = json.loads(path.read_text())
    assert (outcome["model"], outcome["ablation"]) == ("toy", "full")
    assert outcome["parameters"] == 5 * 12 + 12 + 12 + 1
    weights = torch.load(path.parent / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert weights["model.hidden.weight"].shape == (12, 5)
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


def test_the_folder_must_be_named(
    arguments: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments("model._target_=toy.Toy"))
    assert stop.value.code == 2
    assert "--config-dir" in capsys.readouterr().err
