"""How long commands take before they do anything: the first step of a run, the next job of a sweep, tables, lists.

    python experiments/benchmarks/startup.py
    python experiments/benchmarks/startup.py --checkouts ../before . --repeats 7

Each measurement is a process with one thread. Printed are medians, in seconds of CPU (user and system) and of the
clock; on a machine that does other things, too, the former are to be compared. Several checkouts are measured in turn.

``first step``: from the command ``train.py`` (``data=demo``) to the end of Adam's first step. ``next job``: in a sweep
in one process, from the end of one job to the first step of the next. The others are whole commands; the table is of
40 results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import made

from mmsa_lightning.report.cells import cells

HERE = Path(__file__).parent
MARK = "startup:"
TRAIN = (sys.executable, str(HERE / "started.py"))
MMSA = (sys.executable, "-m", "mmsa_lightning.cli")
OWN = ("data=own", "data.path=made.h5", "text_encoder=minilm", "trainer.max_epochs=1", "runs=runs", "overwrite=true")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, nargs="+", default=[HERE.parents[1]], help="whose code is measured")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = prepare(folder, args.checkouts[0])
        found: dict[tuple[str, Path], list[tuple[float, float]]] = {}
        for _ in range(args.repeats):
            for what, command in commands.items():
                for checkout in args.checkouts:
                    times = measure(what, command, folder, checkout)
                    found.setdefault((what, checkout), []).append(times)
                    print(f"{what:12} {times[0]:6.2f} s CPU {times[1]:6.2f} s  {checkout}", file=sys.stderr, flush=True)
    for (what, checkout), times in found.items():
        cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{what:12} {cpu:6.2f} s CPU {wall:6.2f} s  {checkout}")


def prepare(folder: Path, checkout: Path) -> dict[str, tuple[str, ...]]:
    """Stores, a run, its package and 40 results like it; the commands to be measured, by name."""
    made.write(folder / "made.h5", {"train": 32, "valid": 8, "test": 8}, 15)
    run(("-m", "mmsa_lightning.cli", "train", *OWN, "seed=1"), folder, checkout)
    (result,) = (folder / "runs").rglob("result.json")
    run(("-m", "mmsa_lightning.cli", "package", str(result.parent), "--out", "package"), folder, checkout)
    wanted = ("data=demo", "runs=table")
    for cell in cells("table5", wanted):
        run_dir = folder / cell.run_dir
        shutil.copytree(result.parent, run_dir, ignore=shutil.ignore_patterns("checkpoints"))
        changed = {"seed": cell.seed, "ablation": run_dir.parent.name, "data": "demo"}
        record = json.loads(result.read_text(encoding="utf-8")) | changed
        (run_dir / "result.json").write_text(json.dumps(record), encoding="utf-8")
    return {
        "first step": (*TRAIN, "runs=demo", "overwrite=true"),
        "next job": (*TRAIN, "--multirun", *OWN, "seed=1,2"),
        "table": (*MMSA, "table", "5", *wanted),
        "report": (*MMSA, "report", "runs"),
        "models": (*MMSA, "models"),
        "predict": (*MMSA, "predict", "package", "made.h5", "--out", "predictions.csv"),
        "data inspect": (*MMSA, "data", "inspect", "made.h5"),
    }


def run(arguments: tuple[str, ...], folder: Path, checkout: Path) -> None:
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment(checkout), check=True, capture_output=True)


def environment(checkout: Path) -> dict[str, str]:
    found = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return found | {"BENCH_START": str(time.time())}


def measure(what: str, command: tuple[str, ...], folder: Path, checkout: Path) -> tuple[float, float]:
    """Seconds of CPU and of the clock."""
    begun = time.perf_counter()
    with (folder / "output").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment(checkout), stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(f"{command}: {text[-2000:]}")
    if command[: len(TRAIN)] != TRAIN:
        return usage.ru_utime + usage.ru_stime, seconds
    marks = [json.loads(line.removeprefix(MARK)) for line in text.splitlines() if line.startswith(MARK)]
    first = [mark for mark in marks if mark["what"] == "step"]
    if what == "first step":
        return first[0]["cpu"], first[0]["wall"]
    end = next(mark for mark in marks if mark["what"] == "end")
    step = next(mark for mark in first if mark["wall"] > end["wall"])
    return step["cpu"] - end["cpu"], step["wall"] - end["wall"]


if __name__ == "__main__":
    main()
