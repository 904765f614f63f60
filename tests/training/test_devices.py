"""What ``trainer.devices`` takes, and which devices it comes to on a machine with so many GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.training.devices import at_once, plan, read, share


@pytest.mark.parametrize(
    ("value", "gpus", "indices"),
    [
        (1, 0, [0]),
        (2, 0, [0, 1]),
        ("2", 0, [0, 1]),
        ("auto", 0, [0]),
        (-1, 0, [0]),
        (1, 4, [0]),
        (3, 4, [0, 1, 2]),
        ("auto", 4, [0, 1, 2, 3]),
        (-1, 4, [0, 1, 2, 3]),
        ("-1", 4, [0, 1, 2, 3]),
        ([1], 4, [1]),
        ("1,", 4, [1]),
        ([3, 2], 4, [3, 2]),
        ("0, 2", 4, [0, 2]),
    ],
)
def test_devices_are_counted_and_chosen(value: Any, gpus: int, indices: list[int]) -> None:
    assert plan(read(value), gpus) == indices


@pytest.mark.parametrize("value", [*(0, -2, 1.5, True, None, "", ",", "two", "1 2", "9" * 5000), *([], [-1], [0, 0])])
def test_what_names_no_devices_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"(?s)^trainer\.devices=.*: give how many \(a whole number from 1\)"):
        read(value)


@pytest.mark.parametrize(
    ("value", "gpus", "words"),
    [
        ([0], 0, r"devices=\[0\] chooses GPUs, but this run is on the CPU"),
        (10**9, 0, "at most [0-9]+ processes on these cores"),
        ([2], 2, "2 GPUs are visible here, numbered from 0"),
        ("0,7", 2, "2 GPUs are visible"),
        (3, 2, "2 GPUs are visible"),
    ],
)
def test_devices_that_are_not_there_are_refused(value: Any, gpus: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(read(value), gpus)


@pytest.mark.parametrize(
    ("devices", "gpus", "slots", "seen"),
    [
        (1, 4, 4, [[0], [1], [2], [3]]),
        (1, 4, 2, [[0], [1]]),
        (1, 2, 4, [[0], [1], [0], [1]]),  # too few: two runs on each
        (2, 4, 2, [[0, 1], [2, 3]]),
        (8, 4, 2, [[0, 1, 2, 3]] * 2),  # refused by plan, which says how many there are
        (None, 4, 2, [[0, 1], [2, 3]]),
        (None, 2, 3, [[0], [1], [0]]),
        ([1], 4, 2, [[0, 1, 2, 3]] * 2),
    ],
)
def test_runs_at_once_share_the_gpus(devices: Any, gpus: int, slots: int, seen: list[list[int]]) -> None:
    assert [share(devices, gpus, slot, slots) for slot in range(slots)] == seen


@pytest.mark.parametrize(
    ("runs", "each", "gpus", "cores", "gigabytes", "found"),
    [
        (16, 1, 4, 2, 1, 4),
        (3, 1, 4, 64, 100, 3),
        (16, 2, 4, 64, 100, 2),
        (16, 8, 4, 64, 100, 1),
        (16, 1, 0, 2, 24, 2),
        (16, 1, 0, 8, 12, 3),
        (16, 2, 0, 8, 100, 4),
        (16, 1, 0, 8, 1, 1),
    ],
)
def test_as_many_runs_at_once_as_there_is_room_for(
    runs: int, each: int, gpus: int, cores: int, gigabytes: int, found: int
) -> None:
    assert at_once(runs, each, gpus, cores, gigabytes * 2**30) == found
