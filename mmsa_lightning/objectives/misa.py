"""What MISA is trained on: the squared error, and three terms that make shared vectors alike and private ones differ.

Hazarika et al., *MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment Analysis*, ACM MM
2020, section Learning; as computed by declare-lab/MISA, ``src/solver.py`` and ``src/utils/functions.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import torch
from torch import Tensor

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.base import Loss, Objective

PARTS = ("private", "shared", "projected", "reconstructed")
EPSILON = 1e-6


def difference(x: Tensor, y: Tensor) -> Tensor:
    """How far two representations are from orthogonal: ‖XᵀY‖² / d², rows of X and Y with zero mean and unit length.

    The paper prints ‖XᵀY‖². The original code takes the mean over the d² entries, and the published weight belongs to
    that. As there, no gradient flows through the lengths.

    Args:
        x, y: float32 (batch, d).
    """
    correlation = _unit_rows(x - x.mean(dim=0)).T @ _unit_rows(y - y.mean(dim=0))  # (d, d)
    return correlation.square().mean()


def _unit_rows(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True).detach() + EPSILON)


def central_moment_discrepancy(x: Tensor, y: Tensor, moments: int) -> Tensor:
    """CMD: ‖E(X) - E(Y)‖ + Σ_k ‖C_k(X) - C_k(Y)‖ over the central moments k = 2 to ``moments``, of values in [0, 1].

    A norm that is zero has gradient zero: in a batch of one, all central moments are zero.

    Args:
        x, y: float32 (batch, d), such as a sigmoid gives.
    """
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    total = torch.linalg.vector_norm(mean_x - mean_y)
    for k in range(2, moments + 1):
        c_x, c_y = (x - mean_x).pow(k).mean(dim=0), (y - mean_y).pow(k).mean(dim=0)
        total = total + torch.linalg.vector_norm(c_x - c_y)
    return total


class MISALoss(Objective):
    """L = L_task + w_diff L_diff + w_sim L_sim + w_recon L_recon.

    L_task is the mean squared error. L_diff sums :func:`difference` over each modality's private and shared vectors and
    over each pair of private ones; L_sim is the mean of :func:`central_moment_discrepancy` over each pair of shared
    ones; L_recon is the mean over the modalities of the squared error with which the decoder gives back a modality's
    projected vector.

    Args:
        diff_weight: β in the paper.
        sim_weight: α.
        recon_weight: γ.
        moments: K of the discrepancy.

    Raises:
        ValueError: a weight below 0; ``moments`` below 1.
    """

    def __init__(self, *, diff_weight: float, sim_weight: float, recon_weight: float, moments: int) -> None:
        super().__init__()
        if min(diff_weight, sim_weight, recon_weight) < 0:
            raise ValueError("diff_weight, sim_weight and recon_weight must be at least 0")
        if moments < 1:
            raise ValueError(f"moments={moments}: give a number from 1")
        self.moments = moments
        self.weights = {"multimodal": 1.0, "diff": diff_weight, "sim": sim_weight, "recon": recon_weight}

    def setup(self, labels: Tensor, feature_widths: dict[str, int]) -> None:
        """Check that the model gives what the terms are made of.

        Raises:
            ValueError: it does not, or for one modality alone.
        """
        modalities = _modalities(feature_widths)
        needed = {f"{part}_{m}" for part in PARTS for m in modalities}
        if len(modalities) < 2 or not needed <= set(feature_widths):
            raise ValueError(
                f"this objective needs a model's feature_widths: {', '.join(f'{part}_*' for part in PARTS)} for each "
                "of at least two modalities"
            )

    def forward(self, output: ModelOutput, batch: Batch, epoch: int) -> Loss:
        with torch.autocast(batch.label.device.type, enabled=False):
            features = {name: full(feature) for name, feature in output.features.items()}
            private, shared, projected, reconstructed = (
                [features[f"{part}_{m}"] for m in _modalities(features)] for part in PARTS
            )
            orthogonal = [*zip(private, shared, strict=True), *combinations(private, 2)]
            similar = [*combinations(shared, 2)]
            terms = {
                "multimodal": (full(output.prediction) - batch.label).square().mean(),
                "diff": torch.stack([difference(x, y) for x, y in orthogonal]).sum(),
                "sim": torch.stack([central_moment_discrepancy(x, y, self.moments) for x, y in similar]).mean(),
                "recon": torch.stack(
                    [(x - y).square().mean() for x, y in zip(reconstructed, projected, strict=True)]
                ).mean(),
            }
            weights = {name: torch.full_like(terms[name], weight) for name, weight in self.weights.items()}
            total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return Loss(total, terms, weights)


def _modalities(features: Iterable[str]) -> list[str]:
    """Of which modalities there is a private vector."""
    return [name.removeprefix("private_") for name in features if name.startswith("private_")]
