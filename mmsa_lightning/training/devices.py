"""What ``trainer.devices`` names, which of a machine's devices these are, and how runs at once share them."""

from __future__ import annotations

import os
import re
from typing import Any

from mmsa_lightning.annotations import fits
from mmsa_lightning.errors import UserError

RANKS_PER_CORE = 4  # at most; several processes on a CPU are for trying things out
ROOM = 4 * 2**30  # bytes that a run on the CPU may take: fine-tuning BERT-base takes 3.6 GB


def read(value: Any) -> int | list[int] | None:
    """``trainer.devices`` as Lightning reads it: how many, or which, by index; None for all there are.

    Raises:
        UserError: it is nothing of the kind.
    """
    read = value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}|(\s*\d{1,9}\s*,)+(\s*\d{1,9})?\s*", value):
        numbers = [int(part) for part in value.split(",") if part.strip()]
        read = numbers if "," in value else numbers[0]
    if read in ("auto", -1):
        return None
    if fits(read, int) and read >= 1:
        return read
    if fits(read, list[int]) and read and min(read) >= 0 and len(set(read)) == len(read):
        return read
    raise UserError(
        f"trainer.devices={value}: give how many (a whole number from 1), which (a list such as [0,2]), or auto"
    )


def plan(devices: int | list[int] | None, gpus: int) -> list[int]:
    """The devices of this machine that a run uses, a process each, by index.

    Args:
        devices: how many, which, or all; see :func:`read`.
        gpus: how many GPUs there are; 0 for a run on the CPU, where only the number of processes matters.

    Raises:
        UserError: this machine has no such devices.
    """
    if isinstance(devices, list) and not gpus:
        raise UserError(
            f"trainer.devices={devices} chooses GPUs, but this run is on the CPU: give a whole number from 1"
        )
    wanted = max(devices) + 1 if isinstance(devices, list) else devices or gpus or 1
    most = gpus or RANKS_PER_CORE * (os.cpu_count() or 1)
    if wanted > most:
        there = f"{gpus} GPUs are visible here, numbered from 0" if gpus else f"at most {most} processes on these cores"
        raise UserError(f"trainer.devices={devices}: {there}")
    return devices if isinstance(devices, list) else list(range(wanted))


def at_once(runs: int, each: int, gpus: int, cores: int, memory: int) -> int:
    """How many runs of a sweep this machine should do at once.

    On the CPU one a core, as far as memory reaches: two runs of one thread each end sooner than two of two threads, one
    after the other.

    Args:
        runs: how many there are.
        each: processes, and so devices, of a run.
        gpus: of the machine; 0 for runs on the CPU.
        cores: of the machine.
        memory: bytes that are free.
    """
    room = gpus // each if gpus else min(cores, memory // ROOM) // each
    return max(1, min(runs, room))


def share(devices: int | list[int] | None, gpus: int, slot: int, slots: int) -> list[int]:
    """The GPUs, by index, that the run in one slot of a sweep sees.

    No two runs see the same GPU, unless there are too few: then as many runs as possible have one each.

    Args:
        devices: what each run asks for; see :func:`read`. A list is what it says, for every run; all is an equal part.
        gpus: how many there are, at least 1.
        slot: of this run, from 0.
        slots: how many runs there are at once.
    """
    if isinstance(devices, list):
        return list(range(gpus))
    each = min(devices or max(1, gpus // slots), gpus)
    return [(slot * each + i) % gpus for i in range(each)]
