"""The training command: Hydra composes a config, :func:`mmsa_lightning.experiment.run.run` runs it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mmsa_lightning.errors import UserError, one_line, one_line_errors
from mmsa_lightning.experiment.config import config_dir
from mmsa_lightning.experiment.overrides import arrange, check_groups, explain
from mmsa_lightning.memory import uncollected

TRACEBACK = "HYDRA_FULL_ERROR"  # Hydra's own switch: 1 shows tracebacks
MISTAKE = 2  # exit code
EXTRAS = {  # ours that bring plugins of Hydra's along
    "hydra/launcher/joblib": "launchers",
    "hydra/launcher/submitit_local": "launchers",
    "hydra/launcher/submitit_slurm": "launchers",
    "hydra/sweeper/optuna": "search",
}
SHOWING = ("--help", "--hydra-help", "--cfg", "--info")  # flags with which nothing is run
NO_NUMBER = (r"0+|-\d+", "give 1 or more")
NO_FOLDER = (r"[\"' ]*", "give a run's folder")
NOTHING = {  # settings of Hydra's: values that end in a traceback or mean something else there, and what to do
    # Joblib takes -2 for all cores but one.
    "hydra.launcher.n_jobs": (
        r"0+|-(?!1$)\d+",
        "give 1 or more, or -1 for as many as there are GPUs, or cores and memory",
    ),
    "hydra.sweeper.n_trials": NO_NUMBER,
    "hydra.sweeper.n_jobs": NO_NUMBER,
    "hydra.sweeper.max_batch_size": NO_NUMBER,
    "hydra.run.dir": NO_FOLDER,  # a run would be in the folder that it is started in
    "hydra.sweep.dir": NO_FOLDER,
    "hydra.sweep.subdir": NO_FOLDER,
    "hydra.verbose": (r"\{.*|[-+.\d].*|null", "give true, false or a list of loggers"),
}
failed_jobs: dict[str, list[str]] = {}  # of a sweep: run directories by the line that their jobs ended with
sweep_process = 0  # id of the process that collects them


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _train(cfg: DictConfig) -> float:
    _import_run()
    from mmsa_lightning.experiment.run import run

    job = HydraConfig.get()
    try:
        if job.mode == RunMode.MULTIRUN:
            _refuse_one_id(cfg)
        return run(cfg, job)
    except Exception as error:
        # Handled here: Hydra would print an error that leaves its job, and skip the jobs after it. In a launcher's own
        # process the error is raised: Hydra brings it back when all jobs have ended.
        mistake = isinstance(error, UserError | OSError)
        if os.getpid() != sweep_process or (job.mode != RunMode.MULTIRUN and not mistake):
            raise
        line = one_line(error)
        if not mistake:
            traceback.print_exc()
        elif line not in failed_jobs:  # a sweep without its data would repeat the line for every job
            print(line, file=sys.stderr)
        _remove_empty(Path(job.runtime.output_dir), Path(cfg.runs).absolute())
        if job.mode != RunMode.MULTIRUN:
            sys.exit(MISTAKE)
        failed_jobs.setdefault(line, []).append(job.runtime.output_dir)
        return float("inf")


@functools.cache
def _import_run() -> None:
    """Import torch and its company, for which --help need not wait; once, as :func:`uncollected` wants it."""
    with uncollected():
        import mmsa_lightning.experiment.run  # noqa: F401


def main(argv: list[str] | None = None) -> None:
    """``python train.py`` and ``mmsa train``: Hydra's command line, its errors in one line and exit code 2.

    A sweep goes on after a job that fails, and exits with 2 at its end. HYDRA_FULL_ERROR=1 shows the traceback of an
    error in the configuration.

    Args:
        argv: the arguments; the process's own when None.
    """
    if argv is not None:
        sys.argv = ["mmsa train", *argv]
    global sweep_process
    sweep_process = os.getpid()
    failed_jobs.clear()
    wanted = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # so that errors reach us instead of being printed by Hydra
    try:
        with one_line_errors():
            flags, overrides = arrange(sys.argv[1:])
            _refuse_foreign_code([*flags, *overrides])
            _refuse_empty(overrides)
            check_groups(overrides)
            if not any(flag.startswith(SHOWING) for flag in flags):
                _refuse_slurm(overrides)
            sys.argv[1:] = [*flags, *overrides]  # where Hydra reads them
            try:
                _train()
            except (HydraException, OmegaConfBaseException, YAMLError) as error:
                if wanted == "1":
                    raise
                raise UserError(_message(error)) from error
            if failed := [run_dir for run_dirs in failed_jobs.values() for run_dir in run_dirs]:
                raise UserError(f"{len(failed)} jobs failed: {', '.join(failed)}")
    finally:
        os.environ[TRACEBACK] = wanted or "0"


def _refuse_foreign_code(words: list[str]) -> None:
    """Refuse what would make Hydra run code: it calls what its own part of a config names, before our code runs.

    Raises:
        UserError: an override names a function or class for it to call, or a place outside of the runs' folder; a flag
            names a pickle for it to load.
    """
    for word in words:
        if word.startswith("--experimental-rerun"):
            raise UserError(f"{word} names a pickle for Hydra to load: refused")
        name, _, value = word.lstrip("+~").partition("=")
        if not name.startswith("hydra."):
            continue
        if name.startswith("hydra.callbacks") or re.search(r"_target_|\(\)|\bext:", word):
            raise UserError(f"{word} names code for Hydra to run: refused")
        if name.startswith(("hydra.run.", "hydra.sweep.")) and ".." in Path(value.strip("\"'")).parts:
            raise UserError(f"{word}: give a run's folder without ..")


def _refuse_empty(overrides: list[str]) -> None:
    """Refuse what no run could follow: values in ``NOTHING``, and what is swept over where nothing reads it.

    Raises:
        UserError: an override gives one.
    """
    for word in overrides:
        name, equals, value = word.lstrip("+").partition("=")
        if equals and name in NOTHING and re.fullmatch(NOTHING[name][0], value):
            raise UserError(f"{word}: {NOTHING[name][1]}")
        if (setting := name.removeprefix("hydra.sweeper.params.")) != name:
            raise UserError(f"{word}: what is swept over is given by itself, such as {setting}=1,2")


def _refuse_slurm(overrides: list[str]) -> None:
    """Refuse to submit jobs where there is no SLURM.

    Raises:
        UserError: an override asks for it.
    """
    for word in overrides:
        if re.fullmatch(r"hydra/launcher=(submitit_)?slurm", word) and shutil.which("srun") is None:
            raise UserError(
                f"{word}: there is no SLURM on this machine (no srun): submit where there is, or leave it out"
            )


def _refuse_one_id(cfg: DictConfig) -> None:
    """Refuse one W&B id for a whole sweep, whose runs W&B would take for one.

    Raises:
        UserError: they log to W&B under an id that was given.
    """
    given = OmegaConf.select(cfg, "logger.id") or os.environ.get("WANDB_RUN_ID")
    if given and OmegaConf.select(cfg, "logger.name") == "wandb":
        raise UserError(f"all runs of a sweep would have the W&B id {given}: unset WANDB_RUN_ID or logger.id")


def _message(error: Exception) -> str:
    """Hydra's message, or how to install the plugin that it did not find."""
    plugin = getattr(error, "missing_cfg_file", None)
    if plugin in EXTRAS:
        return f"{plugin} is not installed: pip install 'mmsa-lightning[{EXTRAS[plugin]}]'"
    return explain(error)


def _remove_empty(run_dir: Path, runs: Path) -> None:
    """Remove what Hydra made for a run that wrote nothing: empty folders from ``run_dir`` up, below ``runs``."""
    for folder in (run_dir, *run_dir.parents):
        if runs not in folder.parents:
            return
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
