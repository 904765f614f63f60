"""That an import which runs back up is found, by file and name: ``lint-imports``, a part of ``make lint``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("models/lmf.py", "from mmsa_lightning.training.trainer import LAST", "models.lmf -> mmsa_lightning.training"),
        ("data/padding.py", "from mmsa_lightning.objectives import mse", "data.padding -> mmsa_lightning.objectives"),
        ("batch.py", "def late():\n    from mmsa_lightning.models import output", "batch -> mmsa_lightning.models"),
        ("loose.py", "", "loose"),
    ],
    ids=["upwards", "sideways", "inside a function", "a module without a floor"],
)
def test_a_forbidden_import_is_found(file: str, line: str, found: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mmsa_lightning", tmp_path / "mmsa_lightning", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def lint() -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})

    assert lint().returncode == 0
    with (tmp_path / "mmsa_lightning" / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    done = lint()
    assert done.returncode == 1
    assert found in done.stdout
