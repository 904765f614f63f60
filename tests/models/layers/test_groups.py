"""Groups of like length, against every way to cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mmsa_lightning.models.layers import groups
from mmsa_lightning.models.layers.groups import like_lengths


def costs(parts: list[list[int]], start: int) -> int:
    return sum(len(part) * max(part) ** 2 + start for part in parts)


@pytest.mark.parametrize("start", [0, 1, 20, 100, 4096])
def test_no_other_cut_costs_less(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "START", start)
    rng = np.random.default_rng(start)
    for _ in range(20):
        lengths = rng.integers(1, rng.choice([4, 30, 200]), 8)
        found = like_lengths(torch.from_numpy(lengths))
        assert torch.cat(found).sort().values.tolist() == list(range(8))
        parts = [lengths[some.numpy()].tolist() for some in found]
        assert [n for part in parts for n in part] == sorted(lengths)
        ordered = sorted(lengths.tolist())
        ways = [
            [ordered[a:b] for a, b in itertools.pairwise([0, *cuts, 8])]
            for n in range(8)
            for cuts in itertools.combinations(range(1, 8), n)
        ]
        assert costs(parts, start) == min(costs(way, start) for way in ways)


@pytest.mark.parametrize("lengths", [[1], [5, 5, 5], [3, 4, 2]])
def test_what_is_alike_stays_together(lengths: list[int]) -> None:
    assert len(like_lengths(torch.tensor(lengths))) == 1
