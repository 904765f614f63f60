"""Loggers beside the run's own ``metrics.csv``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from mmsa_lightning.annotations import fits
from mmsa_lightning.config import config_hash
from mmsa_lightning.errors import UserError


def build_loggers(
    options: dict[str, Any], run_dir: Path, names: dict[str, str], config: dict[str, Any], *, resumed: bool = False
) -> list[Logger]:
    """The loggers that ``logger=`` names.

    Args:
        options: ``name`` (csv, wandb or tensorboard) and what it takes.
        run_dir: where local files go.
        names: data, model, ablation and seed of this run.
        config: the plain config, shown beside the run.
        resumed: the run goes on, in W&B too.

    Raises:
        UserError: an unknown name or argument, no login to W&B, or a logger whose package is missing.
    """
    options = dict(options)
    name = options.pop("name", None)
    known: dict[str | None, set[str]] = {
        "csv": set(),
        "tensorboard": set(),
        "wandb": {"offline", *inspect.signature(wandb.init).parameters},
    }
    if name not in known:
        raise UserError(f"logger.name={name}: choose csv, wandb or tensorboard")
    if unknown := set(options) - known[name]:
        raise UserError(f"logger.{sorted(unknown)[0]} is not known to {name}")
    if name == "csv":
        return []  # metrics.csv is written anyway
    if name == "wandb":
        # Without a login W&B would stop and ask: write locally then, for `wandb sync`.
        offline = options.pop("offline", None)
        if not fits(offline, bool | None):
            raise UserError(f"logger.offline={offline}: give true, false or null")
        if offline is None:
            offline = not wandb.login(prompt=False, verify=False)
        place = [names[key] for key in ("data", "model", "ablation")]
        arguments = {
            "save_dir": run_dir,
            "mode": "offline" if offline else "online",
            "settings": wandb.Settings(quiet=True),
            "group": "-".join([*place, _row_hash(config)]),
            "job_type": "train",
            "name": f"{names['model']}-{names['ablation']}-seed{names['seed']}",
            "tags": place,
            "config": config,
        }
        if resumed and (earlier := _wandb_id(run_dir)):
            arguments |= {"id": earlier, "resume": "allow"}
        try:
            logger = WandbLogger(**arguments | options)
            _ = logger.experiment  # starts the run, which is when W&B looks at its arguments
        except (wandb.errors.Error, TypeError, ValueError) as error:
            raise UserError(f"logger=wandb: {error}") from error
        return [logger]
    try:
        return [TensorBoardLogger(run_dir, name="", version="tensorboard")]
    except ModuleNotFoundError as error:
        raise UserError("logger=tensorboard needs: pip install 'mmsa-lightning[tensorboard]'") from error


def _wandb_id(run_dir: Path) -> str | None:
    """Under which W&B knows the run so far: the latest ``[offline-]run-<time>-<id>…/run-<id>.wandb``."""
    files = (run_dir / "wandb").glob("*run-*/run-*.wandb")
    by_time = sorted(files, key=lambda path: path.parent.name.rpartition("run-")[2])
    return by_time[-1].stem.removeprefix("run-") if by_time else None


def _row_hash(config: dict[str, Any]) -> str:
    """The same for all seeds of a row, and for nothing else: text encoders, say, do not fold into one group."""
    return config_hash({name: value for name, value in config.items() if name != "seed"})[:8]


def close_loggers(loggers: list[Logger], status: str) -> None:
    """Finish each with ``success`` or ``failed``, so that the next job of a sweep gets a W&B run of its own."""
    for logger in loggers:
        logger.finalize(status)
        if isinstance(logger, WandbLogger):
            wandb.finish(exit_code=int(status != "success"))
