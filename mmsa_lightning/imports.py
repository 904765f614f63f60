"""Large imports, quickly."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
