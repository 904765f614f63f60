"""The feature store: one HDF5 file of ragged sequences, read through a memory map.

Layout, for each split ``train``, ``valid`` and ``test``::

    /<split>/id                   (n,) UTF-8      "video$_$clip"
    /<split>/raw_text             (n,) UTF-8      where the source has it
    /<split>/label                (n,) float32    sentiment in [-3, 3]
    /<split>/unimodal/<modality>  (n,) float32    true per-modality labels, where they are known
    /<split>/<sequence>/values    (sum of lengths[, dim]) float32, or int32 for tokens
    /<split>/<sequence>/offsets   (n + 1,) int64

with ``<sequence>`` one of tokens, text, audio, vision. There is no padding on disk. The root's attribute ``meta`` is
a JSON object (see :class:`Meta`). ``values`` are contiguous, so that they are mapped and read without HDF5: several
workers share the page cache and nothing is loaded whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mmsa_lightning import files
from mmsa_lightning.errors import UserError

FORMAT = "mmsa-lightning store 1"
SPLITS = ("train", "valid", "test")
SEQUENCES = ("tokens", "text", "audio", "vision")


@dataclass
class Ragged:
    """n sequences end to end: ``values`` (sum of lengths[, dim]) and ``offsets`` int64 (n + 1,)."""

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_arrays(cls, arrays: Iterable[np.ndarray]) -> Ragged:
        """Join sequences of equal width."""
        arrays = list(arrays)
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int64)
        return cls(np.concatenate(arrays), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """int64 (n,)."""
        return np.diff(self.offsets)

    @property
    def dim(self) -> int | None:
        """Feature width; None for token ids."""
        return self.values.shape[1] if self.values.ndim == 2 else None


@dataclass
class Split:
    """The utterances of one split, in the source's order."""

    ids: list[str]
    label: np.ndarray
    sequences: dict[str, Ragged]
    raw_text: list[str] | None = None
    unimodal: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def aligned(self, names: Iterable[str]) -> bool:
        """Whether these sequences have the same steps in every utterance."""
        first, *others = (self.sequences[name].offsets for name in names)
        return all(np.array_equal(first, other) for other in others)


@dataclass
class Meta:
    """What a store says of itself.

    Attributes:
        dataset: ``mosi``, ``mosei``, ``demo`` or the user's own name.
        layout: the layout that the source was read as.
        source: the source's file or folder name.
        source_sha256: of the source's bytes.
        release: the published release that this SHA-256 is known for, or None.
        aligned: every sequence of an utterance has the same steps.
        vocabulary: the tokenizer's name, where there are tokens.
        report: one line for each thing that was found or put right at import.
        content_sha256: of all arrays, in order; what results call the data hash. Filled in by :func:`write`.
    """

    dataset: str
    layout: str
    source: str
    source_sha256: str
    release: str | None
    aligned: bool
    vocabulary: str | None
    report: list[str]
    content_sha256: str = ""


def write(path: Path, splits: dict[str, Split], meta: Meta) -> Meta:
    """Write a store beside its place, then move it there; an older store at ``path`` is replaced whole.

    Returns:
        ``meta`` with ``content_sha256``.

    Raises:
        UserError: the file cannot be written, or something that is no store is there. Nothing is left behind.
    """
    if path.exists() and not h5py.is_hdf5(path):
        raise UserError(f"{path} is there and is no store; choose another place for this one")
    digest = hashlib.sha256(f"aligned={meta.aligned}".encode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.aside(path) as temporary, h5py.File(temporary, "w") as file:
            for name in SPLITS:
                _write_split(file.create_group(name), splits[name], digest)
            meta.content_sha256 = digest.hexdigest()
            file.attrs["format"] = FORMAT
            file.attrs["meta"] = json.dumps(asdict(meta))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return meta


def _write_split(group: h5py.Group, split: Split, digest: Any) -> None:
    def put(name: str, array: np.ndarray) -> None:
        digest.update(f"{group.name}/{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
        group.create_dataset(name, data=array)

    def put_text(name: str, texts: list[str]) -> None:
        digest.update(f"{group.name}/{name} {json.dumps(texts)}".encode())
        group.create_dataset(name, data=texts, dtype=h5py.string_dtype())

    put_text("id", split.ids)
    if split.raw_text is not None:
        put_text("raw_text", split.raw_text)
    put("label", split.label.astype(np.float32))
    for modality, label in split.unimodal.items():
        put(f"unimodal/{modality}", label.astype(np.float32))
    for name, ragged in split.sequences.items():
        put(f"{name}/values", ragged.values.astype(np.int32 if name == "tokens" else np.float32, copy=False))
        put(f"{name}/offsets", ragged.offsets)


class Store:
    """A store opened for reading. It pickles as its path, so that each worker opens its own.

    Raises:
        UserError: there is no such file, or it is not a whole, consistent store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(
                f"no store at {self.path}; make one with: mmsa data import SOURCE --dataset NAME --out {self.path}"
            )
        try:
            with h5py.File(self.path, "r") as file:
                if file.attrs.get("format") != FORMAT:
                    raise _Malformed(f"its format is {file.attrs.get('format')!r}, not {FORMAT!r}")
                self.meta = Meta(**json.loads(file.attrs["meta"]))
                self.splits = {name: _read_split(_hard(file, name), self.path) for name in SPLITS}
                self._check_widths()
        except (_Malformed, OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{self.path} is not a usable store ({error}); import the source again") from error

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)

    def _check_widths(self) -> None:
        shapes = [{name: s.dim for name, s in split.sequences.items()} for split in self.splits.values()]
        if not shapes[0] or any(shape != shapes[0] for shape in shapes):
            raise _Malformed("its splits do not hold the same sequences")

    @property
    def dims(self) -> dict[str, int | None]:
        """Feature width of each sequence that the store has; None for tokens."""
        return {name: ragged.dim for name, ragged in self.splits["train"].sequences.items()}

    @property
    def modalities(self) -> list[str]:
        """Those of text, audio, vision that the store has."""
        present = {"text" if name == "tokens" else name for name in self.dims}
        return [m for m in ("text", "audio", "vision") if m in present]


class _Malformed(Exception):
    """The file breaks the layout."""


def _hard(parent: h5py.Group, name: str) -> Any:
    """A member that lies in this very file: soft and external links are refused."""
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise _Malformed(f"{parent.name}/{name} is missing or a link".replace("//", "/"))
    return parent[name]


def _read_split(group: h5py.Group, path: Path) -> Split:
    ids = [str(i) for i in _hard(group, "id").asstr()[:]]
    n = len(ids)
    raw_text = [str(t) for t in _hard(group, "raw_text").asstr()[:]] if "raw_text" in group else None
    label = _hard(group, "label")[:]
    unimodal = {m: _hard(_hard(group, "unimodal"), m)[:] for m in group.get("unimodal", ())}
    if label.shape != (n,) or any(u.shape != (n,) for u in unimodal.values()) or len(raw_text or ids) != n:
        raise _Malformed(f"{group.name} holds columns of different lengths")
    sequences = {name: _map_ragged(_hard(group, name), n, path) for name in SEQUENCES if name in group}
    return Split(ids, label, sequences, raw_text, unimodal)


def _map_ragged(group: h5py.Group, n: int, path: Path) -> Ragged:
    values, offsets = _hard(group, "values"), _hard(group, "offsets")[:]
    if offsets.shape != (n + 1,) or offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 1).any():
        raise _Malformed(f"{group.name}/offsets do not divide its values")
    if values.dtype not in (np.dtype(np.float32), np.dtype(np.int32)) or values.ndim not in (1, 2):
        raise _Malformed(f"{group.name}/values are {values.dtype} with {values.ndim} axes")
    start = values.id.get_offset()
    if start is None or values.external:
        raise _Malformed(f"{group.name}/values are not contiguous in the file")
    return Ragged(np.memmap(path, values.dtype, "r", start, values.shape), offsets)
