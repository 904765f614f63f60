"""From a config node with ``_target_`` to the object it names: the project's own classes and nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from mmsa_lightning.errors import UserError

HOME = {
    "model": "mmsa_lightning.models.",
    "objective": "mmsa_lightning.objectives.",
    "data": "mmsa_lightning.data.",
}


def build(kind: str, node: dict[str, Any], *, plugins: Path | None = None, **given: Any) -> Any:
    """Build what ``node`` describes.

    Args:
        kind: model, objective or data; each may only name classes below its own package.
        node: plain config, ``_target_`` and the arguments.
        plugins: a folder of the user's own; ``_target_: toy.Toy`` then names the class ``Toy`` in its ``toy.py``.
        given: arguments that are known at run time only.

    Raises:
        UserError: the target is not allowed or does not exist, or does not take these arguments.
    """
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    cls = _find_class(kind, str(node.get("_target_")), plugins)
    signature = inspect.signature(cls)
    parameters = signature.parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        if unknown := [name for name in arguments if name not in parameters]:
            known = [name for name in parameters if name not in given]
            raise UserError(f"{kind}: {cls.__name__} takes no {', '.join(unknown)}; it takes {', '.join(known)}")
        given = {name: value for name, value in given.items() if name in parameters}
    try:
        signature.bind(**arguments, **given)
    except TypeError as error:
        raise UserError(f"{kind}: {cls.__name__}: {error}") from error
    try:
        return cls(**arguments, **given)
    except ValueError as error:
        raise UserError(f"{kind}: {error}") from error


def _find_class(kind: str, target: str, plugins: Path | None) -> type:
    """Every target is looked up as a file before anything is imported, so that a name cannot run foreign code."""
    module_name, _, class_name = target.rpartition(".")
    if target.startswith(HOME[kind]):
        parts = module_name.split(".")
        ours = all(parts) and Path(__file__).parent.joinpath(*parts[1:]).with_suffix(".py").is_file()
        module = importlib.import_module(module_name) if ours else None
    else:
        module = _import_plugin(module_name, plugins)
    cls = getattr(module, class_name, None)
    if module is None or not inspect.isclass(cls) or cls.__module__ != module.__name__:
        place = f" or a file in {plugins}" if plugins else ", or give your own folder with --config-dir"
        raise UserError(f"{kind}._target_={target} is not a class in {HOME[kind]}*{place}")
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
