"""What the rows of a table are called: a row is of runs whose settings agree but for the seed.

A name says model, ablation, form of text and the like, as ``result.json`` has them. Where runs of one such name differ
in other settings, it goes on with these: ``self_mm, objective.generator=crossfit``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import config

PAPERS = "interactive_attention"  # whose ablations are known by their own names, as in Tables 5 and 6
UNUSUAL = ("reference", "learnt")  # of missing.draw and missing.absent


def row_name(record: dict[str, Any]) -> str:
    """The name from a ``result.json``: model or ablation, form of text, and what was missing."""
    rate = missing_rate(record)
    return " ".join(filter(None, [trained_name(record), rate and f"({rate})"]))


def missing_rate(record: dict[str, Any]) -> str:
    """What valid and test have missing: ``frames 0.5 missing``; empty where it is nothing."""
    missing = record.get("missing") or {}
    return f"{missing['mode']} {missing['rate']:g} missing" if missing.get("rate") else ""


def missing_train(record: dict[str, Any]) -> str:
    """What train has missing, and how: ``frames, uniform_half``; empty where it is nothing."""
    missing = record.get("missing") or {"train": "none"}
    if missing["train"] == "none":
        return ""
    told = [missing[key] for key in ("draw", "absent") if missing[key] in UNUSUAL]
    return ", ".join([missing["mode"], missing["train"], *told])


def trained_name(record: dict[str, Any]) -> str:
    """The same without the rate that valid and test have missing: which kind of training it was."""
    model, ablation = record["model"], record["ablation"]
    name = model if ablation == "full" else ablation if model == PAPERS else f"{model}, {ablation}"
    name = f"{name}, {record['weighting']}" if record.get("weighting") else name
    name = name if record["text"] != "features" else f"{name} (features)"
    missing = missing_train(record)
    return f"{name} [{missing}]" if missing else name


def settings(run_dir: Path, record: dict[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """What decides to which row a run belongs, by dotted name: see :func:`told_apart`.

    Args:
        run_dir: of a finished run.
        record: its ``result.json``.
        without: further settings that may differ in a row.

    Raises:
        UserError: it has no config that can be read.
    """
    path = run_dir / "config.yaml"
    try:
        found = flat(config.identifying(config.read(path), ["seed", *without]))
    except Exception as error:
        raise UserError(
            f"{path} cannot be read, so the row of this run is not known: leave the run out, or run it again ({error})"
        ) from error
    untold = {"code": (record.get("plugin_hash") or "")[:8]}
    if found.get("trainer.devices") == "auto":
        untold["processes"] = record.get("processes")
    return found | {name: value for name, value in untold.items() if value}


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a nested config by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in node.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return leaves


def told_apart(names: Sequence[str], found: Sequence[dict[str, Any]]) -> list[str]:
    """The names of runs, with the settings in which runs of one name differ: the same if and only if all agree.

    A setting that is null is left out, and a number is cut to three digits, unless two rows would then have one name.

    Args:
        names: of each run.
        found: of each run :func:`settings`.
    """
    full = list(names)
    for name in dict.fromkeys(names):
        places = [i for i, other in enumerate(names) if other == name]
        for i, told in zip(places, _told_apart(name, [found[i] for i in places]), strict=True):
            full[i] = told
    return full


def _told_apart(name: str, found: Sequence[dict[str, Any]]) -> list[str]:
    """Of runs of one name."""
    keys = dict.fromkeys(key for own in found for key in own)
    differing = [key for key in keys if len({json.dumps(own[key]) if key in own else None for own in found}) > 1]
    rows = {json.dumps(own, sort_keys=True) for own in found}
    full: list[str] = []
    for null, write in ((False, _short), (True, _short), (True, json.dumps)):
        full = [with_settings(name, own, differing, null, write) for own in found]
        if len(set(full)) == len(rows):
            break
    return full


def _short(value: Any) -> str:
    """As a reader would give it on the command line, but a float to three digits."""
    if isinstance(value, list):
        return f"[{','.join(map(_short, value))}]"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./-]+", value) else f"'{value}'"
    return json.dumps(value)


def with_settings(
    name: str, own: dict[str, Any], keys: Sequence[str], null: bool = False, write: Callable[[Any], str] = _short
) -> str:
    """A name, and settings as a reader would give them; those that are null only where ``null`` is."""
    shown = [key for key in keys if key in own and (null or own[key] is not None)]
    return ", ".join([name, *(f"{key}={write(own[key])}" for key in shown)])
