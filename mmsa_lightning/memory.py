"""The memory of a process that works for long."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give freed memory back to the system.

    Tensors of ever other sizes leave holes in the heap, and a process grows though it holds no more. The GNU C library
    can close them; any other has no such call, and nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
