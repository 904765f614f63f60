"""What several layouts have in common: text that may be bytes, and the many names of a split."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mmsa_lightning.errors import UserError

SPLIT_NAMES = {"train": "train", "valid": "valid", "dev": "valid", "val": "valid", "test": "test"}
_SEGMENT = re.compile(r"(.+)\[(\w+)\]")


def text(value: Any) -> str:
    """A string that Python 2 may have written as bytes.

    Raises:
        UserError: it is no single value; its text could be longer than memory, where lists stand in lists many times.
    """
    if not isinstance(value, bytes | str | int | float | np.generic | None):
        raise UserError(f"a text or an id is a {type(value).__name__}")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def utterance_id(segment: Any) -> str:
    """``VIDEO[3]``, as CMU's SDK names a segment, as ``VIDEO$_$3``; anything else unchanged."""
    name = text(segment)
    match = _SEGMENT.fullmatch(name)
    return f"{match[1]}$_${match[2]}" if match else name


def column(part: dict[str, Any], key: str, where: str) -> Any:
    """``part[key]``.

    Raises:
        UserError: there is no such key.
    """
    if key not in part:
        raise UserError(f"{where} has no {key!r}; it has {', '.join(sorted(map(str, part)))}")
    return part[key]


def padded(values: Any, what: str) -> np.ndarray:
    """A modality's array (n, time, dim), numeric.

    Raises:
        UserError: it has other axes, or holds anything but numbers.
    """
    array = numeric(values, what)
    if array.ndim != 3:
        raise UserError(f"{what} has shape {array.shape}, not (utterances, time, features)")
    return array


def numeric(values: Any, what: str) -> np.ndarray:
    """``values`` as a plain array of numbers; objects and text become float64.

    Raises:
        UserError: something in it is not a number.
    """
    try:
        array = rectangular(values)
        return array if array.dtype.kind in "iufb" else array.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{what} does not hold numbers in equal rows: {error}") from error


def rectangular(values: Any) -> np.ndarray:
    """``np.asarray``, for what a stranger's pickle holds: lists in it may be one list many times over.

    Raises:
        ValueError: it would be larger than any array of that kind that is published.
    """
    size, inner = 1, values
    while isinstance(inner, list | tuple) and inner:
        size *= len(inner)
        inner = inner[0]
    if size > 1 << 28:
        raise ValueError(f"lists in lists of {size} entries")
    return np.asarray(values)
