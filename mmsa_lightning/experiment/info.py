"""``mmsa info``: what a report of a problem should tell of the machine. No secrets, and nothing of the user's data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from mmsa_lightning.experiment.config import PACKAGE, config_dir
from mmsa_lightning.experiment.result import PACKAGES, git_commit, versions
from mmsa_lightning.models.layers.precision import gpu_has_bf16, processor_has_bf16


def facts() -> Iterator[str]:
    """Lines of name and value: versions, platform, processor, devices, paths."""
    found = versions((*PACKAGES, "wandb"))
    capability, bf16 = torch.backends.cpu.get_cpu_capability(), _yes(processor_has_bf16())
    found |= {
        "commit": git_commit() or "none: not a checkout",
        "platform": platform.platform(),
        "processor": f"{os.cpu_count()} cores, {capability}, bf16 {bf16}",
        "threads": str(torch.get_num_threads()),
        "devices": "; ".join(_devices()) or "CPU alone",
        "package": _short(PACKAGE),
        "conf": _short(config_dir()),
        "stores": _folder(Path("stores")),
        "runs": _folder(Path("runs")),
    }
    width = max(map(len, found))
    yield from (f"{name:{width}} {value}" for name, value in found.items())


def _yes(has: bool) -> str:
    return "yes" if has else "no"


def _devices() -> Iterator[str]:
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        bf16 = _yes(gpu_has_bf16(i))
        yield f"cuda {i}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute {gpu.major}.{gpu.minor}, bf16 {bf16}"
    if torch.backends.mps.is_available():
        yield "mps"


def _folder(path: Path) -> str:
    """Of the current folder, where configs look for it unless they are told otherwise."""
    return _short(path.absolute()) if path.is_dir() else f"none in {_short(Path.cwd())}"


def _short(path: Path) -> str:
    """With ~ for the home folder, which tells the user's name."""
    home = Path.home()
    return str(Path("~", path.relative_to(home))) if path.is_relative_to(home) and home != Path("/") else str(path)
