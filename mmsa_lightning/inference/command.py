"""``mmsa predict MODEL INPUT --out FILE``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import transformers

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference import rows, videos
from mmsa_lightning.inference.load import load
from mmsa_lightning.inference.predict import Chunk, measure, of_store, of_utterances, write_predictions
from mmsa_lightning.inference.predictor import Predictor
from mmsa_lightning.media import clips
from mmsa_lightning.training.protocols import PROTOCOLS

RESULT = "result.json"  # of a finished run


def predict(
    model: str,
    source: str,
    out: Path,
    *,
    features: Mapping[str, Path],
    split: str,
    attention: bool,
    resume: bool,
    separator: str | None,
    encoding: str | None,
    device: str,
    allow_code: bool,
    code: Path | None,
) -> list[str]:
    """Predict, and tell what was done; warnings go to standard error.

    Args:
        model: a package's folder, .zip or name on the hub, or a run's directory.
        source: a store, a CSV, a video or a folder of videos, or ``-``.
        out: what is written, see :func:`write_predictions`.
        features, separator, encoding: see :func:`mmsa_lightning.inference.rows.table`.
        split: of a store.
        attention, resume: see :func:`write_predictions`.
        device, allow_code: see :func:`mmsa_lightning.inference.load.load`.
        code: the folder of the user's own model, for a run's directory.

    Raises:
        UserError: the model or the input is not as it must be.
    """
    if source != "-" and not (Path(source).is_file() or Path(source).is_dir()):
        raise UserError(f"there is no file {source}; give a store, a CSV of utterances, videos, or - for lines of text")
    own = [path for path in Path(model).iterdir() if path.is_file()] if Path(model).is_dir() else []
    files.check_apart([out], [Path(source), *features.values(), *own])
    for name, path in features.items():
        if path.exists() and not path.is_file():
            raise UserError(f"--{name} {path} is no file")
    transformers.logging.set_verbosity_error()  # what it says of a package is nothing that a user can do
    predictor = _predictor(model, device, allow_code, code)
    chunks = _chunks(predictor, source, out, split, features, separator, encoding, attention)
    count, notes = write_predictions(predictor, chunks, out, attention=attention, resume=resume)
    for note, concerned in notes.items():
        print(f"warning: {concerned} of {count} utterances {note}", file=sys.stderr)
    told = [f"{out}: {count} utterances"]
    labelled, metrics = measure(predictor, out)
    if labelled:
        told.append(f"of {labelled} with a label:")
        told += [
            f"  {name:<10} {'undefined' if math.isnan(value) else f'{value:.4f}'}" for name, value in metrics.items()
        ]
        told += [note] if (note := PROTOCOLS[predictor.about.protocol].note) else []
    return told


def _predictor(model: str, device: str, allow_code: bool, code: Path | None) -> Predictor:
    if (Path(model) / RESULT).is_file():
        from mmsa_lightning.inference.export import predictor  # with Lightning, in which it was trained

        return predictor(Path(model), code, device)
    return load(model, device=device, allow_code=allow_code)


def _chunks(
    predictor: Predictor,
    source: str,
    out: Path,
    split: str,
    features: Mapping[str, Path],
    separator: str | None,
    encoding: str | None,
    attention: bool,
) -> Iterator[Chunk]:
    path = Path(source)
    of_table = {"separator": separator, "encoding": encoding, **features}
    if source == "-" or h5py.is_hdf5(path):
        if other := [name for name, value in of_table.items() if value is not None]:
            raise UserError(f"--{other[0]} goes with a CSV of utterances, and {source} is none")
        if source != "-":
            return of_store(predictor, path, split, attention)
        return of_utterances(predictor, rows.lines(sys.stdin.buffer), attention)
    if not features and videos.are_named(path, separator=separator, encoding=encoding):
        listed = clips.read(path, separator=separator, encoding=encoding)
        files.check_apart([out], videos.sources(listed, predictor.about))
        found = videos.extracted(listed, predictor.about)
        return of_utterances(predictor, (utterance for *_, utterance in found), attention)
    utterances = rows.table(path, predictor.about, features, separator=separator, encoding=encoding)
    return of_utterances(predictor, utterances, attention)
