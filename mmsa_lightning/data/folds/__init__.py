"""The official folds of videos, as CMU's SDK publishes them.

``mosi.csv`` and ``mosei.csv`` hold the video ids of ``standard_train_fold``, ``standard_valid_fold`` and
``standard_test_fold`` in https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK,
``mmsdk/mmdatasdk/dataset/standard_datasets``: 52 / 10 / 31 videos of MOSI and 2249 / 300 / 678 of MOSEI.
"""

from __future__ import annotations

import csv
from pathlib import Path


def folds(dataset: str) -> dict[str, str] | None:
    """The split of each video: train, valid or test; None for data that have no official folds.

    Args:
        dataset: ``mosi`` or ``mosei``; any other has none.
    """
    if dataset not in ("mosi", "mosei"):
        return None
    with Path(__file__).with_name(f"{dataset}.csv").open(encoding="utf-8", newline="") as file:
        return {row["video"]: row["split"] for row in csv.DictReader(file)}
