"""From a config node with ``_target_`` to the object it names: the project's own classes and nothing else."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmsa_lightning.annotations import describe, fits
from mmsa_lightning.errors import UserError

PACKAGE = Path(__file__).parents[1]

# Where each kind of component lives, and what it must be: imported when one is built, since a model needs no Lightning.
KINDS: dict[str, tuple[str, str]] = {
    "model": ("mmsa_lightning.models.", "torch.nn.Module"),
    "objective": ("mmsa_lightning.objectives.", "mmsa_lightning.objectives.base.Objective"),
    "data": ("mmsa_lightning.data.", "mmsa_lightning.data.datamodule.StoreDataModule"),
}


def build(
    kind: str,
    node: dict[str, Any],
    *,
    plugins: Path | None = None,
    where_null: Mapping[str, Any] | None = None,
    **given: Any,
) -> Any:
    """Build what ``node`` describes.

    Args:
        kind: model, objective or data; see :data:`KINDS`.
        node: plain config, ``_target_`` and the arguments.
        plugins: a folder of the user's own; ``_target_: toy.Toy`` then names the class ``Toy`` in its ``toy.py``.
        where_null: values of arguments that the class needs and the config leaves null.
        given: arguments that are known at run time only; a class gets those that it takes.

    Raises:
        UserError: the target is not allowed or does not exist, or does not take these arguments.
    """
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    cls = _find_class(kind, str(node.get("_target_")), plugins)
    signature, hints = _constructor(cls)
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        given = {name: value for name, value in given.items() if name in signature.parameters}
        known = [name for name in signature.parameters if name not in given]
        if unknown := [name for name in arguments if name not in known]:
            raise UserError(f"{kind}: {cls.__name__} takes no {', '.join(unknown)}; it takes {', '.join(known)}")
    for name, value in (where_null or {}).items():
        if arguments.get(name, value) is None and not fits(None, hints.get(name, Any)):
            arguments[name] = value
    for name, value in arguments.items():
        if not fits(value, hints.get(name, Any)):
            raise UserError(f"{kind}.{name}={value}: {cls.__name__} wants {describe(hints[name])}")
    try:
        signature.bind(**arguments, **given)
    except TypeError as error:
        raise UserError(f"{kind}: {cls.__name__}: {error}") from error
    if not cls.__module__.startswith("mmsa_lightning."):
        return cls(**arguments, **given)  # an error in the user's own class keeps its traceback
    try:
        return cls(**arguments, **given)
    except (ValueError, RuntimeError) as error:  # RuntimeError: torch, of a negative size
        raise UserError(f"{kind}: {error}") from error
    except KeyError as error:
        raise UserError(f"{kind}: {cls.__name__} finds no {error} in one of its arguments") from error


def plugin_hash(node: dict[str, Any], plugins: Path | None) -> str | None:
    """SHA-256 of the user's file that ``node`` names, and of :func:`plugin_files` after it; None where it names the
    project's own."""
    found = plugin_files(node, plugins)
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest() if found else None


def plugin_files(node: dict[str, Any], plugins: Path | None) -> list[Path]:
    """The user's file that ``node`` names, and those beside it that it imports, they import, and so on, by name.

    Nothing is run for it. Empty where ``node`` names the project's own.
    """
    module_name = str(node.get("_target_")).rpartition(".")[0]
    if plugins is None or not (plugins / f"{module_name}.py").is_file():
        return []
    found, waiting = set[str](), {module_name}
    while waiting:
        found.add(name := waiting.pop())
        waiting |= _beside(plugins, name) - found
    return [plugins / f"{name}.py" for name in (module_name, *sorted(found - {module_name}))]


def _beside(folder: Path, name: str) -> set[str]:
    """Which files of ``folder`` its file ``name`` imports: as ``x``, or as ``folder.x``."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse((folder / f"{name}.py").read_bytes())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    names = {full.removeprefix(f"{folder.name}.").partition(".")[0] for full in imported}
    return {x for x in names if (folder / f"{x}.py").is_file()}


def _constructor(cls: type) -> tuple[inspect.Signature, dict[str, Any]]:
    """What a class takes, and of which types. What it hands on as ``**others`` is what its base class takes."""
    taken: dict[str, inspect.Parameter] = {}
    others: list[inspect.Parameter] = []
    hints: dict[str, Any] = {}
    for owner in (c for c in cls.__mro__ if "__init__" in vars(c)):
        if owner in (nn.Module, object):  # nn.Module's own signature is (*args, **kwargs), and takes nothing
            break
        own = inspect.signature(owner).parameters.values()
        named = [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in taken]
        taken |= {p.name: p.replace(kind=p.KEYWORD_ONLY) if taken else p for p in named}
        hints = _hints(vars(owner)["__init__"]) | hints
        others = [p for p in own if p.kind is p.VAR_KEYWORD]
        if not others:
            break
    return inspect.Signature([*taken.values(), *others]), hints


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError:  # a name that is imported for type checkers alone
        return {}


def _find_class(kind: str, target: str, plugins: Path | None) -> type:
    """Every target is looked up as a file before anything is imported, so that a name cannot run foreign code."""
    home, base_name = KINDS[kind]
    base_module, _, base_class = base_name.rpartition(".")
    base: type = getattr(importlib.import_module(base_module), base_class)
    module_name, _, class_name = target.rpartition(".")
    if target.startswith(home):
        parts = module_name.split(".")
        ours = all(parts) and PACKAGE.joinpath(*parts[1:]).with_suffix(".py").is_file()
        module = importlib.import_module(module_name) if ours else None
    else:
        module = _import_plugin(module_name, plugins)
    cls = getattr(module, class_name, None)
    if module is None or not inspect.isclass(cls) or cls.__module__ != module.__name__ or not issubclass(cls, base):
        raise UserError(
            f"{kind}._target_={target} is not a {base.__name__} in {home}*, nor in a Python file of "
            f"{plugins or 'the folder that --config-dir names'}"
        )
    if kind == "objective" and getattr(cls, "forward", None) is vars(base)["forward"]:
        raise UserError(f"{kind}._target_={target} has no forward of its own")
    return cls


def _import_plugin(name: str, plugins: Path | None) -> Any:
    if plugins is None or not name.isidentifier() or not (plugins / f"{name}.py").is_file():
        return None
    qualified = f"mmsa_plugin_{name}"  # its own name, so that it can never stand in for another package
    spec = importlib.util.spec_from_file_location(qualified, plugins / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    spec.loader.exec_module(module)
    return module
