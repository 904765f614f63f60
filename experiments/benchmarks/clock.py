"""What both sides are measured with."""

from __future__ import annotations

import functools
import os
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch


class Passes:
    """Utterances a second of every pass over a split, by kind."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = defaultdict(list)
        self.begun: float | None = None

    def begin_epoch(self, utterances: int) -> None:
        """A whole epoch, with its validation and checkpoints, ends where the next one begins."""
        now = time.time()
        if self.begun is not None:
            self.add("epoch", utterances, now - self.begun)
        self.begun = now

    def add(self, kind: str, utterances: int, seconds: float) -> None:
        self.rates[kind].append(utterances / seconds)

    def summary(self) -> dict[str, Any]:
        """The rates without the first epoch's, which warms up, and the process's peak memory in MB."""
        return {kind: rates[1:] for kind, rates in self.rates.items()} | {"peak": peak()}


def peak() -> float:
    """The most MB that this process has had resident so far (Linux; ``getrusage`` would count its parent's, too)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1024


def forget_peak() -> None:
    """Let :func:`peak` begin anew, at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def first_step() -> list[float]:
    """A list that gets the seconds from the process's start (``BENCH_START``) to the end of Adam's first step."""
    found: list[float] = []
    step = torch.optim.Adam.step

    @functools.wraps(step)
    def noted(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        if not found:
            found.append(time.time() - float(os.environ["BENCH_START"]))
        return result

    torch.optim.Adam.step = noted  # type: ignore[method-assign]
    return found
