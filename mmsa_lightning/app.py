"""The training command: Hydra composes a config, :func:`mmsa_lightning.experiment.run` runs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mmsa_lightning.config import config_dir, register_resolvers
from mmsa_lightning.errors import UserError, one_line, one_line_errors

TRACEBACK = "HYDRA_FULL_ERROR"  # Hydra's own switch: 1 shows tracebacks
MISTAKE = 2  # exit code
failed_jobs: list[str] = []  # run directories of a sweep's jobs that ended in a mistake


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _train(cfg: DictConfig) -> float:
    from mmsa_lightning.experiment import run  # torch and its company, which --help and a wrong override do not need

    job = HydraConfig.get()
    try:
        return run(cfg, job)
    except (UserError, OSError) as error:
        # Handled in here, because Hydra announces an error that leaves its job and forgets the jobs after it.
        print(one_line(error), file=sys.stderr)
        _remove_empty(Path(job.runtime.output_dir), Path(cfg.runs).absolute())
        if job.mode != RunMode.MULTIRUN:
            sys.exit(MISTAKE)
        failed_jobs.append(job.runtime.output_dir)
        return float("inf")


def main(argv: list[str] | None = None) -> None:
    """``python train.py`` and ``mmsa train``: Hydra's command line, its errors in one line and exit code 2.

    A sweep goes on after a job that ends in a mistake, and exits with 2 at its end. HYDRA_FULL_ERROR=1 shows the
    traceback of an error in the configuration.

    Args:
        argv: the arguments; the process's own when None.
    """
    if argv is not None:
        sys.argv = ["mmsa train", *argv]
    register_resolvers()
    failed_jobs.clear()
    wanted = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # so that errors reach us instead of being printed by Hydra
    try:
        with one_line_errors():
            try:
                _train()
            except (HydraException, OmegaConfBaseException) as error:
                if wanted == "1":
                    raise
                raise UserError(str(error)) from error
            if failed_jobs:
                raise UserError(f"{len(failed_jobs)} jobs failed: {', '.join(failed_jobs)}")
    finally:
        os.environ[TRACEBACK] = wanted or "0"


def _remove_empty(run_dir: Path, runs: Path) -> None:
    """Remove what Hydra made for a run that wrote nothing: empty folders from ``run_dir`` up, below ``runs``."""
    for folder in (run_dir, *run_dir.parents):
        if runs not in folder.parents:
            return
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
