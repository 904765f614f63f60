"""What ``ckpt_path=last`` continues: this very run, or one that differs only in ending sooner."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from mmsa_lightning import files
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.config import LENGTH, check, config_hash, read
from mmsa_lightning.experiment.identity import differences
from mmsa_lightning.training import ranks
from mmsa_lightning.training.checkpoints import BEST, LAST
from mmsa_lightning.training.interruption import requeued
from mmsa_lightning.training.schedules import SPREAD


def checkpoint(
    run_dir: Path, config: dict[str, Any], identity: dict[str, Any], data: StoreDataModule, alone: bool = True
) -> Path | None:
    """The checkpoint to go on from; None to start from the beginning.

    Args:
        run_dir: of this run, unfinished.
        config: its plain config.
        identity: what a run is known by; see :mod:`identity`.
        data: its data.
        alone: whether to say, too, that there is nothing to go on from; most jobs of a sweep have nothing.

    Raises:
        UserError: the run was begun and ``ckpt_path`` does not say to go on; a checkpoint is damaged or of other data.
    """
    if config["ckpt_path"] not in (None, "last"):
        raise UserError(f"ckpt_path={config['ckpt_path']}: give last, which continues this run, or null")
    path = run_dir / "checkpoints" / LAST
    if config["ckpt_path"] is None and not requeued():
        if path.exists():
            raise UserError(f"{run_dir} was not finished: ckpt_path=last continues it, overwrite=true starts again")
        return None
    if path.exists():
        # Lightning asks this, too, but only after weights of another shape have failed.
        last = _read(path, data, "overwrite=true starts again")
        data.load_state_dict(last["data"])
        begun = _config(run_dir / "config.yaml")
        if begun and (not _ends_sooner(begun, config) or _stretched(begun, config)):
            raise UserError(
                f"{run_dir} was begun with other settings (see its config.yaml); overwrite=true starts again, or give "
                "another folder"
            )
        parts = ("plugin_hash", "encoder_hash", *(() if begun else ("config_hash",)))
        if other := differences(last["identity"], {part: identity[part] for part in parts}):
            raise UserError(f"{path} is of a run with other {other}; overwrite=true starts again")
        now = identity["precision"]
        if (began := last["identity"].get("precision", now)) != now:
            raise UserError(
                f"{path} is of a run in {began}, and on this machine trainer.precision=auto is {now}: continue it on "
                "one like the first, or overwrite=true starts again"
            )
        return path
    found, words = _shorter(run_dir, config, identity, data) if config["ckpt_path"] else (None, "")
    if ranks.rank() == 0 and (words or alone):
        print(words or f"nothing to resume in {run_dir}: starting from the beginning")
    return found


def take_over(last: Path, run_dir: Path) -> None:
    """If the checkpoint ``last`` is another run's, copy it with that run's best checkpoint and records.

    Raises:
        UserError: that run is at work.
    """
    run = last.parents[1]
    if run == run_dir:
        return
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    with files.held(run):
        for path in (last.with_name(BEST), run / "metrics.csv", run / "label_histograms.csv", last):
            if path.exists():
                with files.aside(run_dir / path.relative_to(run)) as temporary:
                    shutil.copyfile(path, temporary)


def follows_length(config: dict[str, Any]) -> str | None:
    """The schedule whose rates depend on how long a run is, so that a longer one differs from its start; else None."""
    schedule = (config["optim"]["schedule"] or {}).get("name")
    return schedule if schedule in SPREAD else None


def _shorter(
    run_dir: Path, config: dict[str, Any], identity: dict[str, Any], data: StoreDataModule
) -> tuple[Path | None, str]:
    """The last checkpoint of the longest run that ends sooner than this one, if it can be continued to this one's end.

    Returns:
        the checkpoint, if there is one, and what to say, if there is such a run.
    """
    configs = {path.parent: _config(path) for path in run_dir.parent.glob(f"seed{config['seed']}-*/config.yaml")}
    runs = {run: other for run, other in configs.items() if run != run_dir and other and _ends_sooner(other, config)}
    anew = f"starting from the beginning in {run_dir}"
    paths = {run: run / "checkpoints" / LAST for run in runs if (run / "checkpoints" / LAST).exists()}
    found = {run: _read(path, data, f"move {run} away") for run, path in paths.items()}
    kept = {run: last for run, last in found.items() if last["best"] or paths[run].with_name(BEST).exists()}
    if not kept:
        finished = [run for run in runs if (run / result.NAME).exists()]
        how = "a run that patience ended keeps it only with keep_last=true"
        return None, f"{finished[0]} is shorter, but kept no {LAST} ({how}): {anew}" if finished else ""
    run = max(kept, key=lambda run: kept[run]["step"])
    last = kept[run]
    if schedule := _stretched(runs[run], config):
        return None, f"{run} is shorter, but optim.schedule={schedule} depends on trainer.max_epochs: {anew}"
    known = (result.read(run) or {}) | last["identity"] | last["data"]
    if other := differences(known, {part: value for part, value in identity.items() if part != "config_hash"}):
        return None, f"{run} is shorter, but of other {other}: {anew}"
    over = f"; patience={config['patience']} was over by then" if last["waited"] >= config["patience"] else ""
    return run / "checkpoints" / LAST, f"continues from {run} ({last['epochs']} epochs){over}"


def _ends_sooner(other: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether two configs differ in :data:`LENGTH` alone, and ``other``'s is nowhere the longer."""
    ends = [(run["trainer"].get("max_epochs", 0), run["patience"]) for run in (other, config)]
    return config_hash(other, LENGTH) == config_hash(config, LENGTH) and all(a <= b for a, b in zip(*ends, strict=True))


def _stretched(other: dict[str, Any], config: dict[str, Any]) -> str | None:
    """The schedule of a run that is longer than ``other``, if it makes the two differ from their start; else None."""
    longer = other["trainer"].get("max_epochs") != config["trainer"].get("max_epochs")
    return follows_length(config) if longer else None


def _config(path: Path) -> dict[str, Any] | None:
    """A run's ``config.yaml``; None where it is none."""
    try:
        config = read(path)
        check(config)
    except Exception:  # somebody may have written anything in it
        return None
    return config


def _read(path: Path, data: StoreDataModule, otherwise: str) -> dict[str, Any]:
    """What has to be known of a checkpoint before it is loaded."""
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        return {
            "data": state[type(data).__qualname__],
            "identity": state.get("hyper_parameters", {}),
            "step": state["global_step"],
            "epochs": state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"],
            "best": "best" in state and state["best"]["global_step"] <= state["global_step"],
            "waited": next(saved["wait_count"] for name, saved in state["callbacks"].items() if "Patience" in name),
        }
    except Exception as error:  # torch raises nearly anything on a damaged file
        raise UserError(f"{path} is not a checkpoint of a run ({error!r}); {otherwise}") from error
