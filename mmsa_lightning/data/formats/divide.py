"""Divide a source that comes as one list into train, valid and test."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from mmsa_lightning.data.source import Source
from mmsa_lightning.data.store import SPLITS
from mmsa_lightning.errors import UserError


def divide(source: Source, shares: tuple[float, float, float]) -> Source:
    """Give every video whole to one split, so that no speaker is in two; the same source divides the same way always.

    Args:
        source: with the one split ``all``.
        shares: of train, valid and test, such as (70, 15, 15); only their proportions count.

    Raises:
        UserError: the shares are not positive, or there are fewer than three videos.
    """
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise UserError("--split wants three numbers above 0, such as: --split 70 15 15")
    whole = source.splits["all"]
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(whole.ids):
        rows_of.setdefault(name.split("$_$")[0], []).append(row)
    if len(rows_of) < len(SPLITS):
        raise UserError(f"--split divides by video, and there are only {len(rows_of)} videos; it needs three at least")

    videos = sorted(rows_of, key=lambda video: hashlib.sha256(video.encode()).digest())  # any order but the source's
    rows: dict[str, list[int]] = {name: [] for name in SPLITS}
    target = {name: share / sum(shares) * len(whole.ids) for name, share in zip(SPLITS, shares, strict=True)}
    for turn, video in enumerate(videos):
        # One video for each split first, so that none stays empty; then to the one that lacks most.
        name = SPLITS[turn] if turn < len(SPLITS) else max(SPLITS, key=lambda s: target[s] - len(rows[s]))
        rows[name] += rows_of[video]
    counts = " / ".join(str(len(rows[name])) for name in SPLITS)
    return replace(
        source,
        splits={name: whole.take(sorted(rows[name])) for name in SPLITS},
        report=[*source.report, f"divided by video into {counts} utterances: not an official split"],
    )
