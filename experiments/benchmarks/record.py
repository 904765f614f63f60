"""Figures that are kept: a CSV row a side and measure, and what moved since the last time on such a machine."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mmsa_lightning import files

SAME = ("machine", "what", "side", "measure")  # what two rows have in common whose figures are compared


def machine() -> str:
    """The kind of machine: two of the same kind may be compared."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)", path.read_text(encoding="utf-8"), re.M) if path.is_file() else None
    name = found[1] if found else platform.processor() or platform.machine()
    kind = f"{os.cpu_count()} cores of {name}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{torch.cuda.get_device_name()}, {kind}" if torch.cuda.is_available() else kind


def keep(path: Path, rows: Sequence[dict[str, str]]) -> list[str]:
    """Add rows to the file, and say what moved.

    Args:
        path: of the CSV; made if it is not there.
        rows: each with ``what`` was run, the ``side`` that ran it, the ``measure``, its ``value`` and others. The kind
            of machine and the date are added.

    Returns:
        a line for each row that has one like it, of the same kind of machine, from before: the last of these.
    """
    before = files.read_rows(path) if path.is_file() else []
    added = [{"date": time.strftime("%Y-%m-%d"), "machine": machine(), **row} for row in rows]
    last = {tuple(row[name] for name in SAME): row for row in before}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_rows(path, [*before, *added])
    return [
        f"{row['side']}, {row['measure']}: {old['value']} on {old['date']}, {row['value']} now"
        for row in added
        if (old := last.get(tuple(row[name] for name in SAME)))
    ]
