"""The package as it is installed: configs inside the wheel, runs in any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_trains_the_demo_from_another_folder(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "install", *options, "--target", tmp_path / "site", ROOT], check=True)
    assert (tmp_path / "site" / "mmsa_lightning" / "conf" / "train.yaml").is_file()
    assert (tmp_path / "site" / "mmsa_lightning" / "experiments" / "paper" / "table3.csv").is_file()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, tmp_path / "site" / "bin" / "mmsa", "train", *arguments("runs=runs")]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (elsewhere / "runs").rglob("result.json")
    outcome = json.loads(path.read_text())
    assert outcome["epochs"] == 2
    assert outcome["git_commit"] is None  # a wheel is not a checkout
    assert f"run: {path.parent}" in done.stdout
