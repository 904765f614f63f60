"""Labels for tasks that the data has no labels for: what every generator has in common, and the one that makes none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmsa_lightning.objectives.base import Inputs


class LabelGenerator(nn.Module):
    """A label of every training utterance for each auxiliary task; float32 buffers, at first the multimodal labels.

    By itself it leaves them there: y_s = y_m.

    Args:
        labels: float32 (n,), the multimodal labels by position in the train split.
        feature_widths: of ``fusion`` and each auxiliary task.
    """

    def __init__(self, labels: Tensor, feature_widths: dict[str, int]) -> None:
        super().__init__()
        self.tasks = [task for task in feature_widths if task != "fusion"]
        for task in feature_widths:
            self.register_buffer(f"label_{task}", labels.float().clone())

    def label(self, task: str) -> Tensor:
        """float32 (n,): the labels of an auxiliary task, or the multimodal ones for ``fusion``."""
        return self.get_buffer(f"label_{task}")

    def begin(self, inputs: Inputs) -> None:
        """Called once, before the first epoch of a run that is not resumed.

        Args:
            inputs: computes what is known of each training utterance before training: for each modality float32
                (n, width).
        """

    def start_epoch(self) -> None:
        """Called before each training epoch."""

    @torch.no_grad()
    def update(self, index: Tensor, features: dict[str, Tensor], epoch: int) -> None:
        """Take in one batch, after its loss was computed from the present labels.

        Args:
            index: int64 (batch,), positions in the train split, each at most once.
            features: float (batch, width) for ``fusion`` and each auxiliary task.
            epoch: counted from 1.
        """
