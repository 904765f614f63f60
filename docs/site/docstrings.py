"""What docstrings here have and Griffe does not know: roles (``:class:`Batch```), and names that share a line."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|meth|data|attr):`([^`]+)`")
SHARED = re.compile(r"^( +)(\w+(?:, \w+)+)(:.*(?:\n\1 +.*)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Makes links of roles, and an entry of its own for each name, once all of a package is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        self._rewrite(pkg)

    def _rewrite(self, obj: griffe.Object) -> None:
        if obj.docstring:
            text = ROLE.sub(lambda role: _link(obj, role[1]), obj.docstring.value)
            obj.docstring.value = SHARED.sub(_apart, text)
        for member in obj.members.values():
            if not member.is_alias:
                self._rewrite(member)  # type: ignore[arg-type]


def _link(obj: griffe.Object, name: str) -> str:
    try:
        place = name if name.startswith("mmsa_lightning.") else obj.resolve(name.lstrip("."))
    except griffe.NameResolutionError:
        return f"`{name}`"
    return f'<autoref identifier="{place}" optional><code>{name}</code></autoref>'


def _apart(shared: re.Match[str]) -> str:
    indent, names, meaning = shared.groups()
    return "\n".join(f"{indent}{name}{meaning}" for name in names.split(", "))
