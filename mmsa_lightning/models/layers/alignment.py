"""Whether modalities go step by step with each other."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from mmsa_lightning.batch import Batch


def check_aligned(batch: Batch, modalities: Iterable[str], reason: str) -> None:
    """See whether modalities have as many steps as each other in every utterance.

    Args:
        batch: with all of them.
        modalities: which.
        reason: what needs them to, in the words of the message.

    Raises:
        ValueError: two of them differ in length.
    """
    first, *others = modalities
    for other in others:
        if not torch.equal(batch.sequence(first).lengths, batch.sequence(other).lengths):
            raise ValueError(f"{first} and {other} differ in length: {reason}")
