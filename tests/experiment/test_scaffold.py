"""``mmsa new model NAME`` writes two files or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mmsa_lightning.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "cls"), [("toy", "Toy"), ("late_fusion", "LateFusion"), ("mfn2", "Mfn2"), ("LateFusion", "LateFusion")]
)
def test_a_class_is_called_after_the_model(name: str, cls: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "model", name])
    written = {path.relative_to(here) for path in here.rglob("*") if path.is_file()}
    assert written == {Path("mine", f"{name}.py"), Path("mine", "model", f"{name}.yaml")}
    assert f"class {cls}(nn.Module):" in (here / "mine" / f"{name}.py").read_text()
    config = (here / "mine" / "model" / f"{name}.yaml").read_text()
    assert config.startswith("# @package _global_\n")
    assert OmegaConf.create(config).model._target_ == f"{name}.{cls}"
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"next: mmsa check model={name} --config-dir mine",
        f"      mmsa train --config-dir mine model={name}",
    ]


def test_the_commands_to_go_on_with_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "model", "toy", "--dir", "my own/models"])
    assert "next: mmsa check model=toy --config-dir 'my own/models'\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "error: '' cannot name a model: give a Python identifier in snake case"),
        ("2fast", "error: '2fast' cannot name a model: give a Python identifier"),
        ("late-fusion", "error: 'late-fusion' cannot name a model: give a Python identifier"),
        ("../toy", "error: '../toy' cannot name a model: give a Python identifier"),
        ("häßlich", "error: 'häßlich' cannot name a model: give a Python identifier"),
        ("class", "error: 'class' cannot name a model: give a Python identifier"),
        ("none", "error: 'none' cannot name a model: give a Python identifier"),
        ("_", "error: '_' cannot name a model: give a Python identifier"),
        ("null", "error: 'null' cannot name a model: Hydra reads model=null as a value"),
        ("tfn", "error: tfn is a model of mmsa-lightning's: choose another name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["new", "model", name])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(said) and error.count("\n") == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("path", ["mine/toy.py", "mine/model/toy.yaml"])
def test_what_is_there_already_stays(path: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / path).parent.mkdir(parents=True)
    (here / path).write_text("of old")
    with pytest.raises(SystemExit) as end:
        main(["new", "model", "toy"])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {path} is there already")
    assert [p.relative_to(here) for p in here.rglob("*") if p.is_file()] == [Path(path)]
    assert (here / path).read_text() == "of old"
