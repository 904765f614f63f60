"""Training utterances a second in one process and in two, of one thread each.

    python experiments/benchmarks/scaling.py

The paper's model with MiniLM on made-up utterances; batches of 32 in one process are of 16 in each of two.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import child
import made

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
WAYS: dict[str, tuple[int, tuple[str, ...], list[str]]] = {  # threads of a process, what starts them, overrides
    "one process, one thread": (1, (), ["trainer=cpu", "data.batch_size=32"]),
    "one process, two threads": (2, (), ["trainer=cpu", "data.batch_size=32"]),
    "two processes, one thread each": (1, TORCHRUN, ["trainer=ddp_cpu", "trainer.devices=2", "data.batch_size=16"]),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "made.h5"
        made.write(store, {"train": 512, "valid": 32, "test": 32}, 15)
        usual = ["data=own", "text_encoder=minilm", *child.settings(store, 4, Path(folder) / "runs")]
        first = 0.0
        for way, (threads, start, overrides) in WAYS.items():
            rates = child.ours(usual + overrides, *start, threads=threads)["train"]
            rate = statistics.median(rates)
            first = first or rate
            print(
                f"{way}: {rate:.1f} utterances/s ({min(rates):.1f}-{max(rates):.1f}), {rate / first:.2f} x", flush=True
            )


if __name__ == "__main__":
    main()
