"""Packing, and attention over what is packed. Whole encoders: test_text_encoder.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.packing import Packing, _attend, whole_tiles


@pytest.mark.parametrize("biased", [False, True])
def test_attention_with_dropout_is_that_without_but_for_what_is_dropped(biased: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 6, 5, dtype=torch.double).unbind()
    allowed = (torch.arange(6) < torch.tensor([6, 1, 3, 5])[:, None])[:, None, None]
    bias = torch.randn(1, 2, 6, 6, dtype=torch.double) if biased else None
    plain, nearly = (_attend(query, key, value, allowed, p, bias) for p in (0.0, 1e-9))
    torch.testing.assert_close(nearly, plain, rtol=0, atol=1e-8)


def test_packing_and_unpacking(batch: Batch) -> None:
    assert batch.audio is not None
    packing = Packing(batch.audio)
    packed = packing.pack(batch.audio.values)
    assert packed.shape == (1, 15, 5)
    assert packing.positions.tolist() == [[*range(6), *range(3), 0, *range(5)]]
    assert torch.equal(packed[0, 6:9], batch.audio.values[1, :3])
    assert torch.equal(packing.first(packed), batch.audio.values[:, 0])
    assert torch.equal(packing.unpack(packed), batch.audio.values)


@pytest.mark.parametrize(("lengths", "kept"), [([40, 3, 1, 10], 64), ([40, 40, 40], 120), ([20, 12], 32), ([9, 8], 18)])
def test_whole_tiles_are_the_real_steps_and_some_padding(lengths: list[int], kept: int) -> None:
    """Up to a multiple of 32, or all that there is."""
    sequence = Padded.from_arrays([np.ones(n, int) for n in lengths])
    tiles = whole_tiles(sequence)
    assert int(tiles.sum()) == kept
    assert (tiles | ~sequence.mask).all()
    assert Packing(sequence).rows.numel() == sum(lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Packing(sequence).rows, tiles.flatten().nonzero().squeeze(1))
