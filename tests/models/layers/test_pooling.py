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


@pytest.mark.parametrize("mode", ["mean", "attention"])
@pytest.mark.parametrize("precision", ["64 bits", "bf16 autocast", "bf16 values"])
def test_weights_are_as_exact_as_the_precision_allows(mode: str, precision: str) -> None:
    """Against a mean in 64 bits, of 11 to 400 steps about 100: in bf16 1/11 alone is .15 % off."""
    torch.manual_seed(0)
    lengths = torch.tensor([11, 400, 77])
    mask = torch.arange(400) < lengths[:, None]
    values = 100 + torch.randn(3, 400, 8, dtype=torch.float64)
    pooling = Pooling(mode, 8)
    if pooling.score is not None:  # a score that is the same for all, and known in any precision
        torch.nn.init.zeros_(pooling.score.weight)
    dtype = {"64 bits": torch.float64, "bf16 autocast": torch.float32, "bf16 values": torch.bfloat16}[precision]
    values = values.to(dtype)
    if precision == "64 bits":
        pooling.double()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision != "64 bits"):
        pooled = pooling(values, mask)
    assert pooled.dtype == torch.promote_types(dtype, torch.float32)
    expected = torch.stack([values[i, :n].double().mean(dim=0) for i, n in enumerate(lengths.tolist())])
    within = 1e-12 if precision == "64 bits" else 1e-6
    torch.testing.assert_close(pooled.double(), expected, rtol=within, atol=0)


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


@pytest.mark.parametrize("mode", ["mean", "cls", "attention"])
def test_of_attended_is_the_pool_of_what_was_attended_to(batch: Batch, mode: str) -> None:
    assert batch.audio is not None and batch.vision is not None
    pooling, mask = Pooling(mode, 20), batch.audio.mask
    weights = torch.rand(4, 6, 6, generator=torch.Generator().manual_seed(1))
    expected = pooling(weights @ batch.vision.values, mask)
    torch.testing.assert_close(pooling.of_attended(weights, batch.vision.values, mask), expected)


def test_an_unknown_mode_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"mean.*cls.*attention"):
        Pooling("max", 5)
