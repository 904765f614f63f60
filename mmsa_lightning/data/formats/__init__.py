"""Reads every published layout safely, and recognises it by its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsa_lightning.data.formats import csd, delimited, misa, mmsa, mult, table
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
    "dev.pkl and test.pkl or one of them, MAG-BERT's mosi.pkl, .csd of CMU's SDK or a folder of them, or a CSV with "
    "the columns id, text, label, split or those of MMSA's label.csv"
)
_OTHERS = {
    ".npz": ": an .npz adds features to a source, with --audio, --vision or --text",
}
FOLDS = ("train.pkl", "dev.pkl", "test.pkl")


def read(
    path: Path,
    *,
    more: Sequence[Path] = (),
    dataset: str | None = None,
    split: tuple[float, float, float] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    **features: Path | None,
) -> Source:
    """Read ``path`` in whichever layout it has.

    Args:
        path: a pickle, a file of ``torch.save``, a folder of MISA's or MMIM's pickles, a CSV, a computational sequence
            (``.csd``), or a folder of these.
        more: further computational sequences.
        dataset: whose official folds computational sequences are divided by.
        split: shares of train, valid and test, for a source that is not divided, or has no test split.
        separator, encoding: of a CSV, if they cannot be guessed; see :mod:`.delimited`.
        features: files of ``text``, ``audio``, ``vision`` or ``word_vectors`` to add; see :mod:`.features`. Beside
            computational sequences, one may be of ``text``, ``audio`` or ``vision``.

    Raises:
        UserError: nothing is there, a file is empty or a Git LFS pointer, the layout is unknown or broken, or an option
            does not fit it.
    """
    for given in (path, *more):
        if not given.exists():
            raise UserError(f"there is no {given}")
    sequences = computational_sequences(path, *more)
    stated = {modality: file for modality, file in features.items() if file and _is_sequence(file)}
    if stated and not sequences:
        option, file = next(iter(stated.items()))
        raise UserError(
            f"--{option} {file}: a computational sequence adds to other .csd; for {path}, make an .npz of it"
        )
    for file in [*(path / name for name in FOLDS), path, *sequences, *filter(None, features.values())]:
        if file.is_file():
            check_content(file)
    if features.get("word_vectors") and features.get("text"):
        raise UserError("--text and --word-vectors both give the text's features; choose one")
    if path.suffix.lower() in (*delimited.SUFFIXES, *delimited.SPREADSHEETS):
        source = table.read(path, separator=separator, encoding=encoding)
    elif separator is not None or encoding is not None:
        raise UserError(f"--separator and --encoding are for a CSV, and {path} is not one")
    elif sequences:
        source = csd.read(sequences, stated, dataset)
    elif path.is_dir():
        source = _read_folder(path)
    elif path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth"):
        source = _read_pickle(path)
    else:
        raise UserError(f"{path} has no known layout{_OTHERS.get(path.suffix.lower(), '')}; known layouts: {KNOWN}")
    for modality, extra in features.items():
        if extra is not None and modality not in stated:
            with naming(extra):
                add_vectors(source, extra) if modality == "word_vectors" else add_features(source, modality, extra)
    with naming(path):
        source = once(source)

    undivided = "all" in source.splits
    if undivided and split is None:
        raise UserError(f"{path} is not divided into train, valid and test; divide it by video with: --split 70 15 15")
    if split is not None and not undivided and set(source.splits) != {"train", "valid"}:
        raise UserError(f"{path} is divided into {', '.join(source.splits)} already; leave out --split")
    return source if split is None else divide(source, split)


def _is_sequence(path: Path) -> bool:
    return path.suffix.lower() == csd.SUFFIX


def computational_sequences(*paths: Path) -> list[Path]:
    """The ``.csd`` among ``paths`` and in those that are folders; none if the one path is another source.

    Raises:
        UserError: several paths are given, and one of them is another source.
    """
    found: dict[Path, list[Path]] = {}
    for path in paths:
        pickles = all((path / name).is_file() for name in FOLDS)  # some recipes keep both in one folder
        inside = sorted(path.iterdir()) if path.is_dir() and not pickles else [path]
        found[path] = [file for file in inside if _is_sequence(file)]
    if len(paths) > 1:
        for path, files in found.items():
            if not files:
                raise UserError(f"{path} is not a .csd, and only these are imported several at once")
    return list({file.resolve(): file for files in found.values() for file in files}.values())


def _read_folder(path: Path) -> Source:
    if missing := [name for name in FOLDS if not (path / name).is_file()]:
        raise UserError(f"the folder {path} has no {', '.join(missing)}; known layouts: {KNOWN}")
    folds = {name.removesuffix(".pkl"): _load(path / name) for name in FOLDS}
    for name, fold in folds.items():
        if not isinstance(fold, list):
            raise UserError(f"{path / name}.pkl holds {_described(fold)}, not a list of utterances as MISA's does")
    with naming(path):
        source = misa.read(folds)
    if any(map(_is_sequence, path.iterdir())):
        source.report.append("the pickles were read, and not the .csd beside them: name these to read them")
    return source


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
