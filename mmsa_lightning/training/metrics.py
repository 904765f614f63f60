"""Metrics of a whole split by the protocol of its data, the same on any number of processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from mmsa_lightning.training.protocols import Function, Protocol


def distinct(prediction: Tensor, target: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction and target of each sample once, in the order of ``index``; all (samples,).

    A distributed sampler repeats samples so that every process has as many: the first of each is kept. The order makes
    sums, and so the last digit of a metric, independent of how the samples were dealt out.
    """
    order = torch.argsort(index, stable=True)
    prediction, target, index = prediction[order], target[order], index[order]
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    return prediction[first], target[first]


class SplitMetric(Metric):
    """``function`` of a whole split: float64, on the CPU, from every process, each sample once.

    NaN if any prediction or label is NaN, where a comparison would quietly call it negative.

    Args:
        function: a metric of a :class:`Protocol`.
        limit: prediction and target are clipped to [-limit, limit] before; None: they are not.
    """

    full_state_update = False
    is_differentiable = False

    prediction: list[Tensor]
    target: list[Tensor]
    index: list[Tensor]

    def __init__(self, function: Function, limit: float | None = None) -> None:
        super().__init__()
        self.function = function
        self.limit = limit
        for name in ("prediction", "target", "index"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, index: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: any floating dtype (batch,), unclipped.
            target: any floating dtype (batch,).
            index: integer (batch,), the sample's position in its split; what repeats are known by.
        """
        if not prediction.shape == target.shape == index.shape or prediction.ndim != 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (prediction, target, index))
            raise ValueError(f"prediction, target and index must all be (batch,), got {shapes}")
        self.prediction.append(prediction.detach().to(self._float))
        self.target.append(target.detach().to(self._float))
        self.index.append(index.long())

    def compute(self) -> Tensor:
        """The metric, a float64 scalar on the CPU."""
        if not len(self.index):
            return torch.tensor(torch.nan, dtype=torch.float64)
        # Two steps, since .to("cpu", torch.float64) may convert before it moves, which MPS cannot.
        prediction = dim_zero_cat(self.prediction).cpu().double()
        target = dim_zero_cat(self.target).cpu().double()
        if prediction.isnan().any() or target.isnan().any():
            return torch.tensor(torch.nan, dtype=torch.float64)
        if self.limit is not None:
            prediction, target = (values.clamp(-self.limit, self.limit) for values in (prediction, target))
        return self.function(*distinct(prediction, target, dim_zero_cat(self.index).cpu()))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states. A process without samples gives empty ones of the right dtype (torchmetrics: float32)."""
        if not self._is_synced and not self.index:
            self.prediction.append(torch.empty(0, dtype=self._float, device=self.device))
            self.target.append(torch.empty(0, dtype=self._float, device=self.device))
            self.index.append(torch.empty(0, dtype=torch.long, device=self.device))
        super().sync(*args, **kwargs)

    @property
    def _float(self) -> torch.dtype:
        return torch.float32 if self.device.type == "mps" else torch.float64  # MPS has no float64


def sentiment_metrics(prefix: str, protocol: Protocol) -> MetricCollection:
    """All metrics of a protocol, named ``prefix`` + name, over one set of states.

    Feed with ``update(prediction, target, index)``, see :meth:`SplitMetric.update`.

    Args:
        prefix: of every name, separator included: ``"val/"`` gives ``"val/mae"``.
        protocol: of the data.
    """
    # The group is given: torchmetrics would find it by comparing states, which fails where a prediction is NaN. Sorted,
    # as the collection is: states follow the group's first member, which ``forward`` must therefore visit first.
    return MetricCollection(
        {name: SplitMetric(function, protocol.limit) for name, function in protocol.metrics.items()},
        prefix=prefix,
        compute_groups=[sorted(protocol.metrics)],
    )
