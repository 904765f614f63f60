"""How the losses of several tasks become one loss: one class a scheme.

With the weights of (17) and ULGM's labels, every auxiliary loss is exactly zero until these have moved. A task whose
loss has been zero so far weighs 1, which changes nothing, and the others are weighted as if it were not there. Without
that log b would fall without end, a ratio of losses would be 0 / 0, and random weights would leave the main task a
share.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn

LARGEST_LOG_B = 3.0  # ours: a task weighs between 1/20 and 20
LARGEST_RATE = 2.0  # ours: at T = 2 no task has more than e times the weight of one whose loss stays as it is
INFINITY = float("inf")


class Weighting(nn.Module):
    """From the losses of the tasks to one loss.

    Args:
        tasks: how many there are.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks

    def start_epoch(self) -> None:
        """Called before each training epoch."""

    def forward(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Float (tasks,) losses -> the total, a scalar, and the weights (tasks,), without gradient."""
        weights = self.weights(losses)
        return (weights * losses).sum(), weights.detach()

    def weights(self, losses: Tensor) -> Tensor:
        """Float (tasks,) losses -> the weight of each."""
        raise NotImplementedError

    @property
    def combine(self) -> Callable[[Tensor], Tensor] | None:
        """See :attr:`Objective.combine`."""
        return None


class Equal(Weighting):
    """Every task weighs 1."""

    def weights(self, losses: Tensor) -> Tensor:
        return torch.ones_like(losses)


def ratio_weights(losses: Tensor, *, detach: bool) -> Tensor:
    """Equation (19): each task's share of all losses, (tasks,) -> (tasks,); all zero where every loss is zero.

    With ``detach`` the share is a constant weight, and the gradient is that of a weighted sum.
    """
    weights = losses / losses.sum().clamp_min(torch.finfo(losses.dtype).tiny)
    return weights.detach() if detach else weights


class Ratio(Weighting):
    """The share of the loss, :func:`ratio_weights`."""

    def __init__(self, tasks: int, *, detach: bool) -> None:
        super().__init__(tasks)
        self.detach = detach

    def weights(self, losses: Tensor) -> Tensor:
        return ratio_weights(losses, detach=self.detach)


class Waiting(Weighting):
    """One that knows which tasks have had a loss above zero: ``begun``, bool (tasks,)."""

    begun: Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.register_buffer("begun", torch.zeros(tasks, dtype=torch.bool))

    def begin(self, losses: Tensor) -> Tensor:
        """Take in the losses of a batch; returns ``begun``."""
        self.begun = self.begun | (losses.detach() > 0)
        return self.begun


class Uncertainty(Waiting):
    """Σ L_i / b_i + log b_i: b_i is the scale of a Laplace distribution of task i's errors, and log b_i a parameter.

    Kendall, Gal & Cipolla, *Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics*,
    CVPR 2018, in the form for absolute errors: -log p(y) = |y - ŷ| / b + log b + log 2. |log b| is held below
    :data:`LARGEST_LOG_B`; log b of a task that has not begun does not move.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.log_b = nn.Parameter(torch.zeros(tasks))

    def forward(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        begun = self.begin(losses)
        with torch.no_grad():  # not in the graph: beyond the limit a clamp has no gradient that leads back
            self.log_b.clamp_(-LARGEST_LOG_B, LARGEST_LOG_B)
        log_b = torch.where(begun, self.log_b, 0.0)
        weights = (-log_b).exp()
        return (weights * losses + log_b).sum(), weights.detach()


class DynamicAverage(Weighting):
    """Dynamic weight average: softmax(L_i(t - 1) / L_i(t - 2) / T), times the number of tasks, in epoch t.

    Liu, Johns & Davison, *End-to-End Multi-Task Learning with Attention*, CVPR 2019, (7). L_i(t) is the mean over the
    batches of epoch t. A task begins when it has had a loss above zero in two epochs. A rate counts up to
    :data:`LARGEST_RATE`: a loss that rises from nearly zero would take the weight of all others.

    Args:
        tasks: how many there are.
        temperature: T.
    """

    total: Tensor
    batches: Tensor
    last: Tensor
    earlier: Tensor

    def __init__(self, tasks: int, *, temperature: float) -> None:
        super().__init__(tasks)
        self.temperature = temperature
        self.register_buffer("total", torch.zeros(tasks))  # over the batches of this epoch
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("last", torch.zeros(tasks))  # L(t - 1)
        self.register_buffer("earlier", torch.zeros(tasks))  # L(t - 2)

    def start_epoch(self) -> None:
        self.earlier.copy_(self.last)
        self.last.copy_(self.total / self.batches.clamp_min(1))
        self.total.zero_()
        self.batches.zero_()

    def weights(self, losses: Tensor) -> Tensor:
        self.total.add_(losses.detach())
        self.batches.add_(1)
        begun = (self.earlier > 0) & (self.last > 0)
        rate = (self.last / self.earlier).clamp(max=LARGEST_RATE)
        share = torch.where(begun, rate / self.temperature, -INFINITY).softmax(dim=0)
        return torch.where(begun, begun.sum() * share, 1.0)


class Random(Waiting):
    """Random loss weighting: the softmax of a normal draw for each task, new in each batch.

    Lin et al., *Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning*, TMLR 2022,
    algorithm 2. It draws from a generator of its own, which starts from the run's seed, as torch's own did: the same on
    every rank. Its state is in the checkpoint.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.generator = torch.Generator().manual_seed(torch.initial_seed())

    def weights(self, losses: Tensor) -> Tensor:
        begun = self.begin(losses)
        drawn = torch.randn(self.tasks, generator=self.generator).to(losses)
        share = torch.where(begun, drawn, -INFINITY).softmax(dim=0)
        return torch.where(begun, share, 1.0)

    def get_extra_state(self) -> Tensor:
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())


class Surgery(Weighting):
    """The gradients of the tasks are weighted, and not their losses: a rule of TorchJD's sees how they conflict.

    ``UPGrad``: Quinton & Rey, *Jacobian Descent for Multi-Objective Optimization*, 2024; each gradient is projected to
    where it harms no task. Here these are summed, as PCGrad and equal weights do; the paper takes their mean.
    ``PCGrad``: Yu et al., *Gradient Surgery for Multi-Task Learning*, NeurIPS 2020; a gradient loses the part that
    points against another's, one after the other in a random order.

    Args:
        tasks: how many there are.
        rule: ``UPGrad`` or ``PCGrad``.
    """

    def __init__(self, tasks: int, *, rule: str) -> None:
        super().__init__(tasks)
        kind = getattr(importlib.import_module("torchjd.aggregation"), f"{rule}Weighting")
        self.rule = kind(torch.ones(tasks)) if rule == "UPGrad" else kind()

    def weights(self, losses: Tensor) -> Tensor:
        return torch.ones_like(losses)

    @property
    def combine(self) -> Callable[[Tensor], Tensor]:
        return self._combine

    def _combine(self, gramian: Tensor) -> Tensor:
        if not gramian.isfinite().all():  # no rule takes this; a loss that is not a number is told of after the step
            return gramian.new_ones(self.tasks)
        return self.rule(gramian.cpu()).to(gramian.device)


def scheme(name: str, *, detach_ratio: bool, temperature: float) -> Callable[[int], Weighting]:
    """What makes the weighting of this name for a number of tasks.

    Args:
        name: of the scheme.
        detach_ratio: see :func:`ratio_weights`.
        temperature: see :class:`DynamicAverage`.

    Raises:
        ValueError: an unknown name, a temperature that is not above 0; TorchJD is needed and not installed.
    """
    schemes: dict[str, Callable[[int], Weighting]] = {
        "equal": Equal,
        "ratio": partial(Ratio, detach=detach_ratio),
        "uncertainty": Uncertainty,
        "dwa": partial(DynamicAverage, temperature=temperature),
        "rlw": Random,
        "upgrad": partial(Surgery, rule="UPGrad"),
        "pcgrad": partial(Surgery, rule="PCGrad"),
    }
    if name not in schemes:
        raise ValueError(f"weighting={name}: choose one of {', '.join(schemes)}")
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: give a number above 0")
    if name in ("upgrad", "pcgrad") and not all(map(find_spec, ("torchjd", "qpsolvers", "quadprog"))):
        raise ValueError(f"weighting={name} needs TorchJD: pip install 'mmsa-lightning[jd]'")
    return schemes[name]
