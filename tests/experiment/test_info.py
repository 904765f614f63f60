"""``mmsa info`` tells of the machine, and nothing of its user."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmsa_lightning.cli import main


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    main(["info"])
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())


def test_it_tells_versions_and_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(capsys)
    for package in ("mmsa-lightning", "torch", "lightning", "transformers", "hydra-core", "torchmetrics"):
        assert facts[package] == version(package)
    assert {"numpy", "h5py", "wandb", "commit", "stores", "runs"} <= set(facts)
    assert facts["python"] == platform.python_version()
    assert torch.backends.cpu.get_cpu_capability() in facts["processor"]
    assert int(facts["threads"]) == torch.get_num_threads()


def test_gpus_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [SimpleNamespace(name=name, major=m, minor=0, total_memory=80 * 2**30) for name, m in (("H", 9), ("V", 7))]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_properties", gpus.__getitem__)
    expected = "cuda 0: H, 80 GiB, compute 9.0, bf16 yes; cuda 1: V, 80 GiB, compute 7.0, bf16 no"
    assert told(capsys)["devices"].startswith(expected)


def test_it_tells_no_names_and_no_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "somebody"
    (home / "work" / "runs").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    monkeypatch.chdir(home / "work")
    main(["info"])
    out = capsys.readouterr().out
    assert "somebody" not in out and "ffff" not in out
    assert f"{Path('~', 'work', 'runs')}\n" in out
    assert f"none in {Path('~', 'work')}\n" in out
