"""Servers in processes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# One that waits for a body for 1.5 seconds, and for a request for 1. Last it says which of those below it has imported.
IMPATIENT = """
import sys
import mmsa_lightning
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.serve.run import serve
serve(mmsa_lightning.load(sys.argv[1]), "127.0.0.1", 0, Limits(body_s=1.5, idle_s=1))
print("imported:", *{"lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb"} & set(sys.modules))
"""


@contextmanager
def served(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server's process, and its address; killed at the end if it is still there."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, process.communicate(timeout=60)
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()
