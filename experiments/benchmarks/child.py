"""A measurement in a process of its own, so that it starts from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def run(*arguments: str | Path, threads: int | None = None) -> Any:
    """What Python, called with these arguments, prints last, as JSON.

    It finds the modules of this folder, and when it was started in ``BENCH_START``.
    """
    environment = os.environ | {"BENCH_START": str(time.time()), "PYTHONPATH": str(HERE), "HF_HUB_OFFLINE": "1"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(overrides: list[str], *start: str, threads: int | None = None) -> Any:
    """What ``ours.py`` says of a run of this project, started by Python alone or with what ``start`` names."""
    return run(*start, HERE / "ours.py", json.dumps(overrides), threads=threads)


def settings(store: Path, epochs: int, runs: Path) -> list[str]:
    """Overrides that all runs share: so many epochs on this store, whatever validation says, and no progress bar."""
    return [
        f"data.path={store.absolute()}",
        f"trainer.max_epochs={epochs}",
        "patience=99",
        "trainer.enable_progress_bar=false",
        f"runs={runs}",
        "overwrite=true",
    ]


def imported(pickle: Path, store: Path) -> float:
    """Import ``pickle`` as ``store``: the most MiB that this had resident."""
    command = "import sys, clock; from mmsa_lightning.cli import main; main(sys.argv[1:]); print(clock.peak())"
    return run("-c", command, "data", "import", pickle, "--dataset", "own", "--out", store)
