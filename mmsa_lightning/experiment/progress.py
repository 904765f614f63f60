"""How far a sweep is: which of its jobs run, which have ended, and when the last one will."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

RUNNING, TRAINED, ANSWERED, FAILED = "running", "trained", "answered", "failed"  # answered: by a result that was there
ERASE = "\x1b[K"  # a terminal: to the end of the line


@dataclass(frozen=True)
class Progress:
    """Notes of all processes of a sweep, a line each, in a file that they share.

    Attributes:
        path: of the file.
        total: jobs of the sweep.
        at_once: how many of them run at once.
    """

    path: Path
    total: int
    at_once: int

    def note(self, job: int, state: str) -> None:
        """Note that the job of this number now is in a state."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{job} {state} {time.time()}\n")  # short enough for one write, which no other breaks up

    def line(self) -> str:
        """The sweep in one line, for people."""
        return describe(self.path.read_text(encoding="utf-8").splitlines(), self.total, self.at_once, time.time())


def describe(notes: Iterable[str], total: int, at_once: int, now: float) -> str:
    """How many jobs are done, run and are left, and when the sweep ends if those to come take as long as those before.

    Jobs that were answered by an earlier result do not count for the time.

    Args:
        notes: number, state and time (seconds since the epoch) of a job, in the order of events.
        total: jobs of the sweep.
        at_once: how many run at once.
        now: in seconds since the epoch.
    """
    states: dict[str, str] = {}
    begun: dict[str, float] = {}
    seconds = []
    for note in notes:
        job, state, moment = note.split()
        states[job] = state
        if state == RUNNING:
            begun[job] = float(moment)
        elif state == TRAINED:
            seconds.append(float(moment) - begun[job])
    running = [job for job, state in states.items() if state == RUNNING]
    failed = sum(state == FAILED for state in states.values())
    left = total - len(states)
    words = [f"{len(states) - len(running)} of {total} done"]
    words += [f"{failed} failed"] if failed else []
    words += [f"{len(running)} running"] if running else []
    words += [f"{left} left"] if left else []
    if seconds and (running or left):
        each = statistics.mean(seconds)
        work = each * left + sum(max(0.0, each - (now - begun[job])) for job in running)
        ends = now + work / min(at_once, left + len(running))
        words += [f"ends about {time.strftime('%a %H:%M', time.localtime(ends))}"]
    return ", ".join(words)


def show(line: str, ended: str = "") -> None:
    """Print the line of a sweep: over the one before on a terminal, elsewhere once for each job that has ended.

    Args:
        line: of :meth:`Progress.line`.
        ended: the job that has just ended, in words.
    """
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"sweep: {line}"[:width] + ERASE, end="\r", flush=True)  # what is printed next begins over it
    elif ended:
        print(f"{ended}; sweep: {line}", flush=True)


def stand() -> None:
    """Let the last line stand on a terminal."""
    if sys.stdout.isatty():
        print()
