from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mmsa_lightning.annotations import describe, fits


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (True, bool, True),
        ("off", bool, False),
        (1, bool, False),
        (3, int, True),
        (True, int, False),
        (3.0, int, False),
        (3, float, True),
        (0.5, float, True),
        (math.nan, float, False),
        (math.inf, float, False),
        ("3", float, False),
        ("mean", str, True),
        (None, str, False),
        (None, int | None, True),
        ("x", int | None, False),
        ({"text": 3}, Mapping[str, int], True),
        ({"text": "3"}, Mapping[str, int], False),
        (3, dict[str, int], False),
        (["text"], Sequence[str], True),
        ("text", Sequence[str], False),
        ({"lr": {"bert": 1e-5}}, dict[str, dict[str, float]], True),
        ({"lr": 1e-5}, dict[str, dict[str, float]], False),
        (object(), Any, True),
    ],
)
def test_fits(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_describe() -> None:
    assert describe(bool) == "true or false"
    assert describe(Mapping[str, int]) == "{name: a whole number, …}"
    assert describe(list[str] | None) == "[a text, …] or null"
    assert describe(dict[str, dict[str, float]]) == "{name: {name: a number, …}, …}"
