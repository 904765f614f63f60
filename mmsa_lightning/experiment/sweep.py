"""What the runs of a sweep on this machine have in common: its devices, its memory, their order and a line of progress.

A callback of Hydra's, named in ``conf/train.yaml``. Its first and last methods are called in the process that was
started; the others for each job, in the process that runs it. A sweep on a cluster is left to that.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from mmsa_lightning import files, memory
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import progress, result
from mmsa_lightning.experiment.config import run_names
from mmsa_lightning.training import devices

THREADS, VISIBLE = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"
# Of this machine, with the logger whose lines of every job the line of progress replaces.
LAUNCHERS = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": "hydra._internal.core_plugins.basic_launcher",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": "hydra_plugins.hydra_joblib_launcher._core",
}

_slot: contextlib.ExitStack | None = None  # of a process that runs jobs: held until it ends


def here(hydra: Any) -> bool:
    """Whether a job, by Hydra's part of its config, belongs to a sweep on this machine."""
    return hydra.mode == RunMode.MULTIRUN and hydra.launcher.get("_target_") in LAUNCHERS


class Sweep(Callback):
    """Hydra's hooks.

    Args:
        longest_first: values of an override, in the order in which a sweep over them starts. Others come before.
    """

    def __init__(self, longest_first: Mapping[str, Sequence[str]]) -> None:
        self.longest_first = longest_first
        self.process = os.getpid()
        self.progress: progress.Progress | None = None
        self.threads_given = THREADS in os.environ

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Put the jobs in order, and say how many there are and how many run at once."""
        if not here(config.hydra):
            return
        try:
            with read_write(config.hydra):
                total, at_once = self._arrange(config)
        except (HydraException, UserError):  # said when the sweeper or a run finds it, too
            return
        folder = Path(tempfile.mkdtemp(prefix="sweep-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.progress = progress.Progress(folder / "progress", total, at_once)
        self.progress.path.touch()
        logging.getLogger(LAUNCHERS[config.hydra.launcher._target_]).setLevel(logging.WARNING)
        print(f"sweep: {total} runs, {at_once} at once")

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **_: Any) -> None:
        """Take a slot, if this process was started for jobs, and note that this one has begun."""
        if self.progress is None:
            return
        if os.getpid() != self.process:
            self._take_slot(config.trainer)
        there = (Path(config.hydra.runtime.output_dir) / result.NAME).exists()
        self.answered = there and not config.overwrite
        self.progress.note(config.hydra.job.num, progress.RUNNING)
        progress.show(self.progress.line())

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Note that the job has ended, print the line, and leave the process as large as before its first job."""
        if self.progress is None:
            return
        mae = job_return.return_value if job_return.status == JobStatus.COMPLETED else math.inf
        failed = not math.isfinite(mae)
        state = progress.FAILED if failed else progress.ANSWERED if self.answered else progress.TRAINED
        self.progress.note(config.hydra.job.num, state)
        names = run_names(config.hydra.runtime.choices)
        run = f"{names['model']} ({names['ablation']}) on {names['data']}, seed {config.seed}"
        progress.show(self.progress.line(), f"{run}: {'failed' if failed else f'valid MAE {mae:.4f}'}")
        memory.let_go()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Let the line stand."""
        if self.progress is not None:
            progress.stand()

    def _arrange(self, config: DictConfig) -> tuple[int, int]:
        """Put the jobs in order; how many there are, and how many run at once."""
        params = config.hydra.sweeper.get("params") or {}
        for name, values in params.items():
            params[name] = self._in_order(f"{name}={values}").partition("=")[2]
        given = [self._in_order(word) for word in config.hydra.overrides.task]
        # What comes first changes last from job to job.
        config.hydra.overrides.task = sorted(given, key=lambda word: word.partition("=")[0] not in self.longest_first)
        total = _jobs(config)
        return total, _at_once(config, total)

    def _in_order(self, word: str) -> str:
        """An override; where it lists values that are known, the longest first."""
        known = [*self.longest_first.get(word.partition("=")[0], [])]
        if not known:
            return word
        (override,) = _parser().parse_overrides([word])
        if not override.is_discrete_sweep():
            return word
        values = list(override.sweep_string_iterator())
        values.sort(key=lambda value: known.index(value) if value in known else -1)
        return f"{override.get_key_element()}={','.join(values)}"

    def _take_slot(self, trainer: DictConfig) -> None:
        """Take a place of its own for this process, which sees that place's GPUs alone. Ranks share a run's threads."""
        global _slot
        assert self.progress is not None
        if _slot is not None:
            return
        _slot = contextlib.ExitStack()
        # joblib's default way to start a process has a name that a rank, started by this process, does not know.
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
        number = _free(self.progress.path.parent, self.progress.at_once, _slot)
        try:
            wanted, ranks = _devices(trainer)
        except UserError:  # which the run itself raises
            return
        if not self.threads_given and THREADS in os.environ:  # set by joblib: this process's part of the cores
            os.environ[THREADS] = str(max(1, int(os.environ[THREADS]) // ranks))
        if (gpus := _gpus()) > 1:
            names = os.environ.get(VISIBLE, "").split(",") if os.environ.get(VISIBLE) else [*map(str, range(gpus))]
            chosen = devices.share(wanted, gpus, number, self.progress.at_once)
            os.environ[VISIBLE] = ",".join(names[i] for i in chosen)


def _free(folder: Path, slots: int, until: contextlib.ExitStack) -> int:
    """The first number below ``slots`` that no other process has; it is this one's until it ends."""
    for number in range(slots):
        try:
            until.enter_context(files.held(folder / str(number)))
        except UserError:
            continue
        return number
    return 0


def _parser() -> OverridesParser:
    """That of Hydra's sweepers, to which ``glob(…)`` is a list of files."""
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())


def _jobs(config: DictConfig) -> int:
    """How many jobs a sweep has."""
    sweeper = config.hydra.sweeper
    if "n_trials" in sweeper:  # of a search
        return sweeper.n_trials
    words = [f"{name}={values}" for name, values in (sweeper.params or {}).items()]
    overrides = _parser().parse_overrides([*words, *config.hydra.overrides.task])
    return sum(map(len, BasicSweeper.split_arguments(overrides, max_batch_size=None)))


def _at_once(config: DictConfig, jobs: int) -> int:
    """How many of a sweep's jobs run at once; if the launcher is joblib's and has the default, that is set here."""
    launcher = config.hydra.launcher
    if "n_jobs" not in launcher:
        return 1
    if launcher.n_jobs == -1:
        _, each = _devices(config.trainer)
        gpus = 0 if config.trainer.accelerator == "cpu" else _gpus()
        launcher.n_jobs = devices.at_once(jobs, each, gpus, os.cpu_count() or 1, memory.available())
    launcher.batch_size = "1"  # of joblib: a process gets the next job when it has done the one before
    return max(1, min(launcher.n_jobs, jobs))


def _devices(trainer: DictConfig) -> tuple[int | list[int] | None, int]:
    """What each run asks for, see :func:`devices.read`, and how many devices that is at least."""
    given: Any = trainer.devices
    wanted = devices.read(OmegaConf.to_container(given) if OmegaConf.is_list(given) else given)
    return wanted, len(wanted) if isinstance(wanted, list) else wanted or 1


def _gpus() -> int:
    """Of this machine, or those of them that this process may see."""
    import torch  # which need not be there to compose

    return torch.cuda.device_count() or int(torch.backends.mps.is_available())
