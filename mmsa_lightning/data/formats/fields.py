"""What several layouts have in common: text that may be bytes, and the many names of a split."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mmsa_lightning.errors import UserError

SPLIT_NAMES = {"train": "train", "valid": "valid", "dev": "valid", "val": "valid", "test": "test"}
_SEGMENT = re.compile(r"(.+)\[(\w+)\]")


def text(value: Any) -> str:
    """A string that Python 2 may have written as bytes."""
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
        array = np.asarray(values)
        return array if array.dtype.kind in "iufb" else array.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{what} does not hold numbers in equal rows: {error}") from error
