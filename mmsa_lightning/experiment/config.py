"""Where the configs lie, and what of them makes a run what it is."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from mmsa_lightning.annotations import describe, fits
from mmsa_lightning.data.missing import Missing
from mmsa_lightning.errors import UserError
from mmsa_lightning.training import devices

PACKAGE = Path(__file__).parents[1]

# What changes neither the weights nor the figures of a run, so that it may differ when a run is resumed or looked up.
INCIDENTAL = (
    "ckpt_path",
    "overwrite",
    "keep_last",
    "runs",
    "logger",
    "data.num_workers",
    "encoder.gradient_checkpointing",
    "trainer.enable_progress_bar",
)

# What decides when a run ends, and nothing that comes before.
LENGTH = ("trainer.max_epochs", "patience")

# What came later, and the value with which a run is what it was before. That value is left out of the hash, so that
# earlier runs keep theirs, and added to the config.yaml of these.
ADDED: dict[str, Any] = {
    "encoder.freeze": "none",
    "encoder.lora": None,
    "encoder.gradient_checkpointing": False,
    "optim.layer_decay": None,
    "objective.generator": "ulgm",
    "objective.weighting": None,
    "objective.temperature": 2.0,
    "objective.auxiliary": None,
    **{f"missing.{f.name}": f.default for f in fields(Missing) if f.name != "present"},
}

# What every config must hold.
FIELDS: dict[str, Any] = {
    "seed": int,
    "modalities": list[str] | None,
    "text": str,
    "text_encoder": str,
    "encoder": dict[str, Any],
    "missing": dict[str, Any],
    "ckpt_path": str | None,
    "overwrite": bool,
    "keep_last": bool,
    "runs": str,
    "patience": int,
    "objective": dict[str, Any],
    "optim": dict[str, Any],
    "data": dict[str, Any],
    "model": dict[str, Any],
    "trainer": dict[str, Any],
    "logger": dict[str, Any],
}


def config_dir() -> Path:
    """``conf/`` of the checkout, or of the wheel where there is no checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def refuse_shadowed(folder: Path) -> None:
    """Refuse files of a user's own folder that have the name of one of ours: Hydra would read ours, without a word.

    Raises:
        UserError: there is one.
    """
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]):
        ours = config_dir() / path.relative_to(folder)
        if ours.is_file() and not ours.samefile(path):
            raise UserError(
                f"{path}: conf/ of mmsa-lightning has {path.relative_to(folder)}, too, which would be read instead; "
                "give it another name"
            )


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain containers, without Hydra's own part; ``???`` where a value is missing."""
    config: dict[str, Any] = {}
    for name in cfg:
        if name != "hydra":
            value = "???" if OmegaConf.is_missing(cfg, name) else cfg[name]
            config[str(name)] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return config


def read(path: Path) -> dict[str, Any]:
    """The plain config in a run's ``config.yaml``, with what is :data:`ADDED` since it was written.

    Raises:
        Exception: whatever OmegaConf and its parser raise, where there is none.
    """
    config: Any = OmegaConf.to_container(OmegaConf.load(path))
    for place, neutral in ADDED.items():
        group, name = place.split(".")
        if group != "objective":  # not each has it, and what has it has this default
            config.setdefault(group, {}).setdefault(name, neutral)
    return config


def of_run(run_dir: Path) -> dict[str, Any]:
    """The plain config of a finished run, whose model is to be made again.

    Raises:
        UserError: ``config.yaml`` is not as the run left it.
    """
    path = run_dir / "config.yaml"
    try:
        config = read(path)
        for group in ("data", "model", "objective", "optim"):
            config[group].get("name")
    except Exception as error:
        raise UserError(f"{path} is not as its run left it ({error!r}): copy the run again") from error
    return config


def check(config: dict[str, Any]) -> None:
    """Check a plain config as far as every run has it in common.

    Raises:
        UserError: one of :data:`FIELDS` is missing, of another type or out of range; there is anything else.
    """
    for name, hint in FIELDS.items():
        if name not in config or not fits(config[name], hint):
            raise UserError(f"{name}={config.get(name, '')}: give {describe(hint)}")
    if unknown := [name for name in config if name not in FIELDS]:
        raise UserError(f"{unknown[0]}={config[unknown[0]]}: there is no such setting; conf/train.yaml lists them")
    for group in ("data", "model", "objective", "trainer", "logger"):
        if missing := [name for name, value in config[group].items() if value == "???"]:
            raise UserError(f"{group}.{missing[0]} is missing: give it as {group}.{missing[0]}=…")
    _check_names(config["model"])
    if not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed={config['seed']}: give a whole number from 0 to {2**32 - 1}")
    if config["patience"] < 1:
        raise UserError(f"patience={config['patience']}: give a whole number from 1")


def _check_names(model: dict[str, Any]) -> None:
    """Check that settings of each modality, and the like, have the names that our model's own file gives them.

    Any other would change nothing: ``optim`` calls ``video`` what ``model`` calls ``vision``.
    """
    home, _, name = str(model.get("_target_")).rpartition(".")[0].rpartition(".")
    path = config_dir() / "model" / f"{name}.yaml"
    if home != "mmsa_lightning.models" or not path.is_file():
        return
    shipped: Any = OmegaConf.to_container(OmegaConf.load(path).model)
    for setting, known in shipped.items():
        given = model.get(setting) if isinstance(known, dict) else None
        if unknown := [key for key in given or () if key not in known]:
            raise UserError(f"model.{setting}.{unknown[0]}: there is no such name; it has {', '.join(known)}")


def identifying(config: dict[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """What of a plain config makes a run what it is: all but its :data:`INCIDENTAL` parts, and others.

    What is :data:`ADDED` counts only where it is not neutral. Of the store's path only the name counts, of the devices
    their number: which they are changes no figure.
    """
    config = copy.deepcopy(config)
    for path in (*INCIDENTAL, *without):
        *parents, name = path.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(name, None)
    for place, neutral in ADDED.items():
        group, name = place.split(".")
        if isinstance(config.get(group), dict) and config[group].get(name, neutral) == neutral:
            config[group].pop(name, None)
    for group in ("encoder", "missing"):
        if not config.get(group):
            config.pop(group, None)
    data, trainer = config.get("data"), config.get("trainer")
    if isinstance(data, dict) and "path" in data:
        data["path"] = Path(str(data["path"])).name
    if isinstance(data, dict) and "eval_batch_size" in data:
        data["eval_batch_size"] = 128  # which is in the hashes of all runs, and changes no figure
    if isinstance(trainer, dict) and "devices" in trainer:
        with contextlib.suppress(UserError):  # not checked yet
            chosen = devices.read(trainer["devices"])
            trainer["devices"] = len(chosen) if isinstance(chosen, list) else chosen or "auto"
    return config


def config_hash(config: dict[str, Any], without: Iterable[str] = ()) -> str:
    """SHA-256 of what is :func:`identifying`."""
    return hashlib.sha256(json.dumps(identifying(config, without), sort_keys=True).encode()).hexdigest()


def row_hash(config: dict[str, Any]) -> str:
    """The same for all seeds of a row, and for nothing else: text encoders, say, do not fold into one group."""
    return config_hash(config, ["seed"])[:8]


def run_names(choices: Mapping[str, str | None]) -> dict[str, str]:
    """Which data, model and ablation a run is, from Hydra's ``runtime.choices``; without an ablation it is ``full``."""
    return {group: Path(choices.get(group) or "full").name for group in ("data", "model", "ablation")}


def run_directory(*, _root_: DictConfig) -> str:
    """The run's own folder below ``runs``, a pure function of its config: the resolver behind ``hydra.run.dir``.

    ``<data>/<model>/<ablation>/seed<seed>-<config hash>``. The same command comes back to the same folder, which is how
    it is resumed; configs that differ in more than :data:`INCIDENTAL` parts have different ones.
    """
    config = plain(_root_)
    runs = config.get("runs")
    if isinstance(runs, int | float):  # 2024_01 is 202401 to Hydra
        raise UserError(
            f"runs={runs}: Hydra reads a number or a truth value; quote the folder's name: 'runs=\"2024_01\"'"
        )
    if not runs or ".." in Path(str(runs)).parts:
        raise UserError(f"runs={runs}: give the folder for runs, without ..")
    names = run_names(_root_.hydra.runtime.choices)
    _check_tuned(_root_.hydra.runtime.choices.get("tuned"), f"{names['model']}_{names['data']}")
    seed = re.sub(r"[^\w-]", "_", str(config.get("seed")))  # not checked yet, and no path of its own
    return str(Path(*names.values(), f"seed{seed}-{config_hash(config)[:8]}"))


def _check_tuned(chosen: str | None, default: str) -> None:
    """Refuse settings by name that are not there: Hydra passes over them, for not all models have the default ones."""
    hydra = GlobalHydra.instance()
    if chosen in (None, default) or not hydra.is_initialized():
        return
    known = hydra.config_loader().get_group_options("tuned")
    if Path(str(chosen)).name not in known:
        raise UserError(f"tuned={chosen}: there is no such file; conf/tuned has {', '.join(known)}")


# On import, and not in a function: a launcher's worker process asks for them before it calls anything of ours.
OmegaConf.register_new_resolver("run_directory", run_directory, replace=True)
OmegaConf.register_new_resolver("absolute", lambda path: str(Path(path).absolute()), replace=True)
