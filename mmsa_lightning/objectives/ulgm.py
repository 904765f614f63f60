"""Unimodal label generation (ULGM) of Self-MM: labels for tasks that the data has no labels for.

Yu et al., *Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for Multimodal Sentiment
Analysis*, AAAI 2021; as computed by thuiar/Self-MM and thuiar/MMSA, ``trains/multiTask/SELF_MM.py``. Two guards are
added: a task with an empty class keeps its labels, and where 0 is divided by 0 the true label stands in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmsa_lightning.objectives.generator import LabelGenerator

EPSILON = 1e-8
POSITIVE = (">", ">=")


class ULGM(LabelGenerator):
    """Feature banks, class centres and generated labels of every training utterance; all float32 buffers.

    The centres are kept as running sums, so that a step costs O(batch · width) whatever the size of the training set;
    :meth:`start_epoch` makes them exact again.

    Args:
        labels: float32 (n,), the multimodal labels by position in the train split.
        feature_widths: of ``fusion`` and each auxiliary task.
        positive: which labels make the positive centre: ``>`` (MMSA since 2022-01) or ``>=`` (Self-MM, and MMSA when it
            published its Self-MM row) zero. The negative centre is always of labels < 0.
        limit: what a label is moved towards is clamped to [-limit, limit], as in the references.

    Raises:
        ValueError: an unknown ``positive``, a ``limit`` that is not above 0.
    """

    def __init__(self, labels: Tensor, feature_widths: dict[str, int], *, positive: str, limit: float) -> None:
        super().__init__(labels, feature_widths)
        if positive not in POSITIVE:
            raise ValueError(f"positive={positive!r}: choose one of {POSITIVE}")
        if limit <= 0:
            raise ValueError(f"limit={limit}: give a number above 0")
        self.positive = positive
        self.limit = limit
        for task, width in feature_widths.items():
            self.register_buffer(f"bank_{task}", torch.zeros(len(labels), width))
            self.register_buffer(f"sum_{task}", torch.zeros(2, width))  # of the negative and the positive class
            self.register_buffer(f"count_{task}", torch.zeros(2))
        self.start_epoch()

    def centres(self, task: str) -> Tensor:
        """float32 (2, width): mean feature of the negative and the positive class; NaN for an empty class."""
        return self.get_buffer(f"sum_{task}") / self.get_buffer(f"count_{task}")[:, None]

    @torch.no_grad()
    def start_epoch(self) -> None:
        """Recompute the running sums from the banks."""
        for task in ["fusion", *self.tasks]:
            members = self._members(self.label(task))
            self.get_buffer(f"sum_{task}").copy_(members @ self.get_buffer(f"bank_{task}"))
            self.get_buffer(f"count_{task}").copy_(members.sum(dim=1))

    @torch.no_grad()
    def update(self, index: Tensor, features: dict[str, Tensor], epoch: int) -> None:
        """Take in one batch, after its loss was computed from the present labels.

        From the second epoch on the batch's labels move first, by the centres that the previous batch left; then its
        features enter the banks and the centres.

        Args:
            index: int64 (batch,), positions in the train split, each at most once.
            features: float (batch, width) for ``fusion`` and each auxiliary task.
            epoch: counted from 1.
        """
        features = {task: features[task].detach().to(self.label(task).dtype) for task in ["fusion", *self.tasks]}
        new = self._generate(index, features, epoch) if epoch > 1 else {}
        for task, feature in features.items():
            bank, label = self.get_buffer(f"bank_{task}"), self.label(task)
            self._count(task, label[index], bank[index], sign=-1)
            bank[index] = feature
            if task in new:
                label[index] = new[task]
            self._count(task, label[index], feature, sign=1)

    def _generate(self, index: Tensor, features: dict[str, Tensor], epoch: int) -> dict[str, Tensor]:
        truth = self.label("fusion")[index]
        delta_fusion = self._delta("fusion", features["fusion"])
        new = {}
        for task in self.tasks:
            delta, old = self._delta(task, features[task]), self.label(task)[index]
            alpha = delta / (delta_fusion + EPSILON)
            guess = 0.5 * alpha * truth + 0.5 * (truth + delta - delta_fusion)
            guess = torch.where(guess.isnan(), truth, guess.clamp(-self.limit, self.limit))
            moved = (epoch - 1) / (epoch + 1) * old + 2 / (epoch + 1) * guess
            new[task] = torch.where(self._both_classes(task) & self._both_classes("fusion"), moved, old)
        return new

    def _delta(self, task: str, feature: Tensor) -> Tensor:
        """How much nearer the positive than the negative centre: (d_n - d_p) / d_p."""
        to_negative, to_positive = ((feature - centre).norm(dim=1) for centre in self.centres(task))
        return (to_negative - to_positive) / (to_positive + EPSILON)

    def _both_classes(self, task: str) -> Tensor:
        return self.get_buffer(f"count_{task}").min() > 0

    def _members(self, label: Tensor) -> Tensor:
        """float (2, n): who belongs to the negative and to the positive class."""
        return torch.stack([label < 0, label > 0 if self.positive == ">" else label >= 0]).to(label.dtype)

    def _count(self, task: str, label: Tensor, feature: Tensor, *, sign: int) -> None:
        members = self._members(label)
        self.get_buffer(f"sum_{task}").add_(members @ feature, alpha=sign)
        self.get_buffer(f"count_{task}").add_(members.sum(dim=1), alpha=sign)
