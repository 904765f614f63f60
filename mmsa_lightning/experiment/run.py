"""One run: seed -> data -> model -> trainer -> fit -> best validation checkpoint -> test once -> result.json."""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.conf import HydraConf
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from mmsa_lightning import files, memory
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.releases import COUNTS
from mmsa_lightning.data.store import SPLITS
from mmsa_lightning.data.vocabularies import compare_vocabularies
from mmsa_lightning.errors import UserError, print_anything
from mmsa_lightning.experiment import attention, result, resume, sweep
from mmsa_lightning.experiment.assembly import build_data, build_module
from mmsa_lightning.experiment.config import check, plain, refuse_shadowed, row_hash, run_names
from mmsa_lightning.experiment.identity import differences, identity, text_encoder
from mmsa_lightning.experiment.inputs import unimodal_inputs
from mmsa_lightning.models.output import attends
from mmsa_lightning.training import ranks
from mmsa_lightning.training.checkpoints import LAST
from mmsa_lightning.training.interruption import requeued, stoppable
from mmsa_lightning.training.loggers import build_loggers, close_loggers
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.optim import rates_of_fine_tuning
from mmsa_lightning.training.trainer import (
    best_checkpoint,
    best_epoch,
    build_trainer,
    cut_short,
    fit,
    idle_tasks,
    processes,
    quieten,
    training_seconds,
)
from mmsa_lightning.training.trainer import check as check_trainer


def run(cfg: DictConfig, hydra: HydraConf) -> float:
    """Run one config in Hydra's output directory, or answer from the result that is there already.

    Args:
        cfg: the composed config.
        hydra: Hydra's own part of it.

    Returns:
        the best validation MAE, for a sweeper to minimise.

    Raises:
        UserError: something in the config, the data or the run directory is not as it must be.
    """
    quieten()
    config = plain(cfg)
    check(config)
    check_trainer(config["trainer"])
    if config["overwrite"] and config["ckpt_path"]:
        raise UserError(
            f"overwrite=true starts a run again, ckpt_path={config['ckpt_path']} continues it: give overwrite=false or "
            "ckpt_path=null"
        )
    alone = not sweep.here(hydra)
    if not alone and hydra.launcher.get("n_jobs", 1) > 1:  # several bars would write over each other
        config["trainer"]["enable_progress_bar"] = False
    arguments = (config, run_names(hydra.runtime.choices), Path(hydra.runtime.output_dir), _plugins(hydra), alone)
    if ranks.missing(count := processes(config["trainer"]), config["trainer"].get("num_nodes", 1)):
        _compare_vocabularies(config, build_data(config))  # so that what is wrong with them is said once
        return ranks.launch(_run, arguments, count)
    return _run(*arguments)


def _run(config: dict[str, Any], names: dict[str, str], run_dir: Path, plugins: Path | None, alone: bool) -> float:
    """What :func:`run` does, in each process of the run."""
    print_anything()
    quieten()
    memory.keep_freed()
    # What Lightning and W&B are silent by. Lightning took it from RANK, LOCAL_RANK or SLURM_PROCID, whoever set them.
    rank_zero_only.rank = ranks.rank()  # type: ignore[attr-defined]
    with files.held(run_dir) if ranks.rank() == 0 else contextlib.nullcontext():
        return _train(config, names, run_dir, plugins, alone)


def _train(config: dict[str, Any], names: dict[str, str], run_dir: Path, plugins: Path | None, alone: bool) -> float:
    L.seed_everything(config["seed"], workers=True, verbose=False)
    data = build_data(config)
    _check_name(names["data"], data)
    unknown = _compare_vocabularies(config, data)
    finished = result.read(run_dir)
    if finished and not config["overwrite"]:
        return _answer(finished, identity(config, data, plugins), run_dir, alone)
    module = build_module(config, data, plugins)
    own = identity(config, data, plugins)  # only now: the hub's weights may have come, or moved on, just before
    # A job that SLURM runs again goes on with what it began anew.
    anew = config["overwrite"] and (finished or not requeued())
    last = None if anew else resume.checkpoint(run_dir, config, own, data, alone)
    module.hparams.update(own)  # which Lightning keeps in each checkpoint
    trainer = build_trainer(
        config["trainer"],
        run_dir,
        patience=config["patience"],
        train=data.store.splits["train"],
        label_limit=data.store.meta.label_limit,
        model=module.model,
        objective=module.objective,
    )

    # From here on nothing of the config can be wrong, its logger apart: what an earlier run left may go.
    if trainer.is_global_zero:
        for hint in filter(None, (unknown, rates_of_fine_tuning(module.model, config["optim"]["lr"]))):
            print(hint)
    if alone and trainer.is_global_zero and config["trainer"].get("precision") == "auto":
        print(f"trainer.precision=auto: {own['precision']} on this machine")
    if trainer.is_global_zero:
        name = names | {"seed": config["seed"]}
        trainer.loggers = build_loggers(
            config["logger"], run_dir, name, config, row=row_hash(config), resumed=last is not None
        )
    status = "failed"
    try:
        if trainer.is_global_zero:
            files.remove_unfinished(run_dir)
        if last is None and trainer.is_global_zero:
            for left in (result.NAME, result.LABELS, result.HISTOGRAMS, attention.NAME, *result.MEASURED_LATER):
                (run_dir / left).unlink(missing_ok=True)
            shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
        if trainer.is_global_zero:
            run_dir.mkdir(parents=True, exist_ok=True)
            if last is not None:
                resume.take_over(last, run_dir)
            OmegaConf.save(OmegaConf.create(config), run_dir / "config.yaml")
        if last is None:
            module.objective.begin(functools.partial(unimodal_inputs, module.model, data))
        with stoppable(trainer):
            fit(trainer, module, data, last and run_dir / "checkpoints" / LAST)
            figures, rows = _evaluate(trainer, module, data, best_checkpoint(trainer))
        status = "success"
    finally:
        close_loggers(trainer.loggers, status)
    if not trainer.is_global_zero:
        return figures["valid"]["mae"]

    files.write_rows(run_dir / result.PREDICTIONS, rows)
    if labels := _generated_labels(module, data):
        files.write_rows(run_dir / result.LABELS, labels)
    if attends(module.model):
        attention.write(run_dir, attention.attention_maps(module.model, data, "test", _largest_errors(module, data)))
    outcome = {
        **names,
        "seed": config["seed"],
        **figures,
        "epochs": trainer.current_epoch,
        "best_epoch": best_epoch(trainer),
        "idle_tasks": idle_tasks(trainer),
        "seconds": round(training_seconds(trainer), 1),
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "trainable_parameters": sum(p.numel() for p in module.model.parameters() if p.requires_grad),
        "modalities": list(data.dims),
        "label_range": data.store.meta.label_range,
        "text": config["text"] if "text" in data.dims else None,
        "text_encoder": text_encoder(config, data),
        "missing": config["missing"] if any(map(data.missing.applies, SPLITS)) else None,
        "weighting": config["objective"].get("weighting"),
        **own,
        "device": str(trainer.strategy.root_device),  # the module itself is back on the CPU by now
        "threads": torch.get_num_threads(),
        "versions": result.versions(),
        "git_commit": result.git_commit(),
    }
    result.write(run_dir, outcome)
    longer = cut_short(trainer) and not resume.follows_length(config)
    if not config["keep_last"] and not longer:
        (run_dir / "checkpoints" / LAST).unlink(missing_ok=True)
    if alone:
        result.print_summary(outcome, run_dir)
    if longer:
        print(f"ended by trainer.max_epochs={trainer.max_epochs}: a larger one with ckpt_path=last continues this run")
    return outcome["valid"]["mae"]


def _evaluate(
    trainer: L.Trainer, module: SentimentModule, data: StoreDataModule, best: Path
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]]]:
    """Figures and prediction rows of valid and test from the best checkpoint; the only look at test."""
    figures, rows, loggers = {}, [], trainer.loggers
    for split, evaluate in (("valid", trainer.validate), ("test", trainer.test)):
        trainer.loggers = [] if split == "valid" else loggers  # a curve by epoch ends with the last one
        values = evaluate(module, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)[0]
        for logger in loggers if split == "valid" else ():
            logger.log_metrics({f"best/{name}": value for name, value in values.items()}, step=trainer.global_step)
        figures[split] = {name.removeprefix(f"{split}/"): value for name, value in values.items()}
        stored = data.store.splits[split]
        texts = stored.raw_text or [""] * len(stored)
        positions, predictions = zip(*sorted(module.predictions.items()), strict=True)
        columns = zip(positions, files.short(stored.label), files.short(predictions), strict=True)
        rows += [
            {"split": split, "id": stored.ids[i], "label": label, "prediction": prediction, "text": texts[i]}
            for i, label, prediction in columns
        ]
    return figures, rows


def _largest_errors(module: SentimentModule, data: StoreDataModule, shown: int = 3) -> list[int]:
    """Positions of the test utterances that were predicted worst, worst first."""
    label = data.store.splits["test"].label
    return sorted(module.predictions, key=lambda i: -abs(module.predictions[i] - label[i]))[:shown]


def _generated_labels(module: SentimentModule, data: StoreDataModule) -> list[dict[str, Any]]:
    """One row a training utterance: its label, each generated one, and each true one where it is known."""
    train = data.store.splits["train"]
    made = {f"generated_{task}": files.short(label) for task, label in module.objective.generated_labels().items()}
    true = {
        f"true_{modality}": [None if math.isnan(value) else value for value in files.short(label)]
        for modality, label in train.unimodal.items()
    }
    columns = {"id": train.ids, "label": files.short(train.label), **made, **true}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] if made else []


def _check_name(name: str, data: StoreDataModule) -> None:
    """By which tables call the data: a published data set's is that of its store alone."""
    if name in COUNTS and data.store.meta.dataset != name:
        raise UserError(
            f"data={name}, but {data.path} holds {data.store.meta.dataset}: data=own data.path={data.path} trains on it"
        )


def _compare_vocabularies(config: dict[str, Any], data: StoreDataModule) -> str | None:
    name = text_encoder(config, data)
    return name and compare_vocabularies(data.store.meta, data.path, name)


def _answer(finished: dict[str, Any], own: dict[str, str | None], run_dir: Path, alone: bool) -> float:
    """The result that is there already, if it is this very run's."""
    if other := differences(finished, own):
        raise UserError(f"{run_dir} holds a result for other {other}; move it away, or overwrite=true replaces it")
    if alone and ranks.rank() == 0:
        print("already finished; overwrite=true runs it again")
        result.print_summary(finished, run_dir)
    return finished["valid"]["mae"]


def _plugins(hydra: HydraConf) -> Path | None:
    """The folder that the user named with --config-dir, if it hides none of its files; its Python may be built from."""
    folders = [Path(s.path) for s in hydra.runtime.config_sources if s.provider == "command-line"]
    for folder in folders:
        refuse_shadowed(folder)
    return folders[0] if folders else None
