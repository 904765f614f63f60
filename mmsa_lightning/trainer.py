"""Lightning's Trainer as every run uses it, and what is asked of it afterwards."""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import transformers
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar, Timer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from mmsa_lightning import ranks
from mmsa_lightning.annotations import fits
from mmsa_lightning.callbacks import AtomicCheckpointIO, Best, Finite, GeneratedLabels, History, Patience
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.store import Split
from mmsa_lightning.errors import UserError
from mmsa_lightning.interruption import Interrupted, Interruption
from mmsa_lightning.module import SentimentModule

LAST = "last.ckpt"  # what a run goes on from
MONITOR = "valid/mae"  # what early stopping and the choice of a checkpoint look at: never test

# Lightning's Trainer arguments that a run sets itself, or that would leave it without a checkpoint, with figures of a
# part of a split, or with an epoch that ends without a validation.
OWN_ARGUMENTS = {
    "barebones",
    "callbacks",
    "check_val_every_n_epoch",
    "default_root_dir",
    "enable_checkpointing",
    "fast_dev_run",
    "limit_test_batches",
    "limit_train_batches",
    "limit_val_batches",
    "logger",
    "max_steps",
    "max_time",
    "min_epochs",
    "min_steps",
    "num_sanity_val_steps",
    "overfit_batches",
    "plugins",
    "strategy",
    "use_distributed_sampler",
}
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "64-true")  # labels and losses stay in 32 bits, or in 64


def build_trainer(
    options: dict[str, Any], run_dir: Path, *, patience: int, train: Split, label_limit: float
) -> L.Trainer:
    """The trainer of one run, still without a logger.

    Args:
        options: arguments of Lightning's Trainer, those of :data:`OWN_ARGUMENTS` apart.
        run_dir: where checkpoints and ``metrics.csv`` go.
        patience: epochs without a better :data:`MONITOR` before training stops.
        train: the split that is trained on: its ids, and true per-modality labels where they are known.
        label_limit: the largest absolute value that a label can have.

    Raises:
        UserError: an option is not Lightning's, or not to be set, or has no such value on this machine.
    """
    if unknown := set(options) - (set(inspect.signature(L.Trainer).parameters) - OWN_ARGUMENTS):
        raise UserError(
            f"trainer.{sorted(unknown)[0]} cannot be set; what can are the other arguments of Lightning's Trainer"
        )
    for name in ("max_epochs", "accumulate_grad_batches", "log_every_n_steps"):
        _count(options, name)
    several = processes(options) > 1
    clip = options.get("gradient_clip_val")
    if not fits(clip, float | None) or (clip or 0) < 0:
        raise UserError(f"trainer.gradient_clip_val={clip}: give a number from 0")
    if options.get("precision") not in PRECISIONS:
        raise UserError(f"trainer.precision={options.get('precision')}: choose one of {', '.join(PRECISIONS)}")
    saving: dict[str, Any] = {
        "dirpath": run_dir / "checkpoints",
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    try:
        trainer = L.Trainer(
            default_root_dir=run_dir,
            logger=False,
            callbacks=[
                Timer(),
                Finite(train.ids),
                GeneratedLabels(train.unimodal, label_limit, run_dir / "label_histograms.csv"),
                History(run_dir / "metrics.csv"),
                Interruption(run_dir / "checkpoints" / LAST),
                Patience(MONITOR, patience=patience),
                # The best before the last, so that the last knows of the best.
                Best(filename="best", monitor=MONITOR, save_weights_only=True, **saving),
                ModelCheckpoint(filename=Path(LAST).stem, **saving),
                *([RichProgressBar()] if options.get("enable_progress_bar", True) else []),
            ],
            plugins=[AtomicCheckpointIO(), ranks.environment()],
            # The generated labels and their centres are the same on every rank: they need not be sent around.
            strategy=DDPStrategy(forward_sync_buffers=False) if several else "auto",
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **options,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:  # no GPU, an unknown precision, ...
        raise UserError(f"trainer: {error}") from error
    return trainer


def processes(options: dict[str, Any]) -> int:
    """How many processes, one a device, the ``trainer`` part of a config asks for.

    Raises:
        UserError: it does not say so by a whole number from 1.
    """
    return _count(options, "devices") * _count(options, "num_nodes")


def _count(options: dict[str, Any], name: str) -> int:
    if not fits(value := options.get(name, 1), int) or value < 1:
        raise UserError(f"trainer.{name}={value}: give a whole number from 1")
    return value


def fit(trainer: L.Trainer, module: SentimentModule, data: StoreDataModule, resume: Path | None) -> None:
    """Train, from the checkpoint ``resume`` if there is one.

    A signal (see :class:`Interruption`) ends the process with its usual exit code and says how to go on.

    Raises:
        UserError: the checkpoint holds something else than this run's; a loss is not a number.
    """
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except (Interrupted, SystemExit) as stop:  # SystemExit: Lightning's answer to Ctrl-C outside of an epoch
        if trainer.is_global_zero:
            print("interrupted; the same command with ckpt_path=last continues", file=sys.stderr)
        sys.exit(128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT))
    except Exception as error:
        if isinstance(error, UserError) or resume is None or _callback(trainer, Interruption).started:
            raise
        raise UserError(f"{resume} does not fit this run ({error!r}); overwrite=true starts again") from error


def best_checkpoint(trainer: L.Trainer) -> Path:
    """The weights of the best epoch.

    Raises:
        UserError: no epoch had a validation MAE that is a number.
    """
    best = _callback(trainer, Best)
    if best.best_model_score is None or not best.best_model_score.isfinite():
        raise UserError(f"{MONITOR} was never a number, so there is no best epoch; lower the learning rates (optim.lr)")
    return Path(best.best_model_path)


def best_epoch(trainer: L.Trainer) -> int:
    """Counted from 1."""
    best = float(_callback(trainer, Best).best_model_score)
    return next(int(row["epoch"]) for row in _callback(trainer, History).rows if row.get(MONITOR) == best)


def training_seconds(trainer: L.Trainer) -> float:
    """Wall clock of training and validation, over all sessions of a run that was resumed."""
    return _callback(trainer, Timer).time_elapsed("train")


def _callback(trainer: L.Trainer, kind: type[Callback]) -> Any:
    return next(c for c in trainer.callbacks if isinstance(c, kind))  # type: ignore[attr-defined]


def quieten() -> None:
    """Leave out what the libraries tell of themselves at every run."""
    for name in ("lightning.pytorch", "lightning.fabric", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for harmless in (
        "does not have many workers",  # a batch is read from the store faster than a worker could send it
        "exists and is not empty",  # the run directory of a run that is resumed
        "your dataloader is not resumable",  # its sampler is, see Interruption
        "sync_dist=True",  # what is logged is the same on every rank
        "`srun` command is available",
        "treespec, LeafSpec",  # Lightning's own use of a deprecated torch function
    ):
        warnings.filterwarnings("ignore", f".*{harmless}.*")
