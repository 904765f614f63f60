"""The paper's objective: L1 on every task, generated auxiliary labels, weighted by tanh and by the ratio of losses.

Other weights than that ratio: :mod:`mmsa_lightning.objectives.weighting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Inputs, Loss, Objective
from mmsa_lightning.objectives.crossfit import CrossFit
from mmsa_lightning.objectives.generator import LabelGenerator
from mmsa_lightning.objectives.ulgm import ULGM
from mmsa_lightning.objectives.weighting import Weighting, scheme


def task_loss(prediction: Tensor, label: Tensor, truth: Tensor, *, tanh: bool) -> Tensor:
    """Equation (17): mean of w |ŷ_s - y_s|, with w = tanh |y_s - y_m|, or 1 where ``tanh`` is off.

    Args:
        prediction, label: float32 (batch,), of one auxiliary task.
        truth: float32 (batch,), the multimodal label.
    """
    error = (prediction - label).abs()
    return ((label - truth).abs().tanh() * error if tanh else error).mean()


GENERATORS: dict[str, type[LabelGenerator]] = {"ulgm": ULGM, "none": LabelGenerator, "crossfit": CrossFit}


class MultiTask(Objective):
    """L = Σ_s w_s L_s over the multimodal task, (18), and each auxiliary task, (17).

    Args:
        tanh_weight: weight an utterance's auxiliary loss by tanh |y_s - y_m|, (17).
        ratio_weight: weight the tasks by their share of the loss, (19). Off: every task weighs 1.
        detach_ratio: no gradient through the share.
        positive, limit: of the label generation; see :class:`ULGM`. A limit that the config leaves null is the largest
            absolute value of the data's label range.
        generator: which labels the auxiliary tasks get; see :data:`GENERATORS`.
        weighting: another scheme than ``ratio_weight``'s two, by its name; see :func:`scheme`. None: ``ratio_weight``.
        temperature: of dynamic weight average.
        auxiliary: names of the auxiliary tasks that are trained; none: the multimodal task alone. None: all that the
            model has.

    Raises:
        ValueError: an unknown ``generator``, or ``none`` with a ``tanh_weight`` that would make every such loss 0; an
            unknown ``weighting``, or one that cannot be used; an ``auxiliary`` that is no list.
    """

    generator: LabelGenerator
    weighting: Weighting

    def __init__(
        self,
        *,
        tanh_weight: bool,
        ratio_weight: bool,
        detach_ratio: bool,
        positive: str,
        limit: float,
        generator: str = "ulgm",
        weighting: str | None = None,
        temperature: float = 2.0,
        auxiliary: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(_renamed)
        if generator not in GENERATORS:
            raise ValueError(f"generator={generator}: choose one of {', '.join(GENERATORS)}")
        if generator == "none" and tanh_weight and auxiliary != []:
            raise ValueError(
                "generator=none leaves every label at y_m, where tanh_weight makes every auxiliary loss 0: "
                "objective.tanh_weight=false trains on them"
            )
        if not (auxiliary is None or isinstance(auxiliary, list | tuple)):
            raise ValueError(f"auxiliary={auxiliary}: give a list of tasks, such as [text], or [] for none")
        self.kind = generator
        self.tanh_weight = tanh_weight
        name = ("ratio" if ratio_weight else "equal") if weighting is None else weighting
        self.scheme = scheme(name, detach_ratio=detach_ratio, temperature=temperature)
        self.positive = positive
        self.limit = limit
        self.auxiliary = auxiliary
        self.tasks: list[str] = []  # the auxiliary ones that are trained

    def setup(self, labels: Tensor, feature_widths: dict[str, int]) -> None:
        """Make the label generator's state for this train split and model.

        Raises:
            ValueError: the model has no ``fusion`` feature, or not each task of ``auxiliary``.
        """
        if "fusion" not in feature_widths:
            raise ValueError("this objective needs a model's feature_widths: 'fusion' and one for each auxiliary task")
        if self.kind == "ulgm":
            self.generator = ULGM(labels, feature_widths, positive=self.positive, limit=self.limit)
        else:
            self.generator = GENERATORS[self.kind](labels, feature_widths)
        tasks = self.generator.tasks
        self.tasks = tasks if self.auxiliary is None else [task for task in tasks if task in self.auxiliary]
        if unknown := [task for task in self.auxiliary or () if task not in tasks]:
            raise ValueError(f"auxiliary: {unknown[0]} is not a task of the model, which has {', '.join(tasks)}")
        self.weighting = self.scheme(1 + len(self.tasks))

    @property
    def combine(self) -> Callable[[Tensor], Tensor] | None:
        return self.weighting.combine

    def begin(self, inputs: Inputs) -> None:
        self.generator.begin(inputs)

    def start_epoch(self) -> None:
        self.generator.start_epoch()
        self.weighting.start_epoch()

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        with torch.autocast(batch.label.device.type, enabled=False):
            truth = batch.label
            terms = {"multimodal": (full(output.prediction) - truth).abs().mean()}  # (18)
            untrained = torch.zeros_like(terms["multimodal"])  # DDP wants a gradient of every parameter, be it zero
            for task, prediction in output.tasks.items():
                if task in self.tasks:
                    label = self.generator.label(task)[batch.index]
                    terms[task] = task_loss(full(prediction), label, truth, tanh=self.tanh_weight)
                else:
                    untrained = untrained + 0 * full(prediction).sum()
            total, weights = self.weighting(torch.stack(list(terms.values())))
            self.generator.update(batch.index, output.features, epoch)
        return Loss(total + untrained, terms, dict(zip(terms, weights, strict=True)) if self.combine is None else {})

    def generated_labels(self) -> dict[str, Tensor]:
        return {task: self.generator.label(task) for task in self.tasks}


def _renamed(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints of earlier versions have the generator as ``ulgm``."""
    for key in [key for key in state if key.startswith(f"{prefix}ulgm.")]:
        state[f"{prefix}generator.{key.removeprefix(f'{prefix}ulgm.')}"] = state.pop(key)
