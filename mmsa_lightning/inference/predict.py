"""``mmsa predict``: predictions for any number of utterances, in memory for a few, and resumable."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from mmsa_lightning import files, memory
from mmsa_lightning.annotations import fits
from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import About
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.predictor import Predictions, Predictor, StoredUtterances
from mmsa_lightning.training.protocols import PROTOCOLS, classes

CHUNK = 256  # utterances that are in memory at once
WORDS = 5  # most attended words in a CSV
FORMATS = (".csv", ".jsonl")


@dataclass
class Chunk:
    """Some utterances, not yet predicted.

    Attributes:
        texts, labels: empty and NaN where they are not known.
        sha256: of all that is read of them.
        predict: makes the predictions, and says what a user should know, with how many utterances it concerns.
    """

    ids: list[str]
    texts: list[str]
    labels: list[float]
    sha256: str
    predict: Callable[[], tuple[Predictions, Counter[str]]]


@dataclass
class State:
    """How far an interrupted command came: the file beside what it wrote.

    Attributes:
        what: SHA-256 of the package and the options.
        rows: utterances that are written.
        size: of what is written, in bytes.
        read: SHA-256 of what was read of them, so that the same input goes on.
        notes: what a user should know, with how many utterances it concerns.
    """

    what: str
    rows: int
    size: int
    read: str
    notes: dict[str, int]


def of_utterances(predictor: Predictor, utterances: Iterable[Utterance], attention: bool) -> Iterator[Chunk]:
    """Chunks of utterances that are read one after the other."""
    source = iter(utterances)
    while some := list(itertools.islice(source, CHUNK)):

        def predict(some: list[Utterance] = some) -> tuple[Predictions, Counter[str]]:
            inputs = predictor.reader.read(some)
            return predictor.run(inputs, attention=attention), inputs.notes

        read = hashlib.sha256()
        for u in some:
            read.update(json.dumps([u.id, u.text, u.label, *u.features]).encode())
            for steps in u.features.values():
                read.update(steps.tobytes())
        texts, labels = [u.text or "" for u in some], [u.label for u in some]
        yield Chunk([u.id for u in some], texts, labels, read.hexdigest(), predict)


def of_store(predictor: Predictor, path: Path, split: str, attention: bool) -> Iterator[Chunk]:
    """Chunks of a split of a store."""
    store = Store(path)
    stored, found = StoredUtterances(predictor, store, split), store.splits[split]
    texts = found.raw_text or [""] * len(found)
    for start in range(0, len(found), CHUNK):
        some = range(start, min(start + CHUNK, len(found)))

        def predict(some: range = some) -> tuple[Predictions, Counter[str]]:
            return stored.predict(some, attention=attention), Counter(dict.fromkeys(stored.notes, len(some)))

        ids, labels = [found.ids[i] for i in some], found.label[some].tolist()
        yield Chunk(ids, [texts[i] for i in some], labels, f"{store.meta.content_sha256} {split} {start}", predict)


def write_predictions(
    predictor: Predictor, chunks: Iterable[Chunk], out: Path, *, attention: bool, resume: bool
) -> tuple[int, dict[str, int]]:
    """Write what is predicted as a CSV or as lines of JSON.

    The file grows as ``.NAME.partial`` beside ``out``, chunk by chunk, and gets its name at the end.

    Args:
        predictor: that makes the predictions.
        chunks: of :func:`of_utterances` or :func:`of_store`.
        out: .csv or .jsonl.
        attention: also write the most attended words.
        resume: go on where a command with the same package, options and input was interrupted; the file is then the
            same, byte for byte. Without such a command it begins.

    Returns:
        the number of utterances, and what a user should know, with how many of them it concerns.

    Raises:
        UserError: another suffix; what is to be resumed was begun with another package or input; another process is
            writing to the same file.
    """
    if out.suffix not in FORMATS or out.is_dir():
        raise UserError(f"--out {out}: give a name that ends in {' or '.join(FORMATS)}, and is no folder")
    if attention and not predictor.attends:
        raise UserError(f"{predictor.about.name} has no attention weights over steps to tell of: leave out --attention")
    partial, place = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.partial.json")
    what = hashlib.sha256(f"{predictor.about.text()} {out.suffix} {attention}".encode()).hexdigest()
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.held_file(partial):
        begun = _read_state(place, partial, what) if resume else None
        if begun is None:
            place.unlink(missing_ok=True)
        state, digest = begun or State(what, 0, 0, "", {}), hashlib.sha256()
        notes, rows = Counter(state.notes), 0
        try:
            with partial.open("rb+" if begun else "wb") as file, _progress() as advance:
                file.truncate(state.size)
                file.seek(state.size)
                for chunk in chunks:
                    digest.update(chunk.sha256.encode())
                    before, rows = rows, rows + len(chunk.ids)
                    advance(len(chunk.ids))
                    if begun and before < begun.rows:
                        if rows > begun.rows or (rows == begun.rows and digest.hexdigest() != begun.read):
                            raise UserError(
                                f"{partial} was begun with another input; leave out --resume to begin again"
                            )
                        continue
                    predictions, told = chunk.predict()
                    notes += told
                    file.write(_text(predictor, chunk, predictions, out.suffix, header=before == 0).encode())
                    file.flush()
                    state = State(what, rows, file.tell(), digest.hexdigest(), dict(notes))
                    files.write_text(place, json.dumps(asdict(state)))
                    memory.give_back()
            if rows < state.rows:
                raise UserError(f"{partial} was begun with another, longer input; leave out --resume to begin again")
            if not rows:
                raise UserError("there are no utterances in the input")
            partial.replace(out)
        except OSError as error:  # the disk is full: that of a file that is open names none
            raise OSError(error.errno, error.strerror or str(error), error.filename or str(partial)) from error
        finally:
            if not state.rows:
                partial.unlink(missing_ok=True)
        place.unlink(missing_ok=True)
        return rows, dict(notes)


def measure(predictor: Predictor, out: Path) -> tuple[int, dict[str, float]]:
    """How many utterances in a written file have labels, and the metrics of these by the protocol of the model's data.

    Raises:
        UserError: a label lies outside the range that the model was trained on: the figures would mean nothing.
    """
    about, found = predictor.about, []
    with out.open(newline="", encoding="utf-8") as file, _long_fields():
        for row in csv.DictReader(file) if out.suffix == ".csv" else map(json.loads, file):
            if row.get("label") not in (None, ""):
                found.append((float(row["prediction"]), float(row["label"])))
    low, high = about.label_range
    if outside := [label for _, label in found if not low <= label <= high]:
        raise UserError(
            f"{out} is written, but cannot be measured: the label {outside[0]:g} lies outside [{low:g}, {high:g}], the "
            "labels that this model was trained on; bring the labels to that scale"
        )
    if not found:
        return 0, {}
    from mmsa_lightning.training.metrics import sentiment_metrics  # with torchmetrics, where labels are known

    metrics = sentiment_metrics("", PROTOCOLS[about.protocol])
    prediction, label = torch.tensor(found, dtype=torch.float64).T
    metrics.update(prediction, label, torch.arange(len(found)))
    return len(found), {name: float(metrics[name].compute()) for name in PROTOCOLS[about.protocol].metrics}


def _read_state(place: Path, partial: Path, what: str) -> State | None:
    """How far the command came that is to go on; None if there was none."""
    if not place.is_file() or not partial.stat().st_size:
        return None
    try:
        state = State(**files.read_object(place))
    except (TypeError, UserError) as error:
        raise UserError(f"{place} is damaged; leave out --resume to begin again") from error
    hints = get_type_hints(State)
    if not all(fits(value, hints[name]) for name, value in asdict(state).items()):
        raise UserError(f"{place} is damaged; leave out --resume to begin again")
    if state.what != what or state.rows < 1 or not 0 < state.size <= partial.stat().st_size:
        raise UserError(f"{partial} was begun with another package or other options; leave out --resume to begin again")
    return state


def _text(predictor: Predictor, chunk: Chunk, predictions: Predictions, suffix: str, *, header: bool) -> str:
    """The rows of a chunk as they are written."""
    records = list(_records(predictor.about, chunk, predictions))
    if suffix == ".jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    for record in records:
        if "attention" in record:
            words = sorted(record["attention"], key=lambda pair: -pair[1])[:WORDS]
            record["attention"] = " ".join(f"{word}:{weight:.2f}" for word, weight in words)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]))
    if header:
        writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _records(about: About, chunk: Chunk, predictions: Predictions) -> Iterator[dict[str, Any]]:
    spread = predictions.members.std(axis=0, ddof=1) if len(predictions.members) > 1 else None
    for i, (id, value) in enumerate(zip(predictions.ids, files.short(predictions.sentiment), strict=True)):
        record: dict[str, Any] = {"id": id, "prediction": value, **classes(about.protocol, value)}
        if spread is not None:
            record["spread"] = round(float(spread[i]), 4)
        record["label"] = None if math.isnan(chunk.labels[i]) else files.short([chunk.labels[i]])[0]
        record["text"] = chunk.texts[i]
        if predictions.attention is not None:
            record["attention"] = [(word, round(weight, 4)) for word, weight in predictions.attention[i].words]
        yield record


@contextmanager
def _long_fields() -> Iterator[None]:
    """Read a CSV whose fields may be as long as they were written."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A line on a terminal that says how many utterances are done, and how fast."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.completed:.0f} utterances"), TimeElapsedColumn(), TextColumn("{task.speed:.1f}/s"))
    if not console.is_terminal:
        yield lambda count: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda count: progress.advance(task, count)
