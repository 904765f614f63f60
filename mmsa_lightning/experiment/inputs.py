"""What is known of each training utterance before training, one modality at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Padded
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.models.layers.pooling import masked_mean
from mmsa_lightning.models.layers.text_encoder import TextEncoder

TOGETHER = 64  # utterances


@torch.no_grad()
def unimodal_inputs(model: nn.Module, data: StoreDataModule) -> dict[str, Tensor]:
    """Of each modality a vector for each training utterance, as the model reads it before it is trained.

    Tokens: the mean over the last layer of the model's pretrained text encoder. Features: mean and standard deviation
    over an utterance's steps. What is missing in single epochs of training is there.

    Returns:
        for each modality float32 (n, width), on the CPU.
    """
    encoder = next((m for m in model.modules() if isinstance(m, TextEncoder)), None)
    training = model.training
    model.eval()  # without dropout, and without random numbers
    train, found = data.split("train", drawn=False), {m: [] for m in data.dims}  # type: ignore[var-annotated]
    for start in range(0, len(train), TOGETHER):
        batch = train[list(range(start, min(start + TOGETHER, len(train))))]
        for modality, dim in data.dims.items():
            sequence = batch.sequence(modality)
            if dim is None:
                assert encoder is not None
                found[modality].append(masked_mean(encoder(sequence), sequence.mask))
            else:
                found[modality].append(_moments(sequence))
    model.train(training)
    return {modality: torch.cat(vectors) for modality, vectors in found.items()}


def _moments(sequence: Padded) -> Tensor:
    """Mean and standard deviation over the real steps: float (batch, time, dim) -> (batch, 2 dim)."""
    mean = masked_mean(sequence.values, sequence.mask)
    squares = masked_mean((sequence.values - mean.unsqueeze(1)).square(), sequence.mask)
    return torch.cat([mean, squares.sqrt()], dim=-1)
