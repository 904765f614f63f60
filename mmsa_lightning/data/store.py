"""The feature store: one HDF5 file of ragged sequences, each read when it is asked for.

Layout, for each split ``train``, ``valid`` and ``test``::

    /<split>/id                   (n,) UTF-8      "video$_$clip"
    /<split>/raw_text             (n,) UTF-8      where the source has it
    /<split>/label                (n,) float32    sentiment, in the range that ``meta`` states
    /<split>/unimodal/<modality>  (n,) float32    true per-modality labels, NaN where one is not known
    /<split>/<sequence>/values    (sum of lengths[, dim]) float32, or int32 for tokens
    /<split>/<sequence>/offsets   (n + 1,) int64

with ``<sequence>`` one of tokens, text, audio, vision. There is no padding on disk. The root's attribute ``meta`` is
a JSON object (see :class:`Meta`). ``values`` are contiguous, so that a sequence is one read of the file, without HDF5:
several workers share the page cache, and a store of any size costs a process next to no memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, get_type_hints

import h5py
import numpy as np

from mmsa_lightning import files
from mmsa_lightning.annotations import fits
from mmsa_lightning.data import extraction, hdf5
from mmsa_lightning.data.extraction import Extraction
from mmsa_lightning.data.hdf5 import Malformed
from mmsa_lightning.data.ragged import Ragged, Stored
from mmsa_lightning.data.releases import protocol
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES

FORMATS = "mmsa-lightning store"  # how the format of every version begins
FORMAT = f"{FORMATS} 1"
SPLITS = ("train", "valid", "test")
UNSTATED = (-3.0, 3.0)  # label range of stores and runs from before it was kept
SEQUENCES = ("tokens", "text", "audio", "vision")


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
        first, *others = (self.sequences[name].lengths for name in names)
        return all(np.array_equal(first, other) for other in others)


@dataclass
class Meta:
    """What a store says of itself.

    Attributes:
        dataset: ``mosi``, ``mosei``, ``sims``, ``demo`` or the user's own name.
        layout: the layout that the source was read as.
        source: the source's file or folder name.
        source_sha256: of the source's bytes.
        release: the published release that this SHA-256 is known for, or None.
        aligned: every sequence of an utterance has the same steps.
        vocabulary: the tokenizer's name, where there are tokens.
        report: one line for each thing that was found or put right at import.
        label_range: the lowest and the highest label that there can be; [-3, 3] in stores that do not say it.
        content_sha256: of all arrays, in order, and of the range; what results call the data hash. Filled in by
            :func:`write`.
        vocabulary_sha256: of its pieces and their ids, where the tokenizer was at hand.
        vocabulary_assumed: the source has tokens, and nobody said of which vocabulary.
        lower_cased: the text was put in lower case for the tokenizer; ``raw_text`` is as it was written.
        feature_names: of each feature, by modality, where the source says them.
        extraction: how the features were made of videos, where they were.
        range_found: nobody said which labels there can be: the range is that of the labels found.
    """

    dataset: str
    layout: str
    source: str
    source_sha256: str
    release: str | None
    aligned: bool
    vocabulary: str | None
    report: list[str]
    label_range: list[float] = field(default_factory=lambda: list(UNSTATED))
    content_sha256: str = ""
    vocabulary_sha256: str | None = None
    vocabulary_assumed: bool = False
    lower_cased: bool = False
    feature_names: dict[str, list[str]] = field(default_factory=dict)
    extraction: Extraction | None = None
    range_found: bool = False

    @property
    def label_limit(self) -> float:
        """The largest absolute value of the range."""
        return max(abs(bound) for bound in self.label_range)

    @property
    def protocol(self) -> str:
        """The name of the protocol that the data are measured by."""
        return protocol(self.dataset, self.label_range)


def write(path: Path, splits: dict[str, Split], meta: Meta) -> Meta:
    """Write a store to a temporary file and rename it to ``path``; an older one of its data set is replaced whole.

    Returns:
        ``meta`` with ``content_sha256``.

    Raises:
        UserError: the file cannot be written, or something that is no store, or one of another data set, is there.
            Nothing is left behind.
    """
    if path.exists() and not _is_store(path):
        raise UserError(f"{path} exists and is not a store; choose another place for this one")
    if (there := held(path)) and there.dataset != meta.dataset:
        raise UserError(f"{path} holds {there.dataset}, not {meta.dataset}; choose another place, or remove it first")
    digest = hashlib.sha256(f"aligned={meta.aligned}".encode())
    if tuple(meta.label_range) != UNSTATED:  # keeps the hash of older stores as it was
        digest.update(f"label_range={meta.label_range}".encode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.aside(path) as temporary:
            with h5py.File(temporary, "w") as file:
                _reserve(temporary, splits.values())
                for name in SPLITS:
                    _write_split(file.create_group(name), splits[name], digest)
                meta.content_sha256 = digest.hexdigest()
                file.attrs["format"] = FORMAT
                file.attrs["meta"] = json.dumps(asdict(meta))
                file.flush()
                size = file.id.get_filesize()
            os.truncate(temporary, size)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return meta


def held(path: Path) -> Meta | None:
    """What a store says of itself; None where there is none that this version reads."""
    try:
        return Store(path).meta
    except UserError:
        return None


def _is_store(path: Path) -> bool:
    """Whether a file says that it is a store, of this version or another: such a one may be replaced."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("format")).startswith(FORMATS)
    except OSError:
        return False


def _reserve(path: Path, splits: Iterable[Split]) -> None:
    """Reserve the room on disk, or say that there is none: HDF5 crashes the process if a write fails."""
    room = 1 << 20
    for split in splits:
        room += sum(64 + len(text.encode()) for text in [*split.ids, *(split.raw_text or [])])
        room += split.label.nbytes * (1 + len(split.unimodal))
        room += sum(8 * (prod(ragged.shape) + len(ragged) + 1) for ragged in split.sequences.values())
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, room)


def _write_split(group: h5py.Group, split: Split, digest: Any) -> None:
    def put(name: str, array: np.ndarray) -> None:
        digest.update(f"{group.name}/{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
        group.create_dataset(name, data=array)

    def put_blocks(name: str, ragged: Ragged, dtype: np.dtype[Any]) -> None:
        digest.update(f"{group.name}/{name} {dtype} {ragged.shape}".encode())
        written = group.create_dataset(name, ragged.shape, dtype)
        start = 0
        for block in ragged.blocks():
            block = np.ascontiguousarray(block, dtype)
            digest.update(block)
            written[start : start + len(block)] = block
            start += len(block)

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
        put_blocks(f"{name}/values", ragged, np.dtype(np.int32 if name == "tokens" else np.float32))
        put(f"{name}/offsets", np.concatenate([[0], np.cumsum(ragged.lengths)]))


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
        files.check_content(self.path)
        try:
            raw, opened = _open(self.path)
            with opened as file:
                if file.attrs.get("format") != FORMAT:
                    raise Malformed(f"its format is {file.attrs.get('format')!r}, not {FORMAT!r}")
                self.meta = _read_meta(file.attrs["meta"])
                self.splits = {name: _read_split(hdf5.group(file, name), raw) for name in SPLITS}
                self._check_widths()
        except Exception as error:  # HDF5 raises nearly anything on a damaged file
            raise UserError(f"{self.path} is not a usable store ({error}); import the source again") from error

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Path, str]]:
        return _again, (self.path, self.meta.content_sha256)

    def _check_widths(self) -> None:
        shapes = [{name: s.dim for name, s in split.sequences.items()} for split in self.splits.values()]
        if not shapes[0] or any(shape != shapes[0] for shape in shapes):
            raise Malformed("its splits do not hold the same sequences")

    @property
    def dims(self) -> dict[str, int | None]:
        """Feature width of each sequence that the store has; None for tokens."""
        return {name: ragged.dim for name, ragged in self.splits["train"].sequences.items()}

    @property
    def modalities(self) -> list[str]:
        """Those of text, audio, vision that the store has."""
        present = {"text" if name == "tokens" else name for name in self.dims}
        return [m for m in ("text", "audio", "vision") if m in present]


def _open(path: Path) -> tuple[FileIO, h5py.File]:
    """One file, for plain reading and by HDF5: opened anew if another took its place between the two."""
    while True:
        raw, file = path.open("rb", buffering=0), h5py.File(path, "r")
        if os.path.samestat(os.fstat(raw.fileno()), path.stat()):
            return raw, file
        file.close()
        raw.close()


def _again(path: Path, content_sha256: str) -> Store:
    """The same store in another process."""
    found = Store(path)
    if found.meta.content_sha256 != content_sha256:
        raise UserError(f"{path} was replaced while it was read: start again")
    return found


def _read_meta(text: str) -> Meta:
    found = dict(json.loads(text))
    if found.get("extraction") is not None:
        found["extraction"] = extraction.read(found["extraction"])
    meta = Meta(**found)
    for name, hint in get_type_hints(Meta).items():
        if not fits(getattr(meta, name), hint):
            raise Malformed(f"its {name} is {getattr(meta, name)!r}")
    if len(meta.label_range) != 2 or meta.label_range[0] > meta.label_range[1]:
        raise Malformed(f"its label_range is {meta.label_range}")
    return meta


def _dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset whose values lie contiguously in this very file, so that it cannot claim a size it does not have."""
    found = hdf5.dataset(parent, name)
    if found.chunks or found.nbytes > hdf5.size(found):
        raise Malformed(f"{found.name} is not contiguous in the file")
    return found


def _read_column(parent: h5py.Group, name: str, n: int, *, blank: bool = False) -> np.ndarray:
    """float32 (n,): finite, or NaN where it may be ``blank``."""
    column = _dataset(parent, name)
    if column.shape != (n,) or column.dtype != np.float32:
        raise Malformed(f"{column.name} does not hold a number for each utterance")
    values = column[:]
    if not (np.isfinite(values) | (blank & np.isnan(values))).all():
        raise Malformed(f"{column.name} does not hold a number for each utterance")
    return values


def _read_split(group: h5py.Group, raw: FileIO) -> Split:
    ids = hdf5.strings(_dataset(group, "id"))
    raw_text = hdf5.strings(_dataset(group, "raw_text")) if "raw_text" in group else None
    if not ids or len(raw_text or ids) != len(ids):
        raise Malformed(f"{group.name} is empty, or holds columns of different lengths")
    label = _read_column(group, "label", len(ids))
    known = hdf5.group(group, "unimodal") if "unimodal" in group else {}
    unimodal = {m: _read_column(known, m, len(ids), blank=True) for m in MODALITIES if m in known}
    sequences = {name: _ragged(hdf5.group(group, name), name, len(ids), raw) for name in SEQUENCES if name in group}
    return Split(ids, label, sequences, raw_text, unimodal)


def _ragged(group: h5py.Group, name: str, n: int, raw: FileIO) -> Ragged:
    values, stored = _dataset(group, "values"), _dataset(group, "offsets")
    if (values.dtype, values.ndim) != ((np.int32, 1) if name == "tokens" else (np.float32, 2)) or 0 in values.shape:
        raise Malformed(f"{group.name}/values are {values.dtype} of shape {values.shape}")
    if stored.shape != (n + 1,) or stored.dtype != np.int64:
        raise Malformed(f"{group.name}/offsets are {stored.dtype} of shape {stored.shape}")
    offsets = stored[:]
    if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 1).any():
        raise Malformed(f"{group.name}/offsets do not divide its values")
    ragged = Stored(raw, values.id.get_offset(), offsets, values.dtype, values.shape[1] if values.ndim == 2 else None)
    if name == "tokens" and min(int(block.min()) for block in ragged.blocks()) < 0:
        raise Malformed(f"{group.name}/values has token ids below 0")
    return ragged


def check_names(modality: str, wanted: list[str] | None, found: list[str] | None, where: str) -> None:
    """Check that the features of a modality are those that a model was trained with, as far as both are named.

    Raises:
        UserError: they are not.
    """
    if wanted and found and wanted != found:
        i = next(
            (i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found))
        )
        ours, theirs = (names[i] if i < len(names) else "nothing" for names in (wanted, found))
        raise UserError(
            f"{where}: {modality} feature {i + 1} is {theirs}, but this model was trained with {ours} there"
        )
