"""Whether a value from a config is of the type that a signature names."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the annotated type: a whole number is a float, ``off`` is not a bool, inf is nothing."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in inner)
    if origin in (Mapping, dict):
        return isinstance(value, dict) and (not inner or all(fits(item, inner[1]) for item in value.values()))
    if origin in (Sequence, list):
        return isinstance(value, list) and (not inner or all(fits(item, inner[0]) for item in value))
    if hint is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if hint in (int, bool, str, types.NoneType):
        return type(value) is hint
    return True


def describe(hint: Any) -> str:
    """The annotation as a user reads it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(describe, inner))
    if origin in (Mapping, dict) and inner:
        return f"{{name: {describe(inner[1])}, …}}"
    if origin in (Sequence, list) and inner:
        return f"[{describe(inner[0])}, …]"
    known = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", types.NoneType: "null"}
    return known.get(hint, str(hint).replace("collections.abc.", "").replace("typing.", ""))
