"""Lightning's Trainer as every run uses it, and what is asked of it afterwards."""

from __future__ import annotations

import inspect
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
import transformers
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.callbacks import Callback, RichProgressBar, Timer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from mmsa_lightning.annotations import fits
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.store import Split
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.precision import gpu_has_bf16, processor_has_bf16
from mmsa_lightning.objectives.base import Objective
from mmsa_lightning.training import devices, ranks
from mmsa_lightning.training.callbacks import Finite, GeneratedLabels, History, Patience
from mmsa_lightning.training.checkpoints import BEST, LAST, BackgroundCheckpointIO, Best, Last
from mmsa_lightning.training.interruption import Interrupted, Interruption
from mmsa_lightning.training.module import SentimentModule

LOSS = "train/loss_"  # before the name of a task
MONITOR = "valid/mae"  # what early stopping and the choice of a checkpoint look at: never test

# Keeps DDP from broadcasting buffers before every forward pass. Older versions of torch have one argument for this and
# for the broadcast at the start.
LATER = "forward_sync_buffers"
DDP_OPTIONS: dict[str, Any] = {
    LATER if LATER in inspect.signature(DistributedDataParallel).parameters else "broadcast_buffers": False
}

COUNT = range(1, 2**31)
SWITCH = (True, False)

# The arguments of Lightning's Trainer that a config may set, and the values that each takes.
SETTINGS: dict[str, Any] = {
    "accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "devices": None,  # devices.read
    "num_nodes": COUNT,
    "precision": ("32-true", "16-mixed", "bf16-mixed", "64-true", "auto"),  # labels and losses: 32 bits or 64
    "max_epochs": COUNT,
    "accumulate_grad_batches": COUNT,
    "gradient_clip_val": None,  # a number from 0
    "gradient_clip_algorithm": ("norm", "value"),
    "deterministic": (None, True, False, "warn"),
    "benchmark": (None, True, False),
    "inference_mode": SWITCH,
    "detect_anomaly": SWITCH,
    "enable_progress_bar": SWITCH,
    "enable_model_summary": SWITCH,
    "log_every_n_steps": COUNT,
}

# Why a config cannot set the others. Arguments that a later Lightning adds are refused until they have been reviewed.
WHOLE = "metrics need whole splits, and weights whole epochs; for a quick try: trainer.max_epochs=1"
LASTS = "a run ends after trainer.max_epochs, or when patience is over"
VALIDATES = "every epoch ends with one validation, and its checkpoint is saved then"
ORDER = "the order of the batches is a function of seed and epoch alone"
RANKS = "it follows from trainer.devices"
KEEPS = "a run needs its checkpoints and records"
OWN_ARGUMENTS = {
    "barebones": KEEPS,
    "callbacks": KEEPS,
    "check_val_every_n_epoch": VALIDATES,
    "default_root_dir": "runs=… is the folder for runs",
    "enable_autolog_hparams": "logger=wandb shows the config",
    "enable_checkpointing": KEEPS,
    "fast_dev_run": WHOLE,
    "limit_predict_batches": WHOLE,
    "limit_test_batches": WHOLE,
    "limit_train_batches": WHOLE,
    "limit_val_batches": WHOLE,
    "logger": "logger=csv, wandb or tensorboard chooses it",
    "max_steps": LASTS,
    "max_time": LASTS,
    "min_epochs": LASTS,
    "min_steps": LASTS,
    "model_registry": "nothing is uploaded",
    "num_sanity_val_steps": VALIDATES,
    "overfit_batches": WHOLE,
    "plugins": RANKS,
    "profiler": "its report would not be printed; use python -m cProfile train.py …",
    "reload_dataloaders_every_n_epochs": ORDER,
    "strategy": RANKS,
    "sync_batchnorm": RANKS,
    "use_distributed_sampler": ORDER,
    "val_check_interval": VALIDATES,
}


def check(options: dict[str, Any]) -> None:
    """Check the ``trainer`` part of a config, as far as it does not depend on the machine.

    Raises:
        UserError: an option is not Lightning's, or not for a config to set, or has no such value; or the environment
            sets one, which Lightning would take for a default.
    """
    for name in options:
        if name in OWN_ARGUMENTS:
            raise UserError(f"trainer.{name} cannot be set: {OWN_ARGUMENTS[name]}")
        if name not in SETTINGS:
            raise UserError(f"trainer.{name} cannot be set; these can: {', '.join(SETTINGS)}")
    for name in inspect.signature(L.Trainer).parameters:
        if value := os.environ.get(f"PL_TRAINER_{name.upper()}"):
            raise UserError(f"PL_TRAINER_{name.upper()}={value} in the environment would change the run: unset it")
    for name, value in options.items():
        values = SETTINGS[name]
        if isinstance(values, range) and not (fits(value, int) and value in values):
            raise UserError(f"trainer.{name}={value}: give a whole number from 1 to {values[-1]}")
        if isinstance(values, tuple) and not any(type(value) is type(v) and value == v for v in values):
            known = ", ".join("null" if v is None else str(v).lower() for v in values)
            raise UserError(f"trainer.{name}={value}: choose one of {known}")
    clip = options.get("gradient_clip_val")
    if not fits(clip, float | None) or (clip or 0) < 0:
        raise UserError(f"trainer.gradient_clip_val={clip}: give a number from 0")
    devices.read(options.get("devices", 1))


def processes(options: dict[str, Any]) -> int:
    """How many processes the checked ``trainer`` part of a config asks for: one per device, over all nodes.

    Raises:
        UserError: this machine lacks the devices or the precision.
    """
    gpus = _gpus(options)
    if options.get("precision") == "16-mixed" and not gpus:
        raise UserError("trainer.precision=16-mixed is for GPUs, but this run is on the CPU: bf16-mixed works on both")
    return len(_devices(options, gpus)) * options.get("num_nodes", 1)


def precision(options: dict[str, Any]) -> str:
    """What a run with the checked ``trainer`` part of a config computes in: for ``auto`` bf16-mixed where each of its
    devices has bfloat16, and 32-true elsewhere."""
    wanted: str = options.get("precision", "32-true")
    if wanted != "auto":
        return wanted
    gpus = _gpus(options)
    if gpus and not torch.cuda.is_available():  # Apple's
        return "32-true"
    has = all(map(gpu_has_bf16, _devices(options, gpus))) if gpus else processor_has_bf16()
    return "bf16-mixed" if has else "32-true"


def _devices(options: dict[str, Any], gpus: int) -> list[int]:
    return devices.plan(devices.read(options.get("devices", 1)), gpus)


def _gpus(options: dict[str, Any]) -> int:
    """How many GPUs a run with these options may use; 0 on the CPU."""
    wanted = options.get("accelerator", "auto")
    kinds = {"cuda": CUDAAccelerator, "mps": MPSAccelerator}
    found = [kind for name, kind in kinds.items() if wanted in (name, "gpu", "auto") and kind.is_available()]
    if not found and wanted not in ("cpu", "auto"):
        raise UserError(f"trainer.accelerator={wanted}: this machine has none; use trainer=cpu")
    return found[0].auto_device_count() if found else 0


def build_trainer(
    options: dict[str, Any],
    run_dir: Path,
    *,
    patience: int,
    train: Split,
    label_limit: float,
    model: nn.Module,
    objective: Objective,
) -> L.Trainer:
    """The trainer of one run, still without a logger.

    Args:
        options: the ``trainer`` part of a config, checked.
        run_dir: where checkpoints and ``metrics.csv`` go.
        patience: epochs without a better :data:`MONITOR` before training stops.
        train: the split that is trained on: its ids, and true per-modality labels where they are known.
        label_limit: the largest absolute value that a label can have.
        model: what is trained.
        objective: on what.

    Raises:
        UserError: this machine lacks the devices, or several processes or half precision cannot train this model on
            this objective as they should.
    """
    gpus = _gpus(options)
    chosen = _devices(options, gpus)
    # torch's first choice in bf16 on newer GPUs plans for a tenth of a second for every shape that is new, and most
    # batches have one.
    torch.backends.cuda.enable_cudnn_sdp(False)
    clip = options.get("gradient_clip_val")
    several = processes(options) > 1
    if several and not gpus and any(isinstance(part, _BatchNorm) for part in model.modules()):
        raise UserError(
            "trainer.devices: the model has batch normalisation, and on the CPU each process would normalise only its "
            "own share of a batch: use one process, or GPUs"
        )
    if objective.combine is not None and several:
        raise UserError(
            "trainer.devices: this objective.weighting combines gradients of whole batches, which one process alone "
            "has: use one process, or a weighting of losses such as uncertainty"
        )
    if objective.combine is not None and options.get("precision") == "16-mixed":
        raise UserError(
            "trainer.precision=16-mixed scales losses, and this objective.weighting compares their gradients: use "
            "bf16-mixed or 32-true"
        )
    last = run_dir / "checkpoints" / LAST
    interruption, io = Interruption(last), BackgroundCheckpointIO()
    own: dict[str, Any] = {
        "accelerator": "gpu" if gpus else "cpu",
        "devices": chosen if gpus else len(chosen),
        "precision": precision(options),
        "gradient_clip_val": clip if clip is None else float(clip),  # torch takes no integer above 64 bits
        # Always given: Lightning sets them for the whole process, and the next run of a sweep would inherit them.
        "deterministic": options.get("deterministic") or False,
        "benchmark": options.get("benchmark") or False,
    }
    try:
        trainer = L.Trainer(
            default_root_dir=run_dir,
            logger=False,
            callbacks=[
                Timer(),
                Finite(train.ids, MONITOR),
                GeneratedLabels(train.label, train.unimodal, label_limit, run_dir / "label_histograms.csv"),
                History(run_dir / "metrics.csv"),
                interruption,
                Patience(MONITOR, patience=patience),
                # Best comes first, so that last.ckpt records it.
                Best(
                    dirpath=run_dir / "checkpoints",
                    filename=Path(BEST).stem,
                    monitor=MONITOR,
                    save_weights_only=True,
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                ),
                Last(last, io, interruption),
                *([RichProgressBar()] if options.get("enable_progress_bar", True) else []),
            ],
            plugins=[io, ranks.environment()],
            # The generated labels and their centres are equal on every rank, and need no broadcast.
            strategy=DDPStrategy(**DDP_OPTIONS) if several else "auto",
            sync_batchnorm=several and gpus > 0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **options | own,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"trainer: {error}") from error
    return trainer


def fit(trainer: L.Trainer, module: SentimentModule, data: StoreDataModule, resume: Path | None) -> None:
    """Train, from the checkpoint ``resume`` if there is one.

    Raises:
        Interrupted: a signal came, and a checkpoint is saved.
        UserError: the checkpoint holds something else than this run's; a loss is not a number.
    """
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except Exception as error:
        known = isinstance(error, UserError | Interrupted)
        if known or resume is None or _callback(trainer, Interruption).started:
            raise
        raise UserError(f"{resume} does not fit this run ({error!r}); overwrite=true starts again") from error
    io = trainer.strategy.checkpoint_io
    assert isinstance(io, BackgroundCheckpointIO)
    io.write_best()
    trainer.strategy.barrier()  # every rank reads next what rank 0 has written


def best_checkpoint(trainer: L.Trainer) -> Path:
    """The weights of the best epoch."""
    return Path(_callback(trainer, Best).best_model_path)


def best_epoch(trainer: L.Trainer) -> int:
    """Counted from 1."""
    best = float(_callback(trainer, Best).best_model_score)
    return next(int(row["epoch"]) for row in _callback(trainer, History).rows if row.get(MONITOR) == best)


def idle_tasks(trainer: L.Trainer) -> list[str]:
    """Those whose loss was 0 in every epoch up to the best one, so that they had no part in its weights.

    Auxiliary tasks with generated labels and tanh weights begin in the third epoch (:class:`ULGM`).
    """
    last = best_epoch(trainer)
    rows = [row for row in _callback(trainer, History).rows if row["epoch"] <= last]
    losses = [name for name in rows[0] if name.startswith(LOSS)]
    return [name.removeprefix(LOSS) for name in losses if not any(row.get(name) for row in rows)]


def cut_short(trainer: L.Trainer) -> bool:
    """Whether ``max_epochs`` ended training, and not early stopping: a longer run can continue from here."""
    patience = _callback(trainer, Patience)
    return patience.wait_count < patience.patience


def training_seconds(trainer: L.Trainer) -> float:
    """Wall clock of training and validation, over all sessions of a run that was resumed."""
    return _callback(trainer, Timer).time_elapsed("train")


def _callback(trainer: L.Trainer, kind: type[Callback]) -> Any:
    return next(c for c in trainer.callbacks if isinstance(c, kind))  # type: ignore[attr-defined]


def quieten() -> None:
    """Silence what the libraries print about themselves in every run."""
    for name in ("lightning.pytorch", "lightning.fabric", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for harmless in (
        "does not have many workers",  # a batch is read from the store faster than a worker could send it
        "exists and is not empty",  # the run directory of a run that is resumed
        "callbacks used to create the checkpoint",  # an older version had others, whose state is not needed
        "The dirpath has changed",  # since the checkpoint was made: Best looks after that
        "your dataloader is not resumable",  # its sampler is, see Interruption
        "sync_dist=True",  # what is logged is the same on every rank
        "`srun` command is available",
        "treespec, LeafSpec",  # Lightning's own use of a deprecated torch function
    ):
        warnings.filterwarnings("ignore", f".*{harmless}.*")
