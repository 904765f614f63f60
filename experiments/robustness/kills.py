"""Kill small demo runs, let them go on, and compare with runs that were left alone: they must be the same, bit for bit.

    python experiments/robustness/kills.py --kills 30 --writing 10 --ranks 5

Kills are SIGKILL, at a random time or, ``--writing`` of them, while a checkpoint is being written; ``--ranks`` of them
meet a run of two processes. A run is killed up to five times, then left to end. Exit code 1 if any run ends otherwise
than the one that was left alone.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

ROOT = Path(__file__).parents[2]
QUIET = subprocess.DEVNULL
MAY_DIFFER = ("seconds", "git_commit")  # of two runs of the same thing


def command(folder: Path, runs: Path, ranks: int) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "train.py"),
        f"runs={runs}",
        f"data.path={folder / 'demo.h5'}",
        "data.counts={train: 96, valid: 24, test: 26}",
        f"data.batch_size={16 // ranks}",
        f"text_encoder={folder / 'bert'}",
        "trainer=ddp_cpu",
        f"trainer.devices={ranks}",
        "trainer.max_epochs=8",
        "trainer.enable_progress_bar=false",
        "patience=99",
        "keep_last=true",
        "ckpt_path=last",
    ]


def ready(runs: Path, when: str) -> Callable[[], bool]:
    """What says that it is time: a checkpoint is being written (``writing``), or an epoch of this start is over."""
    if when == "writing":
        return lambda: any(runs.glob("*/*/*/*/checkpoints/.*.tmp"))
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.csv")}
    return lambda: any(before.get(path) != path.stat().st_mtime_ns for path in runs.glob("*/*/*/*/metrics.csv"))


def kill(process: Any, ready: Callable[[], bool], pause: float = 0.0) -> bool:
    """SIGKILL a process ``pause`` seconds after it is ready, or once it has ended.

    Args:
        process: a :class:`subprocess.Popen`, or what has its ``poll``, ``kill`` and ``wait``.
        ready: is asked until it says so.
        pause: in seconds.

    Returns:
        whether the process was still at work.
    """
    deadline = time.monotonic() + 300
    while process.poll() is None and not ready() and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(pause if process.poll() is None else 0)
    at_work = process.poll() is None
    process.kill()
    process.wait()
    return at_work


def state(run: Path, name: str) -> dict[str, Any]:
    """What a checkpoint of a run holds."""
    return torch.load(run / "checkpoints" / name, weights_only=True)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, and so every tensor in them."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def differences(run: Path, whole: Path) -> list[str]:
    """In what a finished run is not as another: weights, optimiser, figures, tables; and what it left half written."""

    def kept(folder: Path) -> dict[str, Any]:
        last = state(folder, "last.ckpt")
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return {
            "best.ckpt": state(folder, "best.ckpt")["state_dict"],
            **{f"{part} of last.ckpt": last[part] for part in ("state_dict", "optimizer_states", "lr_schedulers")},
            **{f"{key} of result.json": value for key, value in result.items() if key not in MAY_DIFFER},
            **{path.name: path.read_bytes() for path in folder.glob("*.csv")},
        }

    one, other = kept(run), kept(whole)
    differing = [name for name in one | other if not same(one.get(name), other.get(name))]
    return differing + [str(path) for path in run.rglob("*.tmp")]


def only_run(folder: Path) -> Path:
    (found,) = (path.parent.parent for path in folder.rglob("best.ckpt"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--writing", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    plan = [("writing", 1)] * args.writing + [("any", 1)] * (args.kills - args.writing)
    rng.shuffle(plan)
    plan[: args.ranks] = [(when, 2) for when, _ in plan[: args.ranks]]

    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder / "bert")
        for ranks in sorted({ranks for _, ranks in plan}):
            whole = folder / f"whole{ranks}"
            subprocess.run(command(folder, whole, ranks), check=True, stdout=QUIET)
            kinds = [when for when, r in plan if r == ranks]
            number = 0
            while kinds:
                runs, done = folder / f"killed{ranks}-{number}", []
                number += 1
                for when in kinds[:5]:
                    time_comes = ready(runs, when)
                    process = subprocess.Popen(command(folder, runs, ranks), stdout=QUIET, stderr=QUIET)
                    if not kill(process, time_comes, rng.uniform(0, 1.5) if when == "any" else 0.0):
                        break  # it ended first
                    done.append(when)
                subprocess.run(command(folder, runs, ranks), check=True, stdout=QUIET)
                wrong = differences(only_run(runs), only_run(whole))
                failures += bool(wrong)
                print(
                    f"{ranks} rank(s), killed {len(done)} times ({', '.join(done)}): {wrong or 'the same'}", flush=True
                )
                for when in done:
                    kinds.remove(when)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
