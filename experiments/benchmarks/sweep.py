"""Memory and processor time of each run of a sweep in one process.

    python experiments/benchmarks/sweep.py                                    # Table 5 on the demo, two epochs a run
    python experiments/benchmarks/sweep.py trainer.max_epochs=4 seed=1,2      # any overrides after it

Printed by run: the most MiB that the process had resident during it, and CPU seconds.
The first run should not be told from the last.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import clock

from mmsa_lightning.experiment import run as experiment
from mmsa_lightning.experiment.app import main as train

USUAL = ["-m", "experiment=table5", "data=demo", "seed=1", "trainer=cpu", "trainer.max_epochs=2"]


def main(overrides: list[str]) -> None:
    run, number = experiment.run, 0

    def measured(*args: Any) -> float:
        nonlocal number
        number += 1
        clock.forget_peak()
        begun = time.process_time()
        found = run(*args)
        spent = time.process_time() - begun
        print(f"run {number}: at most {clock.peak():.0f} MiB resident, {spent:.1f} s", file=sys.stderr, flush=True)
        return found

    experiment.run = measured
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train([*USUAL, f"runs={Path(folder) / 'runs'}", "trainer.enable_progress_bar=false", *overrides])


if __name__ == "__main__":
    main(sys.argv[1:])
