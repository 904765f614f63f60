"""Memory that was freed and that the process still had."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

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
