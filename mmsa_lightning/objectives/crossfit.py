"""Labels from what one modality says of an utterance that it was not fitted to.

ULGM reads its labels off the features of the model that it trains. As that model comes to fit the training utterances,
the features say less of the modality and more of y_m. Here each modality is fitted once, before training, and asked
only about utterances that were left out of the fit. No paper has this; ``experiments/README.md`` compares the labels
with true ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmsa_lightning.objectives.base import Inputs
from mmsa_lightning.objectives.generator import LabelGenerator

LANDMARKS = 1024  # utterances that a kernel is spanned by; more than these cost time and gain nothing
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)  # of the Gaussian kernel, against the median squared distance
PENALTIES = tuple(10 ** (k / 3 - 1) for k in range(10))  # from 0.1 to 100
TINY = 1e-8


class CrossFit(LabelGenerator):
    """y_s = y_m + r_s (p_s - y_m), on the scale of y_m.

    p_s is :func:`held_out`: what modality s alone predicts for an utterance from all others. r_s, the correlation of
    p_s with y_m, is how far the modality is believed: where it predicts nothing, y_m stands. No true label is read,
    and the labels stay as they are from the first epoch to the last. They are not clamped.
    """

    def begin(self, inputs: Inputs) -> None:
        features, truth = inputs(), self.label("fusion")
        for task in self.tasks:
            if task in features:
                self.label(task).copy_(mixed(truth, held_out(features[task], truth)))


def mixed(label: Tensor, predicted: Tensor) -> Tensor:
    """A label moved towards its prediction by their correlation, with the mean and the deviation that it had.

    Args:
        label: float (n,).
        predicted: float64 (n,); where it is constant, the label comes back.

    Returns:
        float64 (n,).
    """
    label = label.double()
    x, y = predicted - predicted.mean(), label - label.mean()
    lengths = x.norm() * y.norm()
    weight = (x @ y / lengths).clamp_min(0) if lengths > TINY else x.new_zeros(())
    mix = y + weight * (x - y)
    return label.mean() + mix * (y.norm() / mix.norm().clamp_min(TINY))


def held_out(features: Tensor, label: Tensor) -> Tensor:
    """For each utterance the prediction of a kernel ridge regression that was fitted to all others.

    The kernel is Gaussian over standardised features. Of all :data:`BANDWIDTHS` and :data:`PENALTIES` those count that
    have the least squared error on what was left out. Where there are more utterances than :data:`LANDMARKS`, the
    kernel is spanned by that many of them (Nyström). An utterance is left out exactly, without a fit of its own: its
    residual is divided by one minus its leverage.

    Args:
        features: float (n, width).
        label: float (n,).

    Returns:
        float64 (n,).
    """
    x, y = features.double(), label.double()
    n, mean = len(y), y.mean()
    deviation = x.std(dim=0, correction=0)
    x = (x - x.mean(dim=0)) / torch.where(deviation > TINY, deviation, 1.0)
    marks = x[torch.linspace(0, n - 1, min(n, LANDMARKS), device=x.device).long()]
    to_marks, between = torch.cdist(x, marks).square(), torch.cdist(marks, marks).square()
    scale = between.median().clamp_min(TINY)
    best, least = mean.expand(n), torch.inf
    for bandwidth in BANDWIDTHS:
        values, vectors = torch.linalg.eigh((-bandwidth / scale * between).exp())
        kept = values > TINY
        spanned = (-bandwidth / scale * to_marks).exp() @ (vectors[:, kept] / values[kept].sqrt())
        spanned = spanned - spanned.mean(dim=0)
        values, vectors = torch.linalg.eigh(spanned.T @ spanned)
        rotated = spanned @ vectors
        projected, squares = rotated.T @ (y - mean), rotated.square()
        for penalty in PENALTIES:
            shrunk = 1 / (values.clamp_min(0) + penalty)
            leverage = squares @ shrunk + 1 / n
            predicted = y - (y - mean - rotated @ (projected * shrunk)) / (1 - leverage).clamp_min(TINY)
            error = float((predicted - y).square().mean())
            if error < least:
                best, least = predicted, error
    return best
