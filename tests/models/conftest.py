from __future__ import annotations

from typing import Any

import pytest

from mmsa_lightning.batch import Batch


@pytest.fixture
def features(batch_of: Any) -> Batch:
    """Four utterances, text as features (20), audio (5) of other lengths than the rest, vision (20)."""
    batch = batch_of([6, 3, 1, 5], audio_lengths=[9, 2, 4, 11])
    batch.text, batch.tokens = batch_of([6, 3, 1, 5], seed=1).vision, None
    return batch
