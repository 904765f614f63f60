"""One computational sequence of CMU's SDK: an HDF5 file ``.csd`` of one thing that was measured along videos.

``<name>/data/<video>/features`` (rows, width) and ``…/intervals`` (rows, 2) in seconds, and texts in
``<name>/metadata``, each a JSON value in an array of one string; see
https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK, ``mmsdk/mmdatasdk/computational_sequence``. An entry may also be
a segment ``VIDEO[3]``, as in files that the SDK aligned. The SDK writes ``md5`` as null and checks no hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mmsa_lightning.data import hdf5
from mmsa_lightning.data.formats.npz import FREELY, MOST
from mmsa_lightning.data.hdf5 import Malformed
from mmsa_lightning.errors import UserError


class Budget:
    """How many bytes a source may become in memory, all together: so many times its size, or a few if that is more."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.left = max(FREELY, MOST * sum(path.stat().st_size for path in paths))

    def spend(self, count: int, what: str) -> None:
        """Take ``count`` bytes.

        Raises:
            UserError: that is more than there may be.
        """
        self.left -= count
        if self.left < 0:
            raise UserError(f"{what} would take {count} bytes, and with the rest too much for files of this size")


@dataclass
class Entry:
    """What a sequence holds of one video.

    Attributes:
        features: numbers (rows, width), or a word a row.
        intervals: float64 (rows, 2), start and end in seconds.
    """

    features: np.ndarray
    intervals: np.ndarray

    def sorted(self) -> Entry:
        """In the order of the starts."""
        order = np.argsort(self.intervals[:, 0], kind="stable")
        return Entry(self.features[order], self.intervals[order])


class ComputationalSequence:
    """An opened ``.csd``, whose videos are read one at a time.

    Args:
        path: the file.
        budget: what all reading takes from.

    Attributes:
        names: its root's name, and the one in its metadata where that is another.
        videos: the entries of each video.
        dimensions: names of the features, where the metadata say them.

    Raises:
        UserError: the file is damaged or does not have this layout.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path = path
        self.budget = budget
        self.width: int | None = None
        with self._named():
            self.file = h5py.File(path, "r")
            roots = list(self.file)
            if len(roots) != 1:
                raise Malformed(f"it has {len(roots)} roots, and a computational sequence has one")
            root = hdf5.group(self.file, roots[0])
            self._data = hdf5.group(root, "data")
            self.videos: dict[str, list[str]] = {}
            for key in self._data:
                self.videos.setdefault(key.split("[")[0], []).append(key)
            if not self.videos:
                raise Malformed("it has no videos")
            metadata = hdf5.group(root, "metadata") if "metadata" in root else {}
            stated = _metadata(metadata, "root name")
            self.names = [roots[0], *([stated] if isinstance(stated, str) and stated != roots[0] else [])]
            named = _metadata(metadata, "dimension names")
            self.dimensions = [str(name) for name in named] if isinstance(named, list) else None
            first = hdf5.group(self._data, next(iter(self._data)))
            self.spoken = _is_text(hdf5.dataset(first, "features"))

    def close(self) -> None:
        self.file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # HDF5 raises nearly anything on a damaged file
            said = " ".join(str(error).split())
            raise UserError(f"{self.path} is not a usable computational sequence ({said})") from error

    def read(self, video: str) -> Entry:
        """Its features and intervals of ``video``, in the file's order.

        Raises:
            UserError: they do not fit each other or those of other videos, or an interval is none.
        """
        with self._named():
            parts = [self._entry(key) for key in self.videos[video]]
            return Entry(
                np.concatenate([part.features for part in parts]), np.concatenate([part.intervals for part in parts])
            )

    def _entry(self, key: str) -> Entry:
        group = hdf5.group(self._data, key)
        features, intervals = hdf5.dataset(group, "features"), hdf5.dataset(group, "intervals")
        if intervals.ndim != 2 or intervals.shape[1] != 2 or intervals.dtype.kind not in "iuf":
            raise Malformed(f"intervals of {key} are {intervals.dtype} of shape {intervals.shape}, not (rows, 2)")
        self._check_features(features, key)
        if len(features) != len(intervals):
            raise Malformed(f"{key} has {len(features)} rows of features, but {len(intervals)} intervals")
        for values in (features, intervals):
            if values.nbytes and not values.id.get_storage_size():
                raise Malformed(f"{values.name} was never written")
            self.budget.spend(values.nbytes, f"{self.path}: {values.name}")
        times = intervals[:].astype(np.float64)
        wrong = ~(np.isfinite(times).all(axis=1) & (times[:, 1] >= times[:, 0]))
        if wrong.any():
            row = int(wrong.argmax())
            raise Malformed(f"interval {row} of {key} goes from {times[row, 0]:g} to {times[row, 1]:g}")
        if self.spoken:
            return Entry(np.array(hdf5.strings(features, "replace"), dtype=object), times)
        return Entry(features[:], times)

    def _check_features(self, features: h5py.Dataset, key: str) -> None:
        text = _is_text(features)
        numbers = features.dtype.kind in "iuf" and features.dtype.itemsize <= 8
        if text != self.spoken or not (text or numbers):
            wanted = "words" if self.spoken else "numbers"
            raise Malformed(f"features of {key} are of dtype {features.dtype}, not {wanted}")
        width = features.shape[1] if features.ndim == 2 else None
        if not width or (text and width != 1):
            raise Malformed(f"features of {key} have shape {features.shape}, not (rows, {1 if text else 'width'})")
        self.width = self.width or width
        if width != self.width:
            raise Malformed(f"features of {key} have the width {width}, but others have {self.width}")


def _is_text(features: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(features.dtype) is not None


def _metadata(metadata: h5py.Group, key: str) -> object:
    """What the metadata say of ``key``: a JSON value, or a text that is none; None if it is not there."""
    if key not in metadata:
        return None
    value = hdf5.dataset(metadata, key)
    if value.shape != (1,):
        raise Malformed(f"{value.name} has shape {value.shape}, not that of one text")
    (text,) = hdf5.strings(value, "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
