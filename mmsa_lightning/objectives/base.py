"""What the training step asks of an objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput

Inputs = Callable[[], dict[str, Tensor]]


class Loss(NamedTuple):
    """A loss and what it is made of.

    Attributes:
        total: float32 scalar, to be minimised.
        terms: float32 scalars by task (``multimodal``, ``text``, ...), before the tasks are weighted.
        weights: the weight that each term has in the total; empty where there is only one, and where the weights are
            of gradients, :attr:`Objective.combine`.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: dict[str, Tensor]


class Objective(nn.Module):
    """A loss with whatever state it keeps; the state is in buffers and so in every checkpoint.

    Its parameters, if it has any, are trained with the model's.
    """

    def setup(self, labels: Tensor, feature_widths: dict[str, int]) -> None:
        """Called once before training.

        Args:
            labels: float32 (n,), of the train split, by position.
            feature_widths: of the model's ``features``; empty for a model that has none.
        """

    def begin(self, inputs: Inputs) -> None:
        """Called once, before the first epoch of a run that is not resumed.

        Args:
            inputs: computes what is known of each training utterance before training: for each modality float32
                (n, width). See :func:`mmsa_lightning.experiment.inputs.unimodal_inputs`.
        """

    def start_epoch(self) -> None:
        """Called before each training epoch."""

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        """The loss of one batch; ``epoch`` counts from 1."""
        raise NotImplementedError

    @property
    def combine(self) -> Callable[[Tensor], Tensor] | None:
        """From the Gramian of the terms' gradients, float (terms, terms), to the weights of these, (terms,).

        None: what is minimised is the total. Else the total is the sum of the terms, and the gradients that these have
        for parameters that more than one of them depends on are summed with these weights.
        """
        return None

    def generated_labels(self) -> dict[str, Tensor]:
        """float32 (n,) labels that the objective made for each auxiliary task, if it makes any."""
        return {}
