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
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

ROOT = Path(__file__).parents[2]
MAY_DIFFER = ("seconds", "git_commit")


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


def wait(process: subprocess.Popen[bytes], runs: Path, moment: float | None) -> bool:
    """Until ``moment`` seconds after the first epoch of this start, or a checkpoint is being written (None).

    Returns whether the run is still on.
    """
    began = None
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.csv")}
    while process.poll() is None:
        if moment is None and next(runs.glob("*/*/*/*/checkpoints/.*.tmp"), None):
            return True
        if moment is not None:
            if began is None and any(
                before.get(path) != path.stat().st_mtime_ns for path in runs.glob("*/*/*/*/metrics.csv")
            ):
                began = time.monotonic()
            if began is not None and time.monotonic() - began > moment:
                return True
        time.sleep(0.0005)
    return False


def kill(arguments: list[str], runs: Path, moment: float | None) -> bool:
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running = wait(process, runs, moment)
    process.kill()
    process.wait()
    return running


def outcome(runs: Path) -> dict[str, Any]:
    (run,) = (path.parent for path in runs.rglob("result.json"))
    result = json.loads((run / "result.json").read_text())
    states = {
        name: torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("best", "last")
    }
    texts = {name: (run / name).read_text() for name in ("metrics.csv", "predictions.csv", "generated_labels.csv")}
    left = sorted(str(path) for path in run.rglob("*.tmp"))
    return {"result": {k: v for k, v in result.items() if k not in MAY_DIFFER}, "states": states, "left": left} | texts


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    found = [name for name in a if name != "states" and a[name] != b[name]]
    for name, state in a["states"].items():
        found += [f"{name} {key}" for key in state if not torch.equal(state[key], b["states"][name][key])]
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
            subprocess.run(command(folder, whole, ranks), check=True, stdout=subprocess.DEVNULL)
            kinds = [when for when, r in plan if r == ranks]
            number = 0
            while kinds:
                runs, done = folder / f"killed{ranks}-{number}", []
                number += 1
                for when in kinds[:5]:
                    moment = None if when == "writing" else rng.uniform(0, 1.5)
                    if not kill(command(folder, runs, ranks), runs, moment):
                        break  # it ended first
                    done.append(when)
                subprocess.run(command(folder, runs, ranks), check=True, stdout=subprocess.DEVNULL)
                wrong = differences(outcome(whole), outcome(runs))
                failures += bool(wrong)
                print(
                    f"{ranks} rank(s), killed {len(done)} times ({', '.join(done)}): {wrong or 'the same'}", flush=True
                )
                for when in done:
                    kinds.remove(when)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
