"""Memory that was freed and that the process still had, and memory that it can have."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from mmsa_lightning.memory import available

HOLES = """
import ctypes
from mmsa_lightning.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [ctypes.create_string_buffer(4000) for _ in range(30_000)]
for block in blocks:
    ctypes.memset(block, 1, 4000)
kept = blocks[::50]  # so that the heap cannot shrink from its end
full = resident()
del blocks, block
holes = resident()
give_back()
print(full, holes, resident(), len(kept))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="of the GNU C library alone"
)
def test_holes_in_the_heap_are_closed() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    full, holes, closed, _ = map(int, done.stdout.split())
    assert holes > full - 20e6, "the C library closes them by itself"
    assert closed < full - 80e6


CIRCLES = """
import gc
import numpy as np
from mmsa_lightning.memory import let_go

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def run():
    circle = [np.ones(1000) for _ in range(10_000)]
    circle.append(circle)

gc.disable()
run()
full = resident()
let_go()
print(full, resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="of the GNU C library alone"
)
def test_what_refers_to_itself_goes_between_runs() -> None:
    done = subprocess.run([sys.executable, "-c", CIRCLES], capture_output=True, text=True, check=True)
    full, left = map(int, done.stdout.split())
    assert left < full - 60e6


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
def test_memory_that_can_be_had_is_part_of_all() -> None:
    assert 0 < available() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
