"""Features in separate files, which add a modality to a source or replace the one that it has.

An ``.npz`` has ``id`` (n,) and ``features``: (n, dim) with one step per utterance; (sum of lengths, dim) with
``lengths`` (n,); padded (n, time, dim), with ``lengths`` or without; or n arrays (length, dim) as objects. It may have
``names`` (dim,) of the features. Word vectors are an ``.npz`` of ``words`` (m,) and ``vectors`` (m, dim).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsa_lightning.data import padding
from mmsa_lightning.data.formats.fields import entries, numeric, some, text, utterance_ids, whole_numbers
from mmsa_lightning.data.formats.npz import Archive
from mmsa_lightning.data.source import Sequences, Source
from mmsa_lightning.errors import UserError

SDK = ("misa", "mult", "csd")  # the layouts that name segments as CMU's SDK does: VIDEO[3]
_UNKNOWN = ("<unk>", "unk", "[unk]", "<unknown>", "unknown")


@dataclass
class Features:
    """What an ``.npz`` of features holds.

    Attributes:
        sequences: of each id, float (length, dim), all of one width.
        names: of each feature, where the file says them.
        report: one line for each thing worth telling the user.
    """

    sequences: dict[str, np.ndarray]
    names: list[str] | None
    report: list[str]

    def of(self, wanted: Sequence[str], path: Path) -> list[np.ndarray]:
        """The sequences of the utterances ``wanted``.

        Raises:
            UserError: an utterance has no features.
        """
        if missing := [name for name in wanted if name not in self.sequences]:
            first = (
                ": CMU's SDK counts segments from 0, MMSA from 1" if all(m.endswith("$_$0") for m in missing) else ""
            )
            raise UserError(
                f"{path} has no features for {len(missing)} of {len(wanted)} utterances: {some(missing)}; "
                f"it has them for {some(list(self.sequences))}{first}"
            )
        return [self.sequences[name] for name in wanted]


def read_features(path: Path, modality: str, *, sdk: bool = False) -> Features:
    """Read the ``.npz`` at ``path``.

    Args:
        path: the file.
        modality: what the report calls the features.
        sdk: ids may be those of CMU's SDK.

    Raises:
        UserError: something in the file is missing or malformed, or an id occurs twice.
    """
    archive, report = Archive(path), []  # type: ignore[var-annotated]
    ids = utterance_ids(archive["id"], f"{path}: id", sdk)
    if not ids:
        raise UserError(f"{path} holds no utterances")
    row_of: dict[str, int] = {}
    for row, name in enumerate(ids):
        if row_of.setdefault(name, row) != row:
            raise UserError(f"{path}: the id {name} occurs twice, in row {row_of[name]} and in row {row}")
    sequences = _sequences(archive, ids, modality, report)
    names = None
    if "names" in archive and sequences:
        names = [text(name, f"{path}: names, {i}") for i, name in enumerate(entries(archive["names"]))]
        if len(names) != sequences[0].shape[1]:
            raise UserError(f"{path}: {len(names)} names, but {sequences[0].shape[1]} features")
    return Features(dict(zip(ids, sequences, strict=True)), names, report)


def add_features(source: Source, modality: str, path: Path) -> None:
    """Give every utterance its features of ``modality`` from the ``.npz`` at ``path``, by its id.

    Raises:
        UserError: as :func:`read_features`; or an utterance has no features.
    """
    found = read_features(path, modality, sdk=source.layout in SDK)
    source.report += found.report
    wanted = list(dict.fromkeys(name for split in source.splits.values() for name in split.ids))
    sequences = dict(zip(wanted, found.of(wanted, path), strict=True))
    if spare := [name for name in found.sequences if name not in sequences]:
        source.report.append(
            f"{modality}: {len(spare)} sequences of {path.name} belong to no utterance and were left out: {some(spare)}"
        )
    if any(modality in split.features for split in source.splits.values()):
        source.report.append(f"{modality}: {path.name} replaces the source's own features")
    source.names.pop(modality, None)
    if found.names is not None:
        source.names[modality] = found.names
    for split in source.splits.values():
        split.features[modality] = Sequences([sequences[name] for name in split.ids])


def _sequences(archive: Archive, ids: list[str], modality: str, report: list[str]) -> list[np.ndarray]:
    """The features of each id: n arrays (length, dim) of one width."""
    what = f"{archive.path}: features"
    found = archive["features"]
    lengths = whole_numbers(archive["lengths"], f"{archive.path}: lengths") if "lengths" in archive else None
    if lengths is not None and len(lengths) != len(ids):
        raise UserError(f"{archive.path}: {len(ids)} ids but {len(lengths)} lengths")
    arrays = found.dtype == object and found.ndim == 1
    values = found if arrays else numeric(found, what)
    if values.ndim == 2 and lengths is not None:
        if lengths.sum() != len(values):
            raise UserError(f"{what} has {len(values)} rows, but lengths add up to {lengths.sum()}")
        return _checked(np.split(values, np.cumsum(lengths)[:-1]), ids, what)

    if values.ndim == 0 or len(values) != len(ids):
        raise UserError(f"{archive.path}: {len(ids)} ids but {len(np.atleast_1d(values))} sequences in features")
    if arrays:
        sequences = _checked(
            [numeric(steps, f"{what} of {i}") for i, steps in zip(ids, values, strict=True)], ids, what
        )
        for name, steps, length in zip(ids, sequences, [] if lengths is None else lengths, strict=False):
            if len(steps) != length:
                raise UserError(f"{what} of {name} has {len(steps)} steps, but its length is {length}")
        return sequences
    if values.ndim == 2:
        return _checked(list(values[:, None]), ids, what)
    if values.ndim == 3:
        return _checked(_without_padding(values, lengths, ids, what, modality, report), ids, what)
    raise UserError(f"{what} has shape {values.shape}, not (steps, width) or (utterances, time, width)")


def _without_padding(
    values: np.ndarray, lengths: np.ndarray | None, ids: list[str], what: str, modality: str, report: list[str]
) -> list[np.ndarray]:
    """The sequences in (n, time, dim). If no lengths are given, each ends at its outermost step that is not zero."""
    steps = padding.occupied(values)
    if lengths is None:
        side = padding.found_side([steps])
        lengths = padding.found_lengths(steps, side)
    else:
        longest = int(lengths.argmax())
        if lengths[longest] > values.shape[1]:
            raise UserError(
                f"{what} of {ids[longest]} has {values.shape[1]} steps, but its length is {lengths[longest]}"
            )
        side, beyond = padding.stated_side([steps], [lengths])
        if beyond:
            report.append(f"{modality}: {beyond} utterances have values beyond their stated length, removed")
    if side != "none":
        report.append(f"{modality}: padded on the {side}, removed")
    return padding.strip(values, lengths, side)


def _checked(sequences: list[np.ndarray], ids: list[str], what: str) -> list[np.ndarray]:
    for name, steps in zip(ids, sequences, strict=True):
        if steps.ndim != 2:
            raise UserError(f"{what} of {name} has shape {steps.shape}, not (steps, width)")
        if steps.shape[1] != sequences[0].shape[1] or steps.shape[1] == 0:
            raise UserError(f"{what} of {name} has width {steps.shape[1]}, but {ids[0]} has {sequences[0].shape[1]}")
    return sequences


def add_vectors(source: Source, path: Path) -> None:
    """Give every word of the text its vector from the ``.npz`` at ``path``, as features of the text.

    Raises:
        UserError: the source has no text, or something in the file is missing or malformed.
    """
    archive = Archive(path)
    words = [text(word, f"{path}: words, row {row}").lower() for row, word in enumerate(entries(archive["words"]))]
    vectors = numeric(archive["vectors"], f"{path}: vectors")
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise UserError(f"{path}: {len(words)} words but vectors of shape {vectors.shape}, not (words, width)")
    row_of: dict[str, int] = {}
    for row, word in enumerate(words):
        row_of.setdefault(word, row)
    unknown = next((word for word in _UNKNOWN if word in row_of), None)
    vector_of_unknown = np.zeros(vectors.shape[1], vectors.dtype) if unknown is None else vectors[row_of[unknown]]
    table = np.vstack([vectors, vector_of_unknown])
    if any("text" in split.features for split in source.splits.values()):
        source.report.append(f"text: {path.name} replaces the source's own features")
    source.names.pop("text", None)
    total = missed = 0
    for split in source.splits.values():
        split.words = split.spoken
        if split.words is None:
            raise UserError(f"--word-vectors needs the words, and the layout {source.layout} has none here")
        rows = [[row_of.get(word.lower(), len(vectors)) for word in spoken] for spoken in split.words]
        split.features["text"] = Sequences([table[np.array(row, dtype=np.int64)] for row in rows])
        total += sum(len(row) for row in rows)
        missed += sum(row.count(len(vectors)) for row in rows)
    got = "zeros" if unknown is None else f"the vector of {unknown!r}"
    source.report.append(f"text: {missed} of {total} words have no vector and got {got}")
