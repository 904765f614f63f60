"""Shared by several layouts: text that may be bytes, and the many names of a split."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from mmsa_lightning.errors import UserError

SPLIT_NAMES = {  # a file's name for a split: its usual name
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SEGMENT = re.compile(r"(.+)\[(\w+)\]")


def by_split(data: dict[str, Any]) -> dict[str, Any]:
    """The content of a pickle for each split, by the split's usual name.

    Raises:
        UserError: two keys name the same split.
    """
    parts: dict[str, Any] = {}
    for key, part in data.items():
        if (name := SPLIT_NAMES.get(key)) in parts:
            raise UserError(f"{key!r} is a second name of the split {name}, which is there already")
        if name is not None:
            parts[name] = part
    return parts


def finite(cell: str) -> float:
    """The number in a cell of a table; NaN where it holds none, or an infinite one."""
    try:
        number = float("nan" if "_" in cell else cell)  # 1_0 is 10 to Python alone
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def is_whole(text: str) -> bool:
    """Whether UTF-8 can hold a text: half of a surrogate pair, which JSON and file names can hold, it cannot."""
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def is_missing(value: Any) -> bool:
    """Whether it is None or NaN, which pandas uses for a missing text."""
    return value is None or (isinstance(value, float | np.floating) and bool(value != value))


def text(value: Any, what: str) -> str:
    """A value as text. Python 2 may have written it as bytes; None and NaN give an empty text.

    Raises:
        UserError: it is not a single value; the text of nested lists could be larger than memory.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, bytes | str | int | float | np.generic):
        raise UserError(f"{what} is a {type(value).__name__}, not a text")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def texts(values: Any, what: str, report: list[str]) -> list[str]:
    """Each of ``values`` as text; reports how many were None or NaN.

    Raises:
        UserError: one is not a single value.
    """
    found = entries(values)
    if missing := sum(map(is_missing, found)):
        report.append(f"{what}: {missing} of {len(found)} are None or NaN, taken as empty")
    return [text(value, f"{what}, row {row}") for row, value in enumerate(found)]


def utterance_id(value: Any, what: str, sdk: bool = True) -> str:
    """An id as text; CMU's SDK names a segment ``VIDEO[3]``, which becomes ``VIDEO$_$3``.

    Args:
        value: the id.
        what: what messages call it.
        sdk: whether names are the SDK's. It counts from 0; MMSA's ids, such as ``VIDEO$_$4``, count from 1 in MOSI.

    Raises:
        UserError: it is missing: None, NaN, empty, or the text that numpy makes of None or NaN.
    """
    name = text(value, what)
    if name in ("", "nan", "None", "<NA>"):
        raise UserError(f"{what} is {value!r}; every utterance needs an id, such as VIDEO$_$3")
    match = _SEGMENT.fullmatch(name) if sdk else None
    return f"{match[1]}$_${match[2]}" if match else name


def utterance_ids(values: Any, what: str, sdk: bool = True) -> list[str]:
    """:func:`utterance_id` of each of ``values``."""
    return [utterance_id(value, f"{what}, row {row}", sdk) for row, value in enumerate(entries(values))]


def entries(values: Any) -> list[Any]:
    """The single values of a list or an array of any shape."""
    return list(np.asarray(values, dtype=object).ravel())


def some(names: list[str]) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


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
        UserError: something in it is not a number, or its numbers are complex or of a type that differs between
            machines.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iufbOSU" or (array.dtype.itemsize > 8 and array.dtype.kind == "f"):
            raise UserError(f"{what} is of dtype {array.dtype}; save it as float64, float32, integers or bool")
        return array if array.dtype.kind in "iufb" else array.astype(np.float64)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise UserError(f"{what} does not hold numbers in equal rows{_wrong_row(values) or f': {error}'}") from error


def _wrong_row(values: Any) -> str:
    """The first row that is not numeric, or has another shape than row 0; empty if there is none."""
    first: tuple[int, ...] | None = None
    rows = values if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim) else ()
    for row, value in enumerate(rows):
        try:
            shape = np.asarray(value).astype(np.float64).shape
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            return f": row {row}: {error}"
        first = shape if first is None else first
        if shape != first:
            return f": row {row} has shape {shape}, but row 0 {first}"
    return ""


def whole_numbers(values: Any, what: str) -> np.ndarray:
    """int64 (n,): lengths.

    Raises:
        UserError: one is not a whole number from 0 up.
    """
    array = numeric(values, what).ravel()
    wrong = ~((array >= 0) & (array == np.floor(array)) & (array < 2**31))
    if wrong.any():
        first = int(wrong.argmax())
        raise UserError(f"{what}, row {first} is {array[first]}, not a whole number from 0 up")
    return array.astype(np.int64)


def sentiment(values: np.ndarray, what: str) -> np.ndarray:
    """Labels as (n,), from (n, 1), (n, 1, 1), or MOSEI's seven columns: the sentiment, then six emotions.

    Raises:
        UserError: they have another number of columns.
    """
    width = math.prod(values.shape[1:])
    if values.ndim == 0 or width not in (1, 7):
        raise UserError(f"{what} has shape {values.shape}: 1 column (sentiment) or 7 (then 6 emotions) are needed")
    return values.reshape(len(values), width)[:, 0]
