"""Where the configs lie, and what of them makes a run what it is."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

PACKAGE = Path(__file__).parent

# What changes neither the weights nor the figures of a run, so that it may differ when a run is resumed or looked up.
INCIDENTAL = (
    "ckpt_path",
    "overwrite",
    "keep_last",
    "runs",
    "logger",
    "data.num_workers",
    "trainer.enable_progress_bar",
)


def config_dir() -> Path:
    """``conf/`` of the checkout, or of the wheel where there is no checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain containers, without Hydra's own part."""
    node = copy.copy(cfg)
    OmegaConf.set_readonly(node, False)
    OmegaConf.set_struct(node, False)
    node.pop("hydra", None)
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def config_hash(config: dict[str, Any]) -> str:
    """SHA-256 of a plain config without its :data:`INCIDENTAL` parts; of the store's path only the name counts."""
    config = copy.deepcopy(config)
    config["data"]["path"] = Path(config["data"]["path"]).name
    for path in INCIDENTAL:
        *parents, name = path.split(".")
        node = config
        for parent in parents:
            node = node.get(parent, {})
        node.pop(name, None)
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def run_directory(*, _root_: DictConfig) -> str:
    """The run's own folder, a pure function of its config: the resolver behind ``hydra.run.dir``.

    ``runs/<data>/<model>/<ablation>/seed<seed>-<config hash>``. The same command comes back to the same folder, which
    is how it is resumed, and two different configs never share one.
    """
    choices = _root_.hydra.runtime.choices
    config = plain(_root_)
    names = [Path(str(choices.get(group) or "full")).name for group in ("data", "model", "ablation")]
    return str(Path(config["runs"], *names, f"seed{config['seed']}-{config_hash(config)[:8]}"))


def register_resolvers() -> None:
    """Make ``${run_directory:}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("run_directory", run_directory, replace=True)
