"""What a run keeps of its epochs, and what ends it early."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.training.protocols import corr

if TYPE_CHECKING:
    import wandb  # when it runs, with logger=wandb alone: its import takes a third of a second

LOOK = 50  # steps
REMEDY = "checkpoints are of the epochs before. Lower the learning rates (optim.lr), or set trainer.gradient_clip_val"
BINS = 60  # of the histograms of generated labels


class Patience(EarlyStopping):
    """Early stopping that remembers, when a run is resumed after its last epoch, that training was over.

    If it was over because patience ran out, and the resumed run has more of it, training goes on.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        given = self.patience
        super().load_state_dict(state_dict)
        if self.patience <= self.wait_count < given:
            self.stopped_epoch = 0
        self.patience = given

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # stopped_epoch is also set where the monitored value was not a number.
        trainer.should_stop = trainer.should_stop or self.stopped_epoch > 0 or self.wait_count >= self.patience


class Finite(L.Callback):
    """Stops a run whose loss, or figure on validation, is not a number, before a checkpoint is made of it.

    Looking at a loss makes the processor wait for the GPU. So losses are looked at every :data:`LOOK` steps, and before
    anything is saved.

    Args:
        ids: of the training utterances, by position.
        monitor: the name of the figure on validation.

    Raises:
        UserError: with the step, the terms of the loss that broke, and the utterances of the batch; or with the epoch
            whose last step broke the model.
    """

    def __init__(self, ids: Sequence[str], monitor: str) -> None:
        self.ids = ids
        self.monitor = monitor
        self.steps: list[tuple[int, Tensor, dict[str, Tensor]]] = []  # since the last look

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        losses = {name: loss.detach() for name, loss in outputs["losses"].items()}
        self.steps.append((trainer.global_step, outputs["index"], losses))
        if len(self.steps) == LOOK:
            self._look()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._look()
        if trainer.state.fn == TrainerFn.FITTING and not trainer.callback_metrics[self.monitor].isfinite():
            raise UserError(
                f"{self.monitor} is not a number after epoch {trainer.current_epoch + 1}, whose last step broke the "
                f"model; {REMEDY}"
            )

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look()

    def _look(self) -> None:
        steps, self.steps = self.steps, []
        if not steps:
            return
        finite = torch.stack([torch.stack(list(losses.values())).isfinite().all() for _, _, losses in steps]).tolist()
        if all(finite):
            return
        step, index, losses = steps[finite.index(False)]
        broken = ", ".join(f"{name} {loss.item()}" for name, loss in losses.items() if not loss.isfinite())
        ids = ", ".join(self.ids[i] for i in index.tolist())
        raise UserError(f"the loss of step {step} is not a number ({broken}), with utterances {ids}; {REMEDY}")


class History(L.Callback):
    """One row of all logged values an epoch, in ``metrics.csv``; a resumed run continues it.

    When a run is resumed, the earlier epochs that W&B lacks are logged again: a killed process loses what its W&B
    client had not written yet.

    Args:
        path: of the CSV file, written anew after each epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for run in _ignorant(trainer):
            for row in self.rows:
                place = {"epoch": row["epoch"] - 1, "trainer/global_step": row["step"] - 1}  # as Lightning counts
                run.log({name: value for name, value in row.items() if name != "step"} | place)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step} | values)
        if trainer.is_global_zero:
            files.write_rows(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


class GeneratedLabels(L.Callback):
    """Follows the labels that the objective generates: histograms, drift, agreement with true ones where known.

    Logged for each task: ``std``; against the multimodal labels ``corr``, and the share of changed signs ``flipped``
    among those that are not 0; the share of labels at the limit, ``clamped``; ``corr_true`` and ``mae_true`` against
    true labels. Labels that have lost their sign are warned of once.

    Args:
        labels: float32 (n,), the multimodal labels of the train split.
        truth: true per-modality labels (n,) of the train split, NaN where one is not known; empty for most real data.
        limit: histograms have :data:`BINS` bins from -limit to limit; what lies beyond counts in the outermost.
        path: of the CSV file of histograms, written anew after each epoch that has labels. It has one row per epoch and
            task; each further column counts the labels from its own name up to the next column's.
    """

    def __init__(self, labels: np.ndarray, truth: dict[str, np.ndarray], limit: float, path: Path) -> None:
        self.labels = torch.from_numpy(labels).double()
        self.truth = truth
        self.limit = limit
        self.warned = False
        self.edges = np.arange(-BINS // 2, BINS // 2 + 1) / (BINS // 2) * np.float32(limit)
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        steps = {row["epoch"]: row["step"] for c in trainer.callbacks if isinstance(c, History) for row in c.rows}  # type: ignore[attr-defined]
        for run in _ignorant(trainer):
            for epoch, step in steps.items():
                shown = {f"ulgm/label_{row['task']}": _histogram(row) for row in self.rows if row["epoch"] == epoch}
                if shown:
                    run.log(shown | {"trainer/global_step": step})

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        labels = pl_module.objective.generated_labels()  # type: ignore[operator, union-attr]
        values = {task: label.cpu() for task, label in labels.items()}
        limit = getattr(pl_module.objective, "limit", self.limit) * (1 - 1e-5)  # an average of labels there is rounded
        for task, value in values.items():
            pl_module.log(f"ulgm/std_{task}", value.std(correction=0))
            drift = {
                "corr": corr(value.double(), self.labels),
                "flipped": (value.sign() != self.labels.sign())[self.labels != 0].double().mean(),
                "clamped": (value.abs() >= limit).double().mean(),
            }
            if task in self.truth:
                truth = torch.from_numpy(self.truth[task]).double()
                known = ~truth.isnan()
                drift["corr_true"] = corr(value[known].double(), truth[known])
                drift["mae_true"] = (value[known].double() - truth[known]).abs().mean()
            for name, number in drift.items():
                pl_module.log(f"ulgm/{name}_{task}", number)
            self._warn(trainer, task, float(drift["corr"]), float(drift["flipped"]))
        histograms = {
            task: np.histogram(np.clip(value.numpy(), self.edges[0], self.edges[-1]), bins=self.edges)
            for task, value in values.items()
        }
        for task, (counts, edges) in histograms.items():
            columns = zip((str(float(f"{edge:.4g}")) for edge in edges), counts.tolist(), strict=False)
            self.rows.append({"epoch": trainer.current_epoch + 1, "task": task, **dict(columns)})
        if histograms and trainer.is_global_zero:
            files.write_rows(self.path, self.rows)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and histograms:
                import wandb

                shown = {f"ulgm/label_{task}": wandb.Histogram(np_histogram=h) for task, h in histograms.items()}
                logger.experiment.log(shown | {"trainer/global_step": trainer.global_step})

    def _warn(self, trainer: L.Trainer, task: str, agreement: float, flipped: float) -> None:
        if self.warned or not (agreement < 0 or flipped > 0.5):
            return
        self.warned = True
        if trainer.is_global_zero:
            print(
                f"warning: after epoch {trainer.current_epoch + 1} the generated {task} labels have lost their sign "
                f"(correlation with the label {agreement:.2f}, {flipped:.0%} of signs changed): "
                "objective.generator=crossfit keeps it"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.warned = state_dict["rows"], state_dict.get("warned", False)


def _ignorant(trainer: L.Trainer) -> list[wandb.Run]:
    """The W&B runs that lack what was logged before this run was resumed."""
    found = [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return [run for run in found if not run.resumed]


def _histogram(row: dict[str, Any]) -> wandb.Histogram:
    """Of a row that :class:`GeneratedLabels` wrote."""
    import wandb

    edges, counts = zip(*((float(name), n) for name, n in row.items() if name not in ("epoch", "task")), strict=True)
    return wandb.Histogram(np_histogram=(np.array(counts), np.array([*edges, 2 * edges[-1] - edges[-2]])))
