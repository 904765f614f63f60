"""Loggers beside the run's own ``metrics.csv``."""

from __future__ import annotations

import inspect
import os
import shlex
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from mmsa_lightning.annotations import fits
from mmsa_lightning.errors import UserError

# Seconds that W&B tries to reach its server, before and after a run; its own variables of these names override them.
TIMEOUTS = {"init_timeout": 15.0, "finish_timeout": 60.0}
MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")  # the last two are older names of the first two
VARIABLES = {"group": "WANDB_RUN_GROUP", "job_type": "WANDB_JOB_TYPE", "name": "WANDB_NAME", "tags": "WANDB_TAGS"}


def build_loggers(
    options: dict[str, Any],
    run_dir: Path,
    names: dict[str, str],
    config: dict[str, Any],
    *,
    row: str,
    resumed: bool = False,
) -> list[Logger]:
    """The loggers that ``logger=`` names.

    Args:
        options: ``name`` (csv, wandb or tensorboard) and what it takes.
        run_dir: where local files go.
        names: data, model, ablation and seed of this run.
        config: the plain config, shown beside the run.
        row: ends the name of the group in W&B, which all seeds of a row share.
        resumed: the run goes on, in W&B too.

    Raises:
        UserError: an unknown name or argument, no login to W&B, or a logger whose package is missing.
    """
    options = dict(options)
    name = options.pop("name", None)
    if name not in ("csv", "wandb", "tensorboard"):
        raise UserError(f"logger.name={name}: choose csv, wandb or tensorboard")
    known: set[str] = set()
    if name == "wandb":
        import wandb  # not at the top, nor below: its import takes a third of a second, which no other logger needs

        known = {"offline", *inspect.signature(wandb.init).parameters} - {"dir"}  # a run's files are its own
    if unknown := set(options) - known:
        raise UserError(f"logger.{sorted(unknown)[0]} is not known to {name}")
    if name == "csv":
        return []  # metrics.csv is written anyway
    if name == "wandb":
        place = [names[key] for key in ("data", "model", "ablation")]
        ours = {
            "group": "-".join([*place, row]),
            "job_type": "train",
            "name": f"{names['model']}-{names['ablation']}-seed{names['seed']}",
            "tags": place,
        }
        arguments: dict[str, Any] = {
            "save_dir": run_dir,
            **{option: value for option, value in ours.items() if not os.environ.get(VARIABLES[option])},
            "config": config,
        }
        try:
            mode = _mode(options)
            if mode == "disabled":
                print("W&B is disabled (WANDB_MODE, `wandb disabled`): nothing is logged there")
                return []
            if resumed and (earlier := _wandb_id(run_dir)):
                # Offline, the resumed run logs the earlier epochs again, and replaces what the server may have of them.
                arguments |= {"id": earlier, "resume": None if mode == "offline" else "allow"}
            waits = {name: t for name, t in TIMEOUTS.items() if f"WANDB_{name.upper()}" not in os.environ}
            settings = {"quiet": True, "finish_timeout_raises": True, **waits}
            logger = WandbLogger(**arguments | {"mode": mode, "settings": settings} | options)
            _ = logger.experiment  # starts the run, which is when W&B looks at its arguments
        except wandb.errors.Error as error:  # no login, no connection
            todo = "logger.offline=true logs here, to be sent later; WANDB_INIT_TIMEOUT=90 waits longer"
            raise UserError(f"logger=wandb: {error}; {todo}") from error
        except (TypeError, ValueError) as error:
            raise UserError(f"logger=wandb: {error}") from error
        return [logger]
    try:
        return [TensorBoardLogger(run_dir, name="", version="tensorboard")]
    except ModuleNotFoundError as error:
        raise UserError("logger=tensorboard needs: pip install 'mmsa-lightning[tensorboard]'") from error


def _mode(options: dict[str, Any]) -> str:
    """W&B's mode: online, offline, disabled or shared.

    ``logger.mode`` or ``logger.offline`` decides; both are taken out of ``options``. Otherwise W&B's own settings
    decide: WANDB_MODE, then what ``wandb offline`` or ``wandb disabled`` saved. Otherwise a run without a login is
    offline, since W&B would stop and ask for one.
    """
    mode, offline = options.pop("mode", None), options.pop("offline", None)
    if not fits(offline, bool | None):
        raise UserError(f"logger.offline={offline}: give true, false or null")
    if mode is not None and offline is not None:
        raise UserError(f"logger.mode={mode} and logger.offline={offline}: give one of them")
    for name, value in (("logger.mode", mode), ("WANDB_MODE", os.environ.get("WANDB_MODE"))):
        if value and value not in MODES:
            raise UserError(f"{name}={value}: W&B knows {', '.join(MODES[:4])}")
    if mode is not None:
        return mode
    if offline is not None:
        return "offline" if offline else "online"
    import wandb

    mode = wandb.setup().settings.mode
    if mode == "online" and not os.environ.get("WANDB_MODE") and not wandb.login(prompt=False, verify=False):
        return "offline"
    return "offline" if mode == "dryrun" else mode  # its old name


def _wandb_id(run_dir: Path) -> str | None:
    """The id of the run in W&B so far, from the latest ``[offline-]run-<time>-<id>…/run-<id>.wandb``."""
    files = (run_dir / "wandb").glob("*run-*/run-*.wandb")
    by_time = sorted(files, key=lambda path: path.parent.name.rpartition("run-")[2])
    return by_time[-1].stem.removeprefix("run-") if by_time else None


def close_loggers(loggers: list[Logger], status: str) -> None:
    """Finish each with ``success`` or ``failed``, so that the next job of a sweep gets a W&B run of its own.

    If a run has not reached the server, because it was offline or had no connection, print the command that sends it.
    """
    for logger in loggers:
        logger.finalize(status)
        if isinstance(logger, WandbLogger):
            import wandb

            run, options = logger.experiment, []
            try:
                wandb.finish(exit_code=int(status != "success"))
                if not run.offline:
                    continue
            except TimeoutError:
                options = ["--include-online"]
            print(
                "not on W&B's server yet; to send it:",
                shlex.join(["wandb", "sync", *options, str(Path(run.dir).parent)]),
            )
