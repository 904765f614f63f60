"""Sequences of like length, in groups: attention costs each about the square of its own length, no longer one's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

START = 64 * 64  # a group's own cost, in scores: to start the kernels of an attention takes as long as so many


def like_lengths(lengths: Tensor) -> list[Tensor]:
    """Cut sequences into the groups that cost least, where one of n sequences costs n · longest² scores and a start.

    Args:
        lengths: int64 (batch,), each at least 1.

    Returns:
        of each group the places of its sequences in the batch, int64; each group's are shorter than the next one's.
    """
    values, counts = np.unique(lengths.numpy(), return_counts=True)  # sequences of one length stay together
    ends = np.concatenate([[0], counts.cumsum()])
    cost, begin = np.zeros(len(ends)), np.zeros(len(ends), int)  # of the best cut of the j shortest lengths
    for j in range(1, len(ends)):
        costs = cost[:j] + (ends[j] - ends[:j]) * values[j - 1] ** 2 + START
        begin[j] = costs.argmin()
        cost[j] = costs[begin[j]]
    j, sizes = len(values), []
    while j:
        sizes.append(int(ends[j] - ends[begin[j]]))
        j = int(begin[j])
    return list(torch.argsort(lengths, stable=True).split(sizes[::-1]))
