"""The state of a run: written behind training, often enough, and never half."""

from __future__ import annotations

import copy
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from mmsa_lightning import files
from mmsa_lightning.training import ranks
from mmsa_lightning.training.interruption import Interruption

BEST = "best.ckpt"  # the weights of the best epoch
LAST = "last.ckpt"  # what a run goes on from, its best weights included
SHARE = 0.05  # of the time goes into writing, at most: the state's size and the disk's speed say how often that is


class BackgroundCheckpointIO(TorchCheckpointIO):
    """Writes a copy of the state in a thread while training goes on, one at a time.

    What is saved as :data:`BEST` stays in memory, and is written when training is over. Until then every other
    checkpoint holds it, under ``best``: were it a file beside them, a run that is killed between the two would go on
    with the best weights of a later epoch than it knows of.

    Lightning's AsyncCheckpointIO copies within the GPU's memory, and again for each epoch that ends during a write.
    """

    def __init__(self) -> None:
        self.writing: Future[tuple[float, float]] | None = None
        self.best: tuple[dict[str, Any], Path] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Take a copy, and have it written.

        Raises:
            OSError: the checkpoint before could not be written.
        """
        if Path(path).name == BEST:
            self.best = _copy(checkpoint), Path(path)
            return
        self._wait()
        kept: dict[str, Any] = {}
        if self.best is not None:
            best, _ = self.best
            kept["best"] = best
            if best["global_step"] == checkpoint["global_step"]:  # the same weights: one copy, and once in the file
                kept["state_dict"] = best["state_dict"]
        copied = _copy({name: value for name, value in checkpoint.items() if name not in kept})
        executor = ThreadPoolExecutor(max_workers=1)  # which the process waits for before it exits
        self.writing = executor.submit(_write, copied | kept, Path(path))
        executor.shutdown(wait=False)

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(path, *args, **options)
        best = checkpoint.pop("best", None)  # an older version has none: its best.ckpt is of the same epoch
        self.best = (best, Path(path).with_name(BEST)) if best is not None and ranks.rank() == 0 else None
        return checkpoint

    def due(self) -> bool:
        """Whether one more checkpoint leaves writing within its :data:`SHARE` of the time.

        Raises:
            OSError: the last one could not be written.
        """
        if self.writing is None:
            return True
        if not self.writing.done():
            return False
        took, ended = self.writing.result()
        return took <= SHARE * (time.monotonic() - ended)

    def teardown(self) -> None:
        """Wait until the last checkpoint is on disk.

        Raises:
            OSError: it could not be written.
        """
        self._wait()

    def write_best(self) -> None:
        """Write the best weights to their own file, when training is over. A run that stops sooner has them in its last
        checkpoint.

        Raises:
            OSError: they could not be written.
        """
        best, self.best = self.best, None
        if best is not None:
            _write(*best)

    def _wait(self) -> None:
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()


def _copy(value: Any) -> Any:
    """What training does not change any more: every tensor on the CPU, in containers like those it was in."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        copied = copy.copy(value)  # with the versions of modules, which a state dict has as an attribute
        copied.update((key, _copy(item)) for key, item in value.items())
        return copied
    if isinstance(value, list | tuple):
        return type(value)(map(_copy, value))
    return value


def _write(checkpoint: dict[str, Any], path: Path) -> tuple[float, float]:
    """Write straight to disk, to a file that is renamed: Lightning would build the whole file in memory first.

    Returns:
        how many seconds that took, and :func:`time.monotonic` at its end.
    """
    began = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.aside(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:  # torch's error hides the file's own, which says why
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    ended = time.monotonic()
    return ended - began, ended


class Best(ModelCheckpoint):
    """Keeps the weights of the best epoch, and finds them again after the run directory was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        best_k = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"best_k_models": best_k, "dirpath": self.dirpath})


class Last(Checkpoint):
    """Saves the state after an epoch that is the last, in which a signal came, or when it is time to.

    A run that is killed repeats the epochs since, and comes to the same: they depend on nothing else.

    Args:
        path: of the checkpoint.
        io: what writes it, and knows how long that takes.
        interruption: what knows of signals. It stops the run when the epoch has been logged.
    """

    def __init__(self, path: Path, io: BackgroundCheckpointIO, interruption: Interruption) -> None:
        self.path = path
        self.io = io
        self.interruption = interruption
        self.stops = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.stops:
            self.interruption.stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        self.stops = self.interruption.asked(trainer)
        # Rank 0 writes, so it alone knows; all ranks save together.
        if ends or self.stops or trainer.strategy.broadcast(trainer.is_global_zero and self.io.due()):
            trainer.save_checkpoint(self.path)
