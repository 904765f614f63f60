"""Reads every published layout safely, and recognises it by its content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsa_lightning.data.formats import delimited, misa, mmsa, mult, table
from mmsa_lightning.data.formats.archive import FIRST, load_archive
from mmsa_lightning.data.formats.divide import divide
from mmsa_lightning.data.formats.features import add_features, add_vectors
from mmsa_lightning.data.formats.fields import SPLIT_NAMES
from mmsa_lightning.data.formats.once import once
from mmsa_lightning.data.formats.unpickle import load
from mmsa_lightning.data.source import Source
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import check_content

KNOWN = (
    "MMSA's aligned_50.pkl and unaligned_50.pkl, MulT's mosi_data.pkl, MISA's or MMIM's folder of train.pkl, "
    "dev.pkl and test.pkl or one of them, MAG-BERT's mosi.pkl, or a CSV with the columns "
    "id, text, label, split or those of MMSA's label.csv"
)
_OTHERS = {
    ".csd": ": a computational sequence of CMU's SDK is one modality without labels",
    ".npz": ": an .npz adds features to a source, with --audio, --vision or --text",
}
FOLDS = ("train.pkl", "dev.pkl", "test.pkl")


def read(
    path: Path,
    *,
    split: tuple[float, float, float] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    **features: Path | None,
) -> Source:
    """Read ``path`` in whichever layout it has.

    Args:
        path: a pickle, a file of ``torch.save``, a folder of MISA's or MMIM's pickles, or a CSV.
        split: shares of train, valid and test, for a source that is not divided, or has no test split.
        separator, encoding: of a CSV, if they cannot be guessed; see :mod:`.delimited`.
        features: files of ``text``, ``audio``, ``vision`` or ``word_vectors`` to add; see :mod:`.features`.

    Raises:
        UserError: nothing is there, a file is empty or a Git LFS pointer, the layout is unknown or broken, or an option
            does not fit it.
    """
    if not path.exists():
        raise UserError(f"there is no {path}")
    for given in [*(path / name for name in FOLDS), path, *filter(None, features.values())]:
        if given.is_file():
            check_content(given)
    if features.get("word_vectors") and features.get("text"):
        raise UserError("--text and --word-vectors both give the text's features; choose one")
    if path.suffix.lower() in (*delimited.SUFFIXES, *delimited.SPREADSHEETS):
        source = table.read(path, separator=separator, encoding=encoding)
    elif separator is not None or encoding is not None:
        raise UserError(f"--separator and --encoding are for a CSV, and {path} is not one")
    elif path.is_dir():
        source = _read_folder(path)
    elif path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth"):
        source = _read_pickle(path)
    else:
        raise UserError(f"{path} has no known layout{_OTHERS.get(path.suffix.lower(), '')}; known layouts: {KNOWN}")
    for modality, file in features.items():
        if file is not None:
            with naming(file):
                add_vectors(source, file) if modality == "word_vectors" else add_features(source, modality, file)
    with naming(path):
        source = once(source)

    undivided = "all" in source.splits
    if undivided and split is None:
        raise UserError(f"{path} is not divided into train, valid and test; divide it by video with: --split 70 15 15")
    if split is not None and not undivided and set(source.splits) != {"train", "valid"}:
        raise UserError(f"{path} is divided into {', '.join(source.splits)} already; leave out --split")
    return source if split is None else divide(source, split)


def _read_folder(path: Path) -> Source:
    if missing := [name for name in FOLDS if not (path / name).is_file()]:
        raise UserError(f"the folder {path} has no {', '.join(missing)}; known layouts: {KNOWN}")
    folds = {name.removesuffix(".pkl"): _load(path / name) for name in FOLDS}
    for name, fold in folds.items():
        if not isinstance(fold, list):
            raise UserError(f"{path / name}.pkl holds {_described(fold)}, not a list of utterances as MISA's does")
    with naming(path):
        return misa.read(folds)


def _read_pickle(path: Path) -> Source:
    data = _load(path)
    parts = [part for name, part in data.items() if name in SPLIT_NAMES] if isinstance(data, dict) else []
    with naming(path):
        if isinstance(data, list) or (parts and all(isinstance(part, list) for part in parts)):
            return misa.read(data)
        if parts and all(isinstance(part, dict) for part in parts):
            if any("regression_labels" in part for part in parts):
                return mmsa.read(data)
            if any("labels" in part for part in parts):
                return mult.read(data)
    first = f", and in the first split {_described(parts[0])}" if parts else ""
    raise UserError(f"{path} holds {_described(data)}{first}, which is no known layout; known layouts: {KNOWN}")


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == FIRST
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return load_archive(path) if zipped else load(path)


def _described(data: Any) -> str:
    if isinstance(data, dict):
        return f"the keys {', '.join(str(key)[:20] for key in list(data)[:8])}" if data else "an empty dict"
    return f"a {type(data).__name__}"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in every error that its content causes."""
    try:
        with unforeseen(path):
            yield
    except (UserError, OSError) as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


@contextmanager
def unforeseen(path: Path) -> Iterator[None]:
    """Turn any error that nothing else caught into one that says: the file does not hold what its layout needs."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:  # an unknown file may hold anything anywhere
        raise UserError(f"{path} does not hold what its layout needs ({type(error).__name__}: {error})") from error
