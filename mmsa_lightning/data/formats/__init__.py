"""Every published layout, recognised by what is in it and read safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmsa_lightning.data.formats import delimited, misa, mmsa, mult, table
from mmsa_lightning.data.formats.divide import divide
from mmsa_lightning.data.formats.fields import SPLIT_NAMES
from mmsa_lightning.data.formats.unpickle import load
from mmsa_lightning.data.source import Source
from mmsa_lightning.errors import UserError

KNOWN = (
    "MMSA's aligned_50.pkl and unaligned_50.pkl, MulT's mosi_data.pkl, MISA's folder of train.pkl, dev.pkl and "
    "test.pkl or one of them, MAG-BERT's mosi.pkl, or a CSV with the columns id, text, label, split or those of MMSA's "
    "label.csv"
)
FOLDS = ("train.pkl", "dev.pkl", "test.pkl")


def read(
    path: Path,
    *,
    split: tuple[float, float, float] | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    **table_options: Path | None,
) -> Source:
    """Read ``path`` in whichever layout it has.

    Args:
        path: a pickle, a folder of MISA's pickles, or a CSV.
        split: shares of train, valid and test, for a source that is not divided.
        separator, encoding: of a CSV, where they cannot be guessed; see :mod:`.delimited`.
        table_options: ``text``, ``audio``, ``vision``, ``word_vectors``: the files beside a CSV; see :mod:`.table`.

    Raises:
        UserError: nothing is there, the layout is unknown or broken, or an option does not fit it.
    """
    if not path.exists():
        raise UserError(f"there is no {path}")
    if path.suffix.lower() in (*delimited.SUFFIXES, *delimited.SPREADSHEETS):
        source = table.read(path, separator=separator, encoding=encoding, **table_options)
    elif separator is not None or encoding is not None:
        raise UserError(f"--separator and --encoding go with a CSV, and {path} is none")
    elif any(table_options.values()):
        raise UserError(f"feature files go with a CSV, and {path} is none")
    elif path.is_dir():
        source = _read_folder(path)
    elif path.suffix.lower() in (".pkl", ".pickle"):
        source = _read_pickle(path)
    else:
        raise UserError(f"{path} has no known layout; known are: {KNOWN}")

    undivided = "all" in source.splits
    if undivided and split is None:
        raise UserError(f"{path} is not divided into train, valid and test; divide it by video with: --split 70 15 15")
    if split is not None and not undivided:
        raise UserError(f"{path} is divided into train, valid and test already; leave out --split")
    return source if split is None else divide(source, split)


def _read_folder(path: Path) -> Source:
    if missing := [name for name in FOLDS if not (path / name).is_file()]:
        raise UserError(f"the folder {path} has no {', '.join(missing)}; known layouts are: {KNOWN}")
    folds = {name.removesuffix(".pkl"): load(path / name) for name in FOLDS}
    if not all(isinstance(fold, list) for fold in folds.values()):
        raise UserError(f"the pickles in {path} are not lists of utterances as MISA's are")
    return misa.read(folds)


def _read_pickle(path: Path) -> Source:
    data: Any = load(path)
    if isinstance(data, list):
        return misa.read(data)
    parts = [part for name, part in data.items() if name in SPLIT_NAMES] if isinstance(data, dict) else []
    if parts and all(isinstance(part, list) for part in parts):
        return misa.read(data)
    if parts and all(isinstance(part, dict) for part in parts):
        if all("regression_labels" in part for part in parts):
            return mmsa.read(data)
        if all("labels" in part for part in parts):
            return mult.read(data)
    found = f"keys {', '.join(map(str, list(data)[:8]))}" if isinstance(data, dict) else type(data).__name__
    raise UserError(f"{path} holds {found}, which is no known layout; known are: {KNOWN}")
