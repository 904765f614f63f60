"""What a finished run leaves for tables and people: ``predictions.csv``, ``generated_labels.csv``, ``result.json``."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mmsa_lightning import files
from mmsa_lightning.annotations import fits
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.config import PACKAGE

NAME = "result.json"
REQUIRED: dict[str, Any] = {  # of result.json, what commands read without asking
    "data": str, "model": str, "ablation": str, "seed": int, "config_hash": str, "data_hash": str,
    "valid": dict[str, float | None], "test": dict[str, float | None], "epochs": int, "best_epoch": int,
    "text": str | None, "text_encoder": str | None, "modalities": list[str], "parameters": int, "seconds": float,
    "device": str, "versions": dict[str, str],
}  # fmt: skip
ROBUSTNESS, ROBUSTNESS_ERRORS = "robustness.csv", "robustness_errors.csv"  # of mmsa robustness
RATES = tuple(step / 10 for step in range(11))  # of the former, as TFR-Net and EMT-DLFR
PREDICTIONS = "predictions.csv"  # of valid and test
EVALUATION, EVALUATION_PREDICTIONS = "evaluation.csv", "evaluation_predictions.csv"  # of mmsa evaluate
KEY = ("data_hash", "split", "standardize")  # the columns of the former that say what was measured
FAR = 5.0  # and what it calls far: standard deviations between the means of a feature in two data sets
LABELS, HISTOGRAMS = "generated_labels.csv", "label_histograms.csv"  # of a model that generates labels
MEASURED_LATER = (ROBUSTNESS, ROBUSTNESS_ERRORS, EVALUATION, EVALUATION_PREDICTIONS)
PACKAGES = ("mmsa-lightning", "torch", "lightning", "transformers", "hydra-core", "torchmetrics", "numpy", "h5py")


def write(run_dir: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all; undefined figures (NaN) become null."""
    files.write_text(run_dir / NAME, json.dumps(_without_nan(result), indent=2, allow_nan=False) + "\n")


def read(run_dir: Path) -> dict[str, Any] | None:
    """The result of a finished run, None if it did not finish.

    Raises:
        UserError: there is a file that is no result.
    """
    path = run_dir / NAME
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(
        name in found and fits(found[name], hint) for name, hint in REQUIRED.items()
    ):
        raise UserError(f"{path} is not a result; remove it to run again")
    return found


def directories(folders: Sequence[Path]) -> list[Path]:
    """Of all finished runs at or below some folders.

    Raises:
        UserError: a folder without one.
    """
    found: list[Path] = []
    for folder in folders:
        here = sorted(_below(folder))
        if not here:
            raise UserError(f"{folder}: no finished run (a folder with {NAME}) in it")
        found += here
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Of all finished runs at or below a folder, links followed and each run once."""
    seen = set()
    for here, below, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(here)) in seen:
            below.clear()
            continue
        seen.add(real)
        if NAME in names:
            yield Path(here)


def place(run_dir: Path) -> str:
    """Where a run lies below the folder of all runs: data, model, ablation, and seed with settings."""
    return "/".join(part for part in run_dir.parts[-4:] if part != run_dir.anchor)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Of Python and of packages, by default of those that figures depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def git_commit() -> str | None:
    """The commit of the checkout that the code runs from, ``-dirty`` if it has changes; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE.parent), *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True
        ).stdout.strip()

    try:
        # A wheel in a virtual environment inside somebody's own checkout is not ours.
        git("ls-files", "--error-unmatch", str(PACKAGE / "__init__.py"))
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def print_summary(result: dict[str, Any], run_dir: Path) -> None:
    """A short table of the run's figures and where it lies."""
    title = f"{result['model']} ({result['ablation']}) on {result['data']}, seed {result['seed']}"
    caption = f"best of {result['epochs']} epochs: {result['best_epoch']}"
    if idle := result.get("idle_tasks"):
        caption += f", before any loss of {', '.join(idle)}: tasks that changed nothing"
    table = Table("metric", "valid", "test", title=title, caption=caption)
    for name, value in result["valid"].items():
        table.add_row(
            name, *("undefined" if v is None or math.isnan(v) else f"{v:.4f}" for v in (value, result["test"][name]))
        )
    console = Console()
    console.print(table)
    console.print(f"run: {run_dir}", soft_wrap=True, markup=False, highlight=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
