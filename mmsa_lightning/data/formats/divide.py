"""Divide a source that comes as one list, or without a test split, into train, valid and test."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from mmsa_lightning.data.source import Source
from mmsa_lightning.data.store import SPLITS
from mmsa_lightning.errors import UserError


def divide(source: Source, shares: tuple[float, float, float]) -> Source:
    """Give every video as a whole to one split. The same source always divides the same way.

    An id names its video before ``$_$``; one without counts as a video of its own, and the report says so.

    Args:
        source: with the one split ``all``, which becomes three; or with train and valid, whose valid becomes two.
        shares: of train, valid and test, such as (70, 15, 15); only their proportions count.

    Raises:
        UserError: the shares are not positive, or there are fewer videos than splits to make.
    """
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise UserError("--split wants three numbers above 0, such as: --split 70 15 15")
    share = dict(zip(SPLITS, shares, strict=True))
    if "all" not in source.splits:
        del share["train"]
    name = "all" if "all" in source.splits else "valid"
    whole = source.splits[name]
    rows_of: dict[str, list[int]] = {}
    for row, utterance in enumerate(whole.ids):
        rows_of.setdefault(utterance.split("$_$")[0], []).append(row)
    if len(rows_of) < len(share):
        raise UserError(
            f"--split divides {name} by video into {', '.join(share)}, and there are only {len(rows_of)} videos"
        )

    videos = sorted(rows_of, key=lambda video: hashlib.sha256(video.encode()).digest())  # any order but the source's
    rows: dict[str, list[int]] = {part: [] for part in share}
    target = {part: part_share / sum(share.values()) * len(whole.ids) for part, part_share in share.items()}
    for turn, video in enumerate(videos):
        # One video for each split first, so that none stays empty; then to the one that lacks most.
        part = list(share)[turn] if turn < len(share) else max(share, key=lambda s: target[s] - len(rows[s]))
        rows[part] += rows_of[video]
    counts = ", ".join(f"{part} {len(rows[part])}" for part in share)
    told = f"{name} divided by video into {counts} utterances: not an official split"
    if nameless := [id for id in whole.ids if "$_$" not in id]:
        told += (
            f". {len(nameless)} of {len(whole.ids)} ids do not say which video they are of, as VIDEO$_$CLIP does, such "
            f"as {nameless[0]}: each was taken as a video of its own, and two clips of one may lie in two splits"
        )
    kept = {split: found for split, found in source.splits.items() if split != name}
    return replace(
        source,
        splits=kept | {part: whole.take(sorted(rows[part])) for part in share},
        report=[*source.report, told],
    )
