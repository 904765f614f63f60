"""Stopping when asked: a run saves where it is, between two steps, and goes on from there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch

from mmsa_lightning.errors import UserError
from mmsa_lightning.training import ranks

USER = (signal.SIGINT, signal.SIGTERM)
# What SLURM sends before a job's time is up, if it is asked to (sbatch --signal). Windows has neither.
SLURM = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class Interrupted(Exception):
    """The run was asked to stop by a signal, and what it needs to go on is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stoppable(trainer: L.Trainer) -> Iterator[None]:
    """What is done within ends on a signal (see :class:`Interruption`) or Ctrl-C with the usual exit code of the
    process and a line on how to go on."""
    try:
        yield
    except (Interrupted, SystemExit, KeyboardInterrupt) as stop:  # SystemExit: Lightning's answer outside of an epoch
        if trainer.is_global_zero:
            print("interrupted; the same command with ckpt_path=last continues", file=sys.stderr)
        sys.exit(128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT))


class Interruption(L.Callback):
    """Saves a checkpoint after the optimiser's step in which a signal came to any rank, and stops.

    It handles SIGINT and SIGTERM and, in a SLURM job, SIGUSR1 and SIGUSR2, after which the job is requeued. The
    checkpoint can be resumed in the middle of an epoch: besides what every checkpoint has, it holds how many batches
    are done and the state of every rank's random number generators.

    Args:
        path: of the checkpoint.

    Raises:
        Interrupted: in every rank.
        UserError: the checkpoint is of another number of processes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received = 0
        self.before: dict[int, Any] = {}
        self.done = 0  # batches of the epoch, where a checkpoint is made in the middle of it
        self.restored: dict[str, Any] = {}
        self.started = False  # whatever a checkpoint holds has been taken up
        self.processes = 1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.processes = trainer.world_size

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not earlier: Lightning sets its own handlers just before this, and restores the previous ones at its end.
        if threading.current_thread() is threading.main_thread():
            numbers = USER + (SLURM if "SLURM_JOB_ID" in os.environ else ())
            self.before = {number: signal.signal(number, self._note) for number in numbers}
        if self.restored:
            trainer.train_dataloader.sampler.done = self.restored["done"]  # type: ignore[union-attr]
            _restore(self.restored["random"][trainer.global_rank])
            self.restored = {}
        self.started = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not stepped or trainer.is_last_batch or not self.asked(trainer):
            return  # after its last batch the epoch ends, and Last saves it
        self.done = batch_idx + 1
        trainer.save_checkpoint(self.path)
        self.stop(trainer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait
        self.received = number

    def asked(self, trainer: L.Trainer) -> bool:
        """Whether a signal came to any rank: every rank must stop after the same step."""
        return trainer.strategy.reduce_boolean_decision(bool(self.received), all=False)

    def stop(self, trainer: L.Trainer) -> None:
        """Stop every rank, once the checkpoint is on disk: SLURM, or a launcher, ends the others with the first.

        Raises:
            Interrupted: always.
        """
        trainer.strategy.checkpoint_io.teardown()
        trainer.strategy.barrier()
        number = self.received or signal.SIGTERM
        if number in SLURM and trainer.is_global_zero:
            _requeue(number, self.before.get(number))
        raise Interrupted(number)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"processes": self.processes}
        return state | {"done": self.done, "random": ranks.of_all(_random_state())} if self.done else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (before := state_dict.get("processes", self.processes)) != self.processes:
            raise UserError(
                f"the run began with {before} processes, but now there are {self.processes}: trainer.devices={before} "
                "continues it, overwrite=true starts again"
            )
        self.restored = state_dict if "done" in state_dict else {}


def _requeue(number: int, before: Any) -> None:
    """Have SLURM requeue this job. If submitit started the job, its own handler does that."""
    if callable(before):
        before(number, None)
    else:
        job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"])
        task = os.environ.get("SLURM_ARRAY_TASK_ID")
        subprocess.run(["scontrol", "requeue", f"{job}_{task}" if task else job], check=False)


def requeued() -> bool:
    """Whether SLURM runs this job again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def _random_state() -> dict[str, Any]:
    """The state of every generator that training may draw from, as tensors and plain values for a checkpoint."""
    algorithm, keys, *rest = np.random.get_state()  # noqa: NPY002 a user's model may draw from it
    return {
        "python": random.getstate(),
        "numpy": [algorithm, torch.from_numpy(np.array(keys, np.int64)), *rest],
        "torch": torch.get_rng_state(),
        # Only of the GPU in use: other runs may use the others, and this run may be resumed on another one.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def _restore(state: dict[str, Any]) -> None:
    algorithm, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((algorithm, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][0])
