"""Processes that need not import torch and its company again: forked from one that has done that and nothing else."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")


def start() -> None:
    """Start what processes are forked from, unless it is there; each begins with one thread."""
    CONTEXT.set_forkserver_preload(["mmsa_lightning.experiment.app", "mmsa_lightning.experiment.run", "warm"])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


class Python:
    """``python …`` in a process of its own, as :class:`subprocess.Popen` would start it.

    Its environment was not yet there when torch and its company were imported: a test of variables that they read on
    import wants an ordinary process.

    Args:
        words: a script and its arguments; or ``-c``, code and its arguments.
        folder: where its output is kept.
        environment: of the process; this one's if None.
    """

    def __init__(self, words: list[Any], folder: Path, environment: dict[str, str] | None = None) -> None:
        self.out, self.err = (folder / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
        given = (list(map(str, words)), self.out, self.err, environment or dict(os.environ), torch.get_num_threads())
        start()
        self.process = CONTEXT.Process(target=_run, args=given)
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """The exit code, minus the signal that killed it; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout: float = 300) -> int:
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise TimeoutError(f"still at work after {timeout} s: {self.stderr}")
        return code

    def send_signal(self, number: int) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        return self.err.read_text()


def _run(words: list[str], out: Path, err: Path, environment: dict[str, str], threads: int) -> None:
    for stream, target in ((0, os.devnull), (1, out), (2, err)):
        os.dup2(os.open(target, os.O_RDWR | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(words[1], {"__name__": "__main__"})
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    finally:  # As an ordinary process ends: multiprocessing waits for children first, and leaves out the second.
        threading._shutdown()
        atexit._run_exitfuncs()
