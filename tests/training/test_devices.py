"""What ``trainer.devices`` takes, and which devices it comes to on a machine with so many GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.training.devices import plan, read


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
