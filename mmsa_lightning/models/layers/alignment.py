"""Whether modalities are aligned step by step."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from mmsa_lightning.batch import Batch


def check_aligned(batch: Batch, modalities: Iterable[str], reason: str) -> None:
    """Check that modalities have equally many steps in every utterance.

    Args:
        batch: has all of these modalities.
        modalities: their names.
        reason: why they must be aligned; the message ends with it.

    Raises:
        ValueError: two of them differ in length.
    """
    first, *others = modalities
    for other in others:
        if not torch.equal(batch.sequence(first).lengths, batch.sequence(other).lengths):
            raise ValueError(f"{first} and {other} differ in length: {reason}")
