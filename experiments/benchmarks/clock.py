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
        """The rates without the first epoch's, which warms up, and the process's peak memory in MiB."""
        return {kind: rates[1:] for kind, rates in self.rates.items()} | {"peak": peak()}


def peak() -> float:
    """The most MiB that this process has had resident so far (Linux; ``getrusage`` would count its parent's, too)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1024


def forget_peak() -> None:
    """Let :func:`peak` begin anew, at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def first_batch() -> list[float]:
    """A list that gets the seconds from the process's start (``BENCH_START``) to the end of the first backward pass.

    Not to the optimiser's first step, before which some models see one batch and others four.
    """
    found: list[float] = []
    backward = torch.Tensor.backward

    @functools.wraps(backward)
    def noted(*args: Any, **kwargs: Any) -> None:
        backward(*args, **kwargs)
        if not found:
            found.append(time.time() - float(os.environ["BENCH_START"]))

    torch.Tensor.backward = noted  # type: ignore[method-assign]
    return found
