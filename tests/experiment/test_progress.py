"""What a sweep says of itself, by hand."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mmsa_lightning.experiment import progress
from mmsa_lightning.experiment.progress import Progress, describe

NOON = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))  # a Wednesday


def notes(*events: tuple[int, str, float]) -> list[str]:
    return [f"{job} {state} {NOON + 60 * minutes}" for job, state, minutes in events]


@pytest.mark.parametrize(
    ("events", "at_once", "minutes", "line"),
    [
        ([], 2, 0, "0 of 6 done, 6 left"),
        ([(0, "running", 0)], 1, 5, "0 of 6 done, 1 running, 5 left"),  # nothing is known of the time
        # 30 minutes each: four to come, and 20 of the one that runs
        ([(0, "running", 0), (0, "trained", 30), (1, "running", 30)], 1, 40,
         "1 of 6 done, 1 running, 4 left, ends about Wed 15:00"),
        # the mean of 20 and 40; three to come, 20 and no minutes of those that run, on two processes
        ([(0, "running", 0), (1, "running", 0), (0, "trained", 20), (2, "running", 20), (1, "trained", 40),
          (3, "running", 50)], 2, 60, "2 of 6 done, 2 running, 2 left, ends about Wed 13:40"),
        # an answer takes no time, and what failed is done
        ([(0, "running", 0), (0, "answered", 0), (1, "running", 0), (1, "failed", 1), (2, "running", 1),
          (2, "trained", 11)], 1, 11, "3 of 6 done, 1 failed, 3 left, ends about Wed 12:41"),
        ([(job, state, job) for job in range(6) for state in ("running", "trained")], 4, 6, "6 of 6 done"),
    ],
    ids=["before", "the first", "one at a time", "two at once", "answered and failed", "the end"],
)  # fmt: skip
def test_the_line(events: list[tuple[int, str, float]], at_once: int, minutes: float, line: str) -> None:
    assert describe(notes(*events), 6, at_once, NOON + 60 * minutes) == line


def test_processes_write_into_one_file(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    for job in range(3):  # as each process has an object of its own
        Progress(tmp_path / "notes", 4, 2).note(job, progress.RUNNING)
    Progress(tmp_path / "notes", 4, 2).note(1, progress.FAILED)
    assert Progress(tmp_path / "notes", 4, 2).line() == "1 of 4 done, 1 failed, 2 running, 1 left"


def test_a_log_has_a_line_for_each_that_ended(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show("0 of 2 done, 1 running, 1 left")
    progress.show("1 of 2 done, 1 left", "lmf on demo, seed 1: valid MAE 1.2345")
    progress.stand()
    assert capsys.readouterr().out == "lmf on demo, seed 1: valid MAE 1.2345; sweep: 1 of 2 done, 1 left\n"


def test_a_terminal_has_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    progress.show("0 of 2 done, 1 running, 1 left")
    progress.show("2 of 2 done", "lmf")
    progress.stand()
    first, second, end = capsys.readouterr().out.split("\r")
    assert first == "sweep: 0 of 2 done,\x1b[K"  # a longer one would break into two
    assert (second, end) == ("sweep: 2 of 2 done\x1b[K", "\n")
