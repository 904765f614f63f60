"""Computational sequences as CMU's SDK writes them (``mmsdk/mmdatasdk/computational_sequence/file_ops.py``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Entries = Mapping[str, tuple[Any, Any]]


def write(path: Path, name: str, entries: Entries, compression: str | None = "gzip", **metadata: Any) -> Path:
    """A ``.csd`` at ``path``: for each video its features and intervals, and metadata as JSON."""
    with h5py.File(path, "w") as file:
        root = file.create_group(name)
        for video, (features, intervals) in entries.items():
            group = root.create_group(f"data/{video}")
            group.create_dataset("features", data=features, compression=compression)
            group.create_dataset("intervals", data=np.asarray(intervals, np.float64), compression=compression)
        for key, value in {"root name": name, "md5": None, **metadata}.items():
            text = root.create_dataset(f"metadata/{key}", (1,), dtype=h5py.string_dtype())
            text[0] = json.dumps(value)
    return path


def words(spoken: str) -> np.ndarray:
    """(n, 1) of bytes, as in the SDK's words."""
    return np.array([word.encode() for word in spoken.split()])[:, None]


def regular(start: float, rate: float, count: int) -> np.ndarray:
    """(count, 2): frames end to end, ``rate`` a second."""
    edges = start + np.arange(count + 1) / rate
    return np.stack([edges[:-1], edges[1:]], axis=1)
