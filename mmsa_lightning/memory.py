"""The memory of a process that works for long, and of the machine."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of malloc.h of the GNU C library


@contextmanager
def uncollected() -> Iterator[None]:
    """Import in here without a search for garbage: modules are none, and each search looks through all that are there.

    What is there at the end is never searched again, so this is for imports alone, and for once in a process.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_freed() -> None:
    """Let the process keep what it frees, until :func:`give_back`, for what it asks for next.

    A training step asks for what the last one freed. The GNU C library gives large blocks back at once, such as the
    gradient of an embedding, and the system then fills new ones with zeros, page by page.
    """
    if (mallopt := _of_the_c_library("mallopt")) is not None:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**30), (M_TOP_PAD, 2**26)):
            mallopt(option, value)


def give_back() -> None:
    """Give freed memory back to the system.

    Tensors of ever other sizes leave holes in the heap, and a process grows though it holds no more. The GNU C library
    can close them; any other has no such call, and nothing is done.
    """
    if (trim := _of_the_c_library("malloc_trim")) is not None:
        trim(0)


def _of_the_c_library(function: str) -> Any:
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None


def let_go() -> None:
    """Give back what a finished run of a sweep held, on a GPU, too.

    A model, its trainer and its optimiser refer to each other: without the collection they stay for several runs.
    """
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    give_back()


def available() -> int:
    """Bytes that processes can still have without swapping; 0 where the system does not say (it is not Linux)."""
    try:
        said = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"MemAvailable:\s+(\d+) kB", said)
    return int(found[1]) * 1024 if found else 0
