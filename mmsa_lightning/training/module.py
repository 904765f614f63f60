"""The one LightningModule: where model, objective, optimiser groups and metrics meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MetricCollection

from mmsa_lightning.batch import Batch
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Objective
from mmsa_lightning.training import ranks, surgery
from mmsa_lightning.training.metrics import sentiment_metrics
from mmsa_lightning.training.protocols import MOSI, Protocol


class SentimentModule(L.LightningModule):
    """Trains a model on an objective and measures it.

    Args:
        model: from a :class:`Batch` to a :class:`ModelOutput`.
        objective: set up for the train split.
        optimizer: from the model to its optimiser.
        schedule: from the optimiser and the number of its steps to a schedule of :mod:`schedules`; None for none.
        seed: the random numbers of epoch n are a function of (seed, n, rank), so that a run resumed after epoch n - 1
            draws the same ones.
        protocol: by which valid and test are measured.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        seed: int,
        schedule: Callable[[torch.optim.Optimizer, int], dict[str, Any]] | None = None,
        protocol: Protocol = MOSI,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.valid_metrics = sentiment_metrics("valid/", protocol)
        self.test_metrics = sentiment_metrics("test/", protocol)
        self.rates: dict[str, float] = {}  # at the start of the epoch
        self.sums: dict[str, Tensor] = {}  # over the epoch's utterances so far
        self.seen = 0  # how many these are
        self.terms: dict[str, Tensor] = {}  # of the loss whose gradients are combined next
        self.size = 0  # of its batch
        self.predictions: dict[int, float] = {}  # of the last evaluation, by position in its split

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.model)
        if self.schedule is None:
            return optimizer
        return [optimizer], [self.schedule(optimizer, int(self.trainer.estimated_stepping_batches))]

    def on_train_epoch_start(self) -> None:
        state = np.random.SeedSequence([self.seed, self.current_epoch, self.global_rank]).generate_state(1)
        L.seed_everything(int(state[0]), verbose=False)
        self.objective.start_epoch()
        # With optim.layer_decay several groups have one name; the last is the one with the rate of the config.
        self.rates = {f"lr/{group['name']}": group["lr"] for group in self.trainer.optimizers[0].param_groups}
        self.sums, self.seen = {}, 0

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        output, batch = ranks.whole(self._output(batch), batch)
        loss = self.objective(output, batch, self.current_epoch + 1)
        values = {"loss": loss.total}
        values |= {f"loss_{task}": term for task, term in loss.terms.items()}
        values |= {f"weight_{task}": weight for task, weight in loss.weights.items()}
        self._add(values, len(batch))
        self.seen += len(batch)
        if self.objective.combine is not None:
            self.terms, self.size = loss.terms, len(batch)
        losses = {"total": loss.total, **loss.terms}
        return {"loss": self._share(batch_idx) * loss.total, "losses": losses, "index": batch.index}

    def _output(self, batch: Batch) -> ModelOutput:
        """What the model returns, one prediction an utterance: the L1 of (batch, 1), say, would be that of all pairs.

        Raises:
            UserError: it is something else.
        """
        output = self.model(batch)
        if not isinstance(output, ModelOutput):
            raise UserError(
                f"{type(self.model).__name__} returned {type(output).__name__}: a model returns ModelOutput(prediction)"
            )
        if output.prediction.shape != (len(batch),):
            raise UserError(
                f"{type(self.model).__name__} returned predictions of the shape {tuple(output.prediction.shape)} for "
                f"{len(batch)} utterances: one number each is wanted, ({len(batch)},)"
            )
        return output

    def _add(self, values: dict[str, Tensor], size: int) -> None:
        """Count figures of a batch of ``size`` utterances in those of the epoch."""
        for name, value in values.items():
            self.sums[f"train/{name}"] = self.sums.get(f"train/{name}", 0) + size * value.detach()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Lightning's hook: what it does before and after it, such as accumulating and clipping, is the same for both.

        ``loss`` is what :meth:`training_step` returned, divided by the number of accumulated batches.
        """
        if self.objective.combine is None:
            super().backward(loss, *args, **kwargs)
            return
        terms, self.terms = self.terms, {}  # else their graph would stay until the next step
        weights = surgery.backward(loss, list(terms.values()), self.parameters(), self.objective.combine)
        self._add({f"weight_{task}": weight for task, weight in zip(terms, weights, strict=True)}, self.size)

    def _share(self, batch_idx: int) -> float:
        """The factor that makes an optimiser step the mean over its batches, even if fewer than usual are left.

        Lightning divides every loss by ``accumulate_grad_batches``, also in an epoch's last step, which may have fewer.
        """
        usual = self.trainer.accumulate_grad_batches
        left = self.trainer.num_training_batches - batch_idx // usual * usual  # from the first batch of this step on
        return usual / min(usual, left)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_so_far"] = {"rates": self.rates, "sums": self.sums, "seen": self.seen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        so_far = checkpoint["epoch_so_far"]
        self.rates, self.seen = so_far["rates"], so_far["seen"]
        self.sums = {name: value.to(self.device) for name, value in so_far["sums"].items()}

    def on_validation_epoch_start(self) -> None:
        self.predictions = {}

    def on_test_epoch_start(self) -> None:
        self.predictions = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.valid_metrics.update(*self._predict(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.test_metrics.update(*self._predict(batch))

    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        prediction = full(self._output(batch).prediction)
        self.predictions |= dict(zip(batch.index.tolist(), prediction.tolist(), strict=True))
        return prediction, batch.label, batch.index

    def on_validation_epoch_end(self) -> None:
        self.predictions = ranks.merge(self.predictions)
        values = self._log_metrics(self.valid_metrics)
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.log_dict(self.rates)
            for name, total in self.sums.items():
                self.log(name, total / self.seen, prog_bar=name == "train/loss")
            for config in self.trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, ReduceLROnPlateau):
                    config.scheduler.step(float(values["valid/mae"]))

    def on_test_epoch_end(self) -> None:
        self.predictions = ranks.merge(self.predictions)
        self._log_metrics(self.test_metrics)

    def _log_metrics(self, metrics: MetricCollection) -> dict[str, Tensor]:
        values = metrics.compute()
        for name, value in values.items():
            self.log(name, value, prog_bar=name.endswith("/mae"))
        metrics.reset()
        return values
