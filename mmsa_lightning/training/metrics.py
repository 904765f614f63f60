"""The evaluation protocol: eight metrics of a whole split, the same on any number of processes.

==========  =====================================================================================================
mae         mean absolute error, nothing clipped
corr        Pearson correlation
acc7        both clipped to [-3, 3] and rounded half to even (0.5 -> 0, 1.5 -> 2, -2.5 -> -2), then equality
acc5        the same with [-2, 2]
acc2_has0   ``target >= 0`` against ``prediction >= 0``, all samples
f1_has0     F1 of the same two classes, weighted by true support
acc2_non0   ``> 0`` for both, after dropping the samples with ``target == 0``; a prediction of exactly 0 is negative
f1_non0     F1 of the same two classes, weighted by true support
==========  =====================================================================================================

The protocol is that of MMSA, https://github.com/thuiar/MMSA, ``src/MMSA/utils/metricsTop.py``, for MOSI and MOSEI. On
another scale acc7 and acc5 are left undefined: labels in [-1, 1] would round to three classes, those from 1 to 5 be
clipped to as few, and the acc5 that MMSA reports on CH-SIMS has classes of its own.
Other papers differ (swapped arguments of F1, zero labels dropped everywhere), so their figures do not always compare.

Every free function takes ``prediction`` and ``target``, float64 (samples,), unclipped, and returns a float64 scalar.
What is undefined is NaN, without a warning: every metric of no samples, corr of a constant or of one sample, the
``non0`` pair when every label is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, unclipped."""
    return (prediction - target).abs().mean()


def corr(prediction: Tensor, target: Tensor) -> Tensor:
    """Pearson correlation, in [-1, 1]."""
    # Compare the values: the computed variance of a constant need not be 0, since its mean is rounded.
    if (prediction == prediction[:1]).all() or (target == target[:1]).all():
        return prediction.new_tensor(torch.nan)
    x, y = prediction - prediction.mean(), target - target.mean()
    x, y = x / torch.linalg.vector_norm(x), y / torch.linalg.vector_norm(y)
    return (x * y).sum().clamp(-1, 1)


def acc7(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy over the seven classes -3 … 3."""
    return _accuracy(_rounded(prediction, 3), _rounded(target, 3))


def acc5(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy over the five classes -2 … 2."""
    return _accuracy(_rounded(prediction, 2), _rounded(target, 2))


def acc2_has0(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy of negative against non-negative, all samples."""
    return _accuracy(prediction >= 0, target >= 0)


def f1_has0(prediction: Tensor, target: Tensor) -> Tensor:
    """Weighted F1 of negative against non-negative, all samples."""
    return _weighted_f1(prediction >= 0, target >= 0)


def acc2_non0(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy of negative against positive, samples labelled 0 dropped."""
    kept = target != 0
    return _accuracy(prediction[kept] > 0, target[kept] > 0)


def f1_non0(prediction: Tensor, target: Tensor) -> Tensor:
    """Weighted F1 of negative against positive, samples labelled 0 dropped."""
    kept = target != 0
    return _weighted_f1(prediction[kept] > 0, target[kept] > 0)


def _rounded(values: Tensor, limit: int) -> Tensor:
    return values.clamp(-limit, limit).round()  # torch rounds half to even, as numpy does


def _accuracy(predicted: Tensor, true: Tensor) -> Tensor:
    return (predicted == true).double().mean()


def _weighted_f1(predicted: Tensor, true: Tensor) -> Tensor:
    """F1 of False and of True, bool (samples,), averaged by how often each is true."""
    total = torch.zeros((), dtype=torch.float64, device=true.device)
    for p, t in ((predicted, true), (~predicted, ~true)):
        hits, support = (p & t).sum(dtype=torch.float64), t.sum(dtype=torch.float64)
        # The clamp is for a class found in neither: its support, hence its share, is 0.
        total += support * 2 * hits / (p.sum() + support).clamp(min=1)
    return total / len(true)


def undefined(prediction: Tensor, target: Tensor) -> Tensor:
    """NaN."""
    return prediction.new_tensor(torch.nan)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    function.__name__: function for function in (mae, corr, acc7, acc5, acc2_has0, f1_has0, acc2_non0, f1_non0)
}
"""Every metric by its name."""

OF_CLASSES = ("acc7", "acc5")


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
        function: one of :data:`METRICS`, or :func:`undefined`.
    """

    full_state_update = False
    is_differentiable = False

    prediction: list[Tensor]
    target: list[Tensor]
    index: list[Tensor]

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
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


def sentiment_metrics(prefix: str, *, classes: bool = True) -> MetricCollection:
    """All of :data:`METRICS`, named ``prefix`` + name, over one set of states.

    Feed with ``update(prediction, target, index)``, see :meth:`SplitMetric.update`.

    Args:
        prefix: of every name, separator included: ``"val/"`` gives ``"val/mae"``.
        classes: whether the labels are on the scale that :data:`OF_CLASSES` are of; else these are NaN.
    """
    # The group is given: torchmetrics would find it by comparing states, which fails where a prediction is NaN. Sorted,
    # as the collection is: states follow the group's first member, which ``forward`` must therefore visit first.
    return MetricCollection(
        {
            name: SplitMetric(function if classes or name not in OF_CLASSES else undefined)
            for name, function in METRICS.items()
        },
        prefix=prefix,
        compute_groups=[sorted(METRICS)],
    )
