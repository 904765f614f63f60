"""Packing, and attention over what is packed. Whole encoders: test_text_encoder.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.packing import Packing, attend, whole_tiles


def test_packing_and_unpacking(batch: Batch) -> None:
    """Of 6, 3, 1 and 5 steps, from the shortest to the longest."""
    assert batch.audio is not None
    packing = Packing(batch.audio)
    packed = packing.pack(batch.audio.values)
    assert packed.shape == (1, 15, 5)
    assert packing.positions.tolist() == [[0, *range(3), *range(5), *range(6)]]
    assert torch.equal(packed[0, 1:4], batch.audio.values[1, :3])
    assert torch.equal(packing.first(packed), batch.audio.values[:, 0])
    assert torch.equal(packing.unpack(packed), batch.audio.values)


LENGTHS = [12, 300, 7, 40, 9, 7, 41, 38, 11, 298]


def random(lengths: list[int]) -> tuple[Packing, Tensor]:
    """A packing, and query, key and value: double (3, 1, 2 heads, tokens, 5)."""
    torch.manual_seed(0)
    packing = Packing(Padded.from_arrays([np.zeros(n, np.int64) for n in lengths]))
    return packing, torch.randn(3, 1, 2, sum(lengths), 5, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("biased", [False, True])
def test_attention_in_groups_is_that_of_each_sequence_alone(biased: bool, window: int | None) -> None:
    packing, made = random(LENGTHS)
    assert [len(group.mask) for group in packing.groups] == [5, 3, 2]
    bias = torch.randn(1, 2, 300, 300, dtype=torch.double) if biased else None
    alone = []
    for query, key, value in zip(*(x.split(sorted(LENGTHS), dim=2) for x in made), strict=True):
        n = query.shape[2]
        scores = torch.zeros(1, 2, n, n, dtype=torch.double) if bias is None else bias[:, :, :n, :n]
        if window:
            apart = torch.arange(n)[:, None] - torch.arange(n)
            scores = scores.masked_fill(apart.abs() >= window, float("-inf"))
        alone.append(torch.nn.functional.scaled_dot_product_attention(query, key, value, scores).transpose(1, 2))
    found = attend(*made, packing, 0.0, bias=bias, window=window)
    expected = torch.cat(alone, dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.double).view_as(found)
    grads = [torch.autograd.grad((x * weights).sum(), made)[0] for x in (found, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


def test_what_attention_keeps_follows_each_sequence() -> None:
    """In training it keeps a few numbers for each score: of each sequence alone, not of all padded to the longest."""
    lengths = [*range(20, 51), 345]  # as in the longest batch of MOSEI
    packing, made = random(lengths)
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attend(*made, packing, 0.1)
    alone = 2 * sum(n**2 for n in lengths)  # for two heads
    assert 3 * alone < sum(kept.values()) < 4 * alone + 10 * made.numel()
    assert 4 * alone + 10 * made.numel() < 2 * 32 * 345**2 / 3


@pytest.mark.parametrize(("lengths", "kept"), [([40, 3, 1, 10], 64), ([40, 40, 40], 120), ([20, 12], 32), ([9, 8], 18)])
def test_whole_tiles_are_the_real_steps_and_some_padding(lengths: list[int], kept: int) -> None:
    """Up to a multiple of 32, or all that there is."""
    sequence = Padded.from_arrays([np.ones(n, int) for n in lengths])
    tiles = whole_tiles(sequence)
    assert int(tiles.sum()) == kept
    assert (tiles | ~sequence.mask).all()
    assert Packing(sequence).rows.numel() == sum(lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Packing(sequence).rows.sort().values, tiles.flatten().nonzero().squeeze(1))
