"""Requests that come at the same time are answered together, by the one thread that runs the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.serve.metrics import Metrics


class Full(Exception):
    """So many utterances wait that no more are taken."""


@dataclass
class Job:
    """One request.

    Attributes:
        utterances: that it gives.
        attention, contributions: whether it asks for them.
        answer: what becomes of it.
    """

    utterances: list[Utterance]
    attention: bool = False
    contributions: bool = False
    answer: Future[Any] = field(default_factory=Future)


class Batcher:
    """A queue of jobs, and a thread that takes several at once.

    Args:
        compute: answers jobs; whatever goes wrong is the answer of the job that it concerns.
        limits: of which ``queue``, ``batch`` and ``collect_s``.
        metrics: that show the queue and the batches.
    """

    def __init__(self, compute: Callable[[Sequence[Job]], None], limits: Limits, metrics: Metrics) -> None:
        self.compute = compute
        self.limits = limits
        self.metrics = metrics
        self._jobs: deque[Job] = deque()
        self._waiting = 0  # utterances
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def put(self, job: Job) -> None:
        """Queue a job.

        Raises:
            Full: there is no room for it.
        """
        with self._changed:
            if self._waiting + len(job.utterances) > self.limits.queue:
                raise Full
            self._jobs.append(job)
            self._count(len(job.utterances))
            self._changed.notify()

    def _count(self, change: int) -> None:
        self._waiting += change
        self.metrics.queue.set(self._waiting)

    def _work(self) -> None:
        while jobs := self._collect():
            wanted = [job for job in jobs if job.answer.set_running_or_notify_cancel()]  # who has not given up
            if wanted:
                self.metrics.batches.observe(sum(len(job.utterances) for job in wanted))
                self.compute(wanted)

    def _collect(self) -> list[Job]:
        """The next jobs; none when there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            self._changed.wait_for(
                lambda: self._waiting >= self.limits.batch or self._closed, timeout=self.limits.collect_s
            )
            taken: list[Job] = []
            room = self.limits.batch
            while self._jobs and (not taken or len(self._jobs[0].utterances) <= room):
                job = self._jobs.popleft()
                room -= len(job.utterances)
                self._count(-len(job.utterances))
                taken.append(job)
            return taken
