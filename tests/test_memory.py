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


AGAIN = """
import ctypes, resource, sys
from mmsa_lightning.memory import give_back, keep_freed

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def faults_of_a_large_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.create_string_buffer(50_000_000)
    ctypes.memset(block, 1, 50_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of_a_large_block()
usual = faults_of_a_large_block()
keep_freed()
faults_of_a_large_block()
kept = faults_of_a_large_block()
full = resident()
give_back()
print(usual, kept, full, resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="of the GNU C library alone"
)
def test_freed_memory_is_kept_for_what_comes_next_and_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    usual, kept, full, left = map(int, done.stdout.split())
    assert usual > 20 * kept, "the C library keeps it by itself"
    assert left < full - 40e6


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
def test_memory_that_can_be_had_is_part_of_all() -> None:
    assert 0 < available() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
