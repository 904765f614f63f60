"""Find on which side sequences are padded, and take the padding away."""

from __future__ import annotations

import numpy as np


def occupied(values: np.ndarray) -> np.ndarray:
    """bool (n, time): steps of ``values`` (n, time, dim) that are not all zero. NaN and infinities are not zero."""
    return np.asarray(values.any(axis=-1))


def found_side(splits: list[np.ndarray]) -> str:
    """``left``, ``right`` or ``none``: the side on which more utterances have empty steps.

    Args:
        splits: bool (n, time) of each split; utterances that are empty throughout do not count.
    """
    some = [steps[steps.any(axis=1)] for steps in splits if steps.size]
    left, right = (sum(int((~steps[:, edge]).sum()) for steps in some) for edge in (0, -1))
    if left == right == 0:
        return "none"
    return "left" if left > right else "right"


def found_lengths(steps: np.ndarray, side: str) -> np.ndarray:
    """int64 (n,): lengths up to the outermost occupied step, empty steps before it included."""
    time = steps.shape[1]
    if side == "none" or time == 0:
        return np.where(steps.any(axis=1), time, 0)
    inward = steps if side == "left" else steps[:, ::-1]
    return np.where(steps.any(axis=1), time - inward.argmax(axis=1), 0)


def outside(steps: np.ndarray, lengths: np.ndarray, side: str) -> np.ndarray:
    """bool (n,): utterances with an occupied step outside their ``lengths`` when padded on ``side``."""
    time = steps.shape[1]
    place = np.arange(time)
    padding = place < time - lengths[:, None] if side == "left" else place >= lengths[:, None]
    return np.asarray((steps & padding).any(axis=1))


def stated_side(splits: list[np.ndarray], lengths: list[np.ndarray]) -> tuple[str, int]:
    """The side of the padding if the true lengths are known: the side where fewer utterances have values beyond them.

    Returns:
        ``left``, ``right`` or ``none``, and how many utterances have values in the padding on that side.
    """
    pairs = list(zip(splits, lengths, strict=True))
    if all((length >= steps.shape[1]).all() for steps, length in pairs):
        return "none", 0
    left, right = (sum(int(outside(*pair, side).sum()) for pair in pairs) for side in ("left", "right"))
    return ("left", left) if left < right else ("right", right)


def strip(values: np.ndarray, lengths: np.ndarray, side: str) -> list[np.ndarray]:
    """The n sequences (length, dim) without their padding."""
    if side == "left":
        return [row[len(row) - length :] for row, length in zip(values, lengths, strict=True)]
    return [row[:length] for row, length in zip(values, lengths, strict=True)]
