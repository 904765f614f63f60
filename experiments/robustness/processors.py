"""Run the tests as on other processors, with other numbers of threads, and in another order.

    python experiments/robustness/processors.py --out processors.csv
    python experiments/robustness/processors.py --out models.csv tests/models -k closed

What follows the file goes to pytest; without it the whole suite is run, 14 times. torch, oneDNN and MKL are told to use
no more than the instructions of an older processor, all of them or one alone. Each row is written as soon as it is
measured, and the same command goes on where it was stopped: what the file has of the same commit and arguments is not
run again. Exit code 1 if a test failed or a run did not get to its end.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

from mmsa_lightning.experiment.result import git_commit
from mmsa_lightning.report.grid import Grid

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Setting(NamedTuple):
    """Environment variables of one run; an empty one is not set."""

    capability: str = ""
    onednn: str = ""
    mkl: str = ""
    threads: str = "2"
    order: str = ""


VARIABLES = Setting(
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS", "ORDER_SEED"
)
LEVELS = {  # of torch; the same of oneDNN and MKL, which know no processor without SSE4
    "default": Setting("default", "SSE41", "SSE4_2"),
    "avx2": Setting("avx2", "AVX2", "AVX2"),
    "avx512": Setting("avx512", "AVX512_CORE", "AVX512"),
}
OLDEST = LEVELS["default"]
RESULTS = ("passed", "failed", "skipped", "minutes", "failures")
FIELDS = (*Setting._fields, *RESULTS, "arguments", "commit")


def settings(processor: str) -> list[Setting]:
    """Those that a processor of this level can run."""
    known = list(LEVELS)[: list(LEVELS).index(processor) + 1]
    return [
        *(LEVELS[level]._replace(threads=threads) for level in known for threads in ("1", "2", "4")),
        *(Setting(**{library: getattr(OLDEST, library)}) for library in ("capability", "onednn", "mkl")),
        *(Setting(order=seed) for seed in ("1", "2")),
    ]


def environment(setting: Setting) -> dict[str, str]:
    """This process's own, but for the variables of a setting and the place of the plugin."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), kept.get("PYTHONPATH"))))
    return kept | {name: value for name, value in zip(VARIABLES, setting, strict=True) if value}


def processor() -> str:
    """The level of this one; of those that torch names otherwise (not x86), the first."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment(Setting()), check=True, capture_output=True, text=True
    ).stdout.strip()


def counted(report: Path) -> dict[str, Any]:
    """Numbers of tests in pytest's JUnit file, and the names of those that failed."""
    cases = list(ET.parse(report).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
        "failures": "\n".join(f"{case.get('classname')}::{case.get('name')}" for case in failed),
    }


def run(setting: Setting, arguments: list[str]) -> dict[str, Any] | None:
    """The figures of one run, or None, and what pytest said, if it did not get to its end."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
        command += ["-p", "shuffled"] if setting.order else []
        start = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment(setting), capture_output=True, text=True)
        if done.returncode not in (0, 1):  # interrupted, killed, or no such tests
            print(f"{tuple(setting)}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            return None
        return counted(report) | {"minutes": f"{(time.monotonic() - start) / 60:.1f}"}


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def table(rows: list[dict[str, str]]) -> str:
    header = ["torch", "oneDNN", "MKL", "threads", "order", *RESULTS[:-1]]
    shown = [[row[name] or "as it is" for name in (*Setting._fields, *RESULTS[:-1])] for row in rows]
    return Grid("", header, shown).markdown().lstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args, pytest_arguments = parser.parse_known_args()
    common = {"arguments": " ".join(pytest_arguments), "commit": (git_commit() or "").removesuffix("-dirty")}

    def finished() -> dict[Setting, dict[str, str]]:
        same = [row for row in read(args.out) if {name: row[name] for name in common} == common]
        return {Setting(*(row[name] for name in Setting._fields)): row for row in same}

    has = processor()
    for level in list(LEVELS)[list(LEVELS).index(has) + 1 :]:
        print(f"left out: {level}, which this processor does not have")
    for setting in settings(has):
        if setting not in finished() and (figures := run(setting, pytest_arguments)):
            append(args.out, setting._asdict() | figures | common)
            print(*filter(None, setting), f"-> {figures['passed']} passed, {figures['failed']} failed", flush=True)
    rows = [finished()[setting] for setting in settings(has) if setting in finished()]
    print(table(rows), *filter(None, (row["failures"] for row in rows)), sep="\n")
    sys.exit(len(rows) < len(settings(has)) or any(row["failed"] != "0" for row in rows))


if __name__ == "__main__":
    main()
