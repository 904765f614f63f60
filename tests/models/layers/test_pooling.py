from __future__ import annotations

import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.pooling import Pooling


def test_mean_leaves_padding_out(batch: Batch) -> None:
    assert batch.audio is not None
    values = batch.audio.values + 100 * ~batch.audio.mask[..., None]  # padding that is not zero
    pooled = Pooling("mean", 5)(values, batch.audio.mask)
    for i, n in enumerate(batch.audio.lengths.tolist()):
        torch.testing.assert_close(pooled[i], values[i, :n].mean(dim=0))


def test_cls_is_the_first_step(batch: Batch) -> None:
    assert batch.audio is not None
    assert torch.equal(Pooling("cls", 5)(batch.audio.values, batch.audio.mask), batch.audio.values[:, 0])


def test_attention_weights_real_steps_by_a_learned_score(batch: Batch) -> None:
    assert batch.audio is not None
    pooling = Pooling("attention", 5)
    assert pooling.score is not None
    values = batch.audio.values + 100 * ~batch.audio.mask[..., None]
    pooled = pooling(values, batch.audio.mask)
    for i, n in enumerate(batch.audio.lengths.tolist()):
        weights = pooling.score(values[i, :n]).squeeze(-1).softmax(dim=0)
        torch.testing.assert_close(pooled[i], weights @ values[i, :n])


def test_an_unknown_mode_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"mean.*cls.*attention"):
        Pooling("max", 5)
