"""The evaluation protocols: which metrics a data set is measured with, and how tables show them.

``mosi``, of labels in [-3, 3]. Nothing is clipped but for the classes.

==========  =====================================================================================================
mae         mean absolute error
corr        Pearson correlation
acc7        both clipped to [-3, 3] and rounded half to even (0.5 -> 0, 1.5 -> 2, -2.5 -> -2), then equality
acc5        the same with [-2, 2]
acc2_has0   ``target >= 0`` against ``prediction >= 0``, all samples
f1_has0     F1 of the same two classes, weighted by true support
acc2_non0   ``> 0`` for both, after dropping the samples with ``target == 0``; a prediction of exactly 0 is negative
f1_non0     F1 of the same two classes, weighted by true support
==========  =====================================================================================================

``other``, of any other scale: the same, but acc7 and acc5 are undefined. Labels from 1 to 5, say, would be clipped to
three classes.

``sims``, of CH-SIMS. Prediction and target are clipped to [-1, 1] before anything else, so that mae and corr, too, are
of clipped predictions. A class is a half-open interval, (lower, upper], and the lowest has its lower end.

==========  =====================================================================================================
mae         mean absolute error
corr        Pearson correlation
acc2        [-1, 0], (0, 1]: a 0 is negative
f1          F1 of the same two classes, weighted by true support
acc3        [-1, -0.1], (-0.1, 0.1], (0.1, 1]
acc5        [-1, -0.7], (-0.7, -0.1], (-0.1, 0.1], (0.1, 0.7], (0.7, 1]
==========  =====================================================================================================

``mosi`` and ``sims`` are those of MMSA, https://github.com/thuiar/MMSA, ``src/MMSA/utils/metricsTop.py``. Which one
data have is said by their store, ``Meta.protocol``.
Other papers differ (swapped arguments of F1, zero labels dropped everywhere), so their figures do not always compare.

Every metric takes ``prediction`` and ``target``, float64 (samples,), clipped if its protocol clips, and returns a
float64 scalar. What is undefined is NaN, without a warning: every metric of no samples, corr of a constant or of one
sample, the ``non0`` pair when every label is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor  # takes a second to import, and tables of finished runs do without

Function: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


@dataclass(frozen=True)
class Protocol:
    """A set of metrics, all in the unit of the labels or a share from 0 to 1.

    Attributes:
        name: as ``result.json`` has it.
        metrics: every metric by its name.
        headings: of the metrics that tables show, in their order. For ``mae`` lower is better, for the others higher.
        drawn: those that the figure of a table shows.
        limit: prediction and target are clipped to [-limit, limit]; None: they are not.
        printed: whether the paper's figures are of this protocol.
        note: for the caption of a table; empty where there is nothing to say.
    """

    name: str
    metrics: dict[str, Function]
    headings: dict[str, str]
    drawn: tuple[str, ...]
    limit: float | None = None
    printed: bool = False
    note: str = ""

    def clipped(self, values: Any) -> Any:
        """Predictions or targets, a tensor or an array, as its metrics see them."""
        return values if self.limit is None else values.clip(-self.limit, self.limit)


LOWER_IS_BETTER = ("mae",)


def bounds(metric: str) -> tuple[float, float]:
    """The lowest and the highest value that a metric can have."""
    return {"mae": (0.0, math.inf), "corr": (-1.0, 1.0)}.get(metric, (0.0, 1.0))


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (prediction - target).abs().mean()


def corr(prediction: Tensor, target: Tensor) -> Tensor:
    """Pearson correlation, in [-1, 1]."""
    # Compare the values: the computed variance of a constant need not be 0, since its mean is rounded.
    if (prediction == prediction[:1]).all() or (target == target[:1]).all():
        return undefined(prediction, target)
    x, y = prediction - prediction.mean(), target - target.mean()
    x, y = x / x.norm(), y / y.norm()
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


def sims_acc2(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy of [-1, 0] against (0, 1]."""
    return _accuracy(_between(prediction, 0.0), _between(target, 0.0))


def sims_f1(prediction: Tensor, target: Tensor) -> Tensor:
    """Weighted F1 of [-1, 0] and (0, 1]."""
    return _weighted_f1(_between(prediction, 0.0) > 0, _between(target, 0.0) > 0)


def sims_acc3(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy over three classes."""
    return _accuracy(_between(prediction, -0.1, 0.1), _between(target, -0.1, 0.1))


def sims_acc5(prediction: Tensor, target: Tensor) -> Tensor:
    """Accuracy over five classes."""
    return _accuracy(_between(prediction, -0.7, -0.1, 0.1, 0.7), _between(target, -0.7, -0.1, 0.1, 0.7))


def classes(protocol: str, prediction: float) -> dict[str, str]:
    """The classes of one prediction, by the name of the accuracy that counts them."""
    import torch

    value = torch.tensor(prediction, dtype=torch.float64)
    if protocol == "sims":
        edges = {"class2": (0.0,), "class3": (-0.1, 0.1), "class5": (-0.7, -0.1, 0.1, 0.7)}
        names = ("negative", "weakly negative", "neutral", "weakly positive", "positive")
        shown = {"class2": ("negative", "positive"), "class3": names[::2], "class5": names}
        return {name: shown[name][int(_between(value, *own))] for name, own in edges.items()}
    two = {"class2": "non-negative" if prediction >= 0 else "negative"}
    return {"class7": f"{int(_rounded(value, 3)):+d}".replace("+0", "0"), **two} if protocol == "mosi" else two


def undefined(prediction: Tensor, target: Tensor) -> Tensor:
    """NaN."""
    return prediction.new_tensor(math.nan)


def _rounded(values: Tensor, limit: int) -> Tensor:
    return values.clamp(-limit, limit).round()  # torch rounds half to even, as numpy does


def _between(values: Tensor, *edges: float) -> Tensor:
    """How many of the edges lie below each value; an edge itself belongs to the class below it."""
    # In float32, as MMSA compares: a label of 0.1 is stored as 0.100000001, which as float64 lies above its edge.
    values = values.float()
    return (values.unsqueeze(-1) > values.new_tensor(edges)).sum(-1)


def _accuracy(predicted: Tensor, true: Tensor) -> Tensor:
    return (predicted == true).double().mean()


def _weighted_f1(predicted: Tensor, true: Tensor) -> Tensor:
    """F1 of False and of True, bool (samples,), averaged by how often each is true."""
    shares = []
    for p, t in ((predicted, true), (~predicted, ~true)):
        hits, support = (p & t).double().sum(), t.double().sum()
        # The clamp is for a class found in neither: its support, hence its share, is 0.
        shares.append(support * 2 * hits / (p.sum() + support).clamp(min=1))
    return (shares[0] + shares[1]) / len(true)


MOSI = Protocol(
    name="mosi",
    metrics={f.__name__: f for f in (mae, corr, acc7, acc5, acc2_has0, f1_has0, acc2_non0, f1_non0)},
    headings={  # the columns of Tables 3 to 6
        "mae": "MAE",
        "corr": "Corr",
        "acc7": "Acc7",
        "acc2_has0": "Acc2 has0",
        "acc2_non0": "Acc2 non0",
        "f1_has0": "F1 has0",
        "f1_non0": "F1 non0",
    },
    drawn=("mae", "corr", "acc2_non0"),
    printed=True,
)
OTHER = Protocol(
    name="other",
    metrics=MOSI.metrics | {"acc7": undefined, "acc5": undefined},
    headings=MOSI.headings,
    drawn=MOSI.drawn,
)
SIMS = Protocol(
    name="sims",
    metrics={"mae": mae, "corr": corr, "acc2": sims_acc2, "f1": sims_f1, "acc3": sims_acc3, "acc5": sims_acc5},
    headings={"mae": "MAE", "corr": "Corr", "acc2": "Acc2", "acc3": "Acc3", "acc5": "Acc5", "f1": "F1"},
    drawn=("mae", "corr", "acc2"),
    limit=1.0,
    note="Metrics of CH-SIMS: predictions clipped to [−1, 1]",
)

PROTOCOLS = {protocol.name: protocol for protocol in (MOSI, OTHER, SIMS)}
"""Every protocol by its name."""
