"""From videos to a store: utterance by utterance, in several processes, and on from where it was killed."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmsa_lightning import files
from mmsa_lightning.data.formats.divide import divide
from mmsa_lightning.data.importer import import_source, known_range
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError
from mmsa_lightning.media import beside
from mmsa_lightning.media import clips as listing
from mmsa_lightning.media.clips import Clip
from mmsa_lightning.media.parts import Parts
from mmsa_lightning.media.tools import Extracted, Settings, Tools

UNALIGNED = "_unaligned"  # of the second store's name
REPORT = "_extraction.csv"
PARTS = "_parts"  # a folder, until all is done
FOLDER = ("utterances.csv", "audio.npz", "vision.npz", "extraction.json")  # of a folder as --out


@dataclass(frozen=True)
class Importing:
    """What a store is made with, as :func:`mmsa_lightning.data.importer.import_file` takes it.

    Attributes:
        dataset: the data set's name.
        split: shares of train, valid and test where the list has none.
        label_range: the lowest and the highest label that there can be.
        text_encoder: whose tokenizer makes word pieces.
        keep_case: leave an upper-case transcript as it is.
    """

    dataset: str
    split: tuple[float, float, float] | None = None
    label_range: tuple[float, float] | None = None
    text_encoder: str | None = None
    keep_case: bool = False


@dataclass
class Outcome:
    """What an extraction wrote.

    Attributes:
        written: files, the main one first.
        report: one line for each thing worth telling.
        failed: for each utterance that could not be extracted, what was wrong.
    """

    written: list[Path]
    report: list[str]
    failed: dict[str, str]


def extract(
    source: Path,
    out: Path,
    settings: Settings,
    importing: Importing,
    *,
    workers: int = 1,
    separator: str | None = None,
    encoding: str | None = None,
) -> Outcome:
    """Extract words, sound and face of every utterance, and write them.

    Args:
        source: see :func:`mmsa_lightning.media.clips.read`.
        out: a store, ``.h5``: on the words' steps, and another beside it with the steps of sound and face themselves.
            It needs labels. A folder otherwise: ``utterances.csv`` and one ``.npz`` a modality on the words' steps, as
            ``mmsa predict`` and ``mmsa data import`` read them.
        settings: what extracts.
        importing: what a store is made with.
        workers: how many processes extract.
        separator, encoding: of the list.

    Raises:
        UserError: the list or an extractor is not sound; no utterance can be extracted; ``out`` is not what it should
            be. What was extracted stays beside ``out``, and the same command goes on from there.
    """
    is_store = out.suffix.lower() in (".h5", ".hdf5")
    importing = replace(importing, label_range=known_range(importing.dataset, importing.label_range))
    clips = listing.read(source, separator=separator, encoding=encoding)
    if is_store:
        _check_labels(source, clips, importing.split)
    _check_place(out, is_store)
    files.check_apart(_outputs(out, is_store), [source, *beside.inputs(clips, settings.vision)])
    if workers < 1:
        raise UserError(f"--workers {workers}: at least one is needed")
    folder = out.with_name(f"{out.stem}{PARTS}")
    with files.held(folder):
        files.remove_unfinished(folder)
        tools = Tools(settings)
        parts = Parts(folder, tools.extraction(aligned=False))
        failed = _extract_all(clips, parts, tools, workers)
        good = [clip for clip in clips if clip.id not in failed]
        if not good:
            raise UserError(f"{source}: no utterance could be extracted: {next(iter(failed.values()))}")
        found = {clip.id: parts.read(clip) for clip in good}
        report = _report(found, failed, tools)
        if is_store:
            written = _write_stores(source, out, good, found, tools, report, importing)
        else:
            written = _write_folder(out, good, found, tools)
        table = _table(out, is_store)
        rows = [found[clip.id].row for clip in good] + [{"id": id, "notes": wrong} for id, wrong in failed.items()]
        files.write_rows(table, rows)
        if not failed:
            parts.remove()
    return Outcome([*written, table], report, failed)


def _check_place(out: Path, is_store: bool) -> None:
    """That what is found can be written there, before hours of work."""
    if not out.name:
        raise UserError(f"--out {out} has no name of its own: name a new folder in it, or a store, NAME.h5")
    if is_store and out.is_dir():
        raise UserError(f"--out {out} is a folder, and a store is a file: give another name")
    if not is_store and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file, and without .h5 a folder is written: give another name")


def _table(out: Path, is_store: bool) -> Path:
    """Where it is told what was found in each utterance."""
    return out.with_name(f"{out.stem}{REPORT}") if is_store else out / "extraction.csv"


def _outputs(out: Path, is_store: bool) -> list[Path]:
    """All that is written."""
    own = [out, _unaligned(out)] if is_store else [out / name for name in FOLDER]
    return [*own, _table(out, is_store)]


def _unaligned(out: Path) -> Path:
    return out.with_name(f"{out.stem}{UNALIGNED}{out.suffix}")


def _check_labels(source: Path, clips: Sequence[Clip], split: tuple[float, float, float] | None) -> None:
    """What a store needs and a list may lack, before hours of work."""
    if unlabelled := [clip.id for clip in clips if math.isnan(clip.label)]:
        raise UserError(
            f"{source}: {len(unlabelled)} of {len(clips)} utterances have no label, such as {unlabelled[0]}, and a "
            "store needs them; with a folder as --out, mmsa predict reads what is written without labels"
        )
    undivided = [clip.id for clip in clips if clip.split == "all"]
    if undivided and len(undivided) < len(clips):
        raise UserError(f"{source}: {len(undivided)} of {len(clips)} utterances have no split, such as {undivided[0]}")
    if undivided and split is None:
        raise UserError(
            f"{source} is not divided into train, valid and test; divide it by video with: --split 70 15 15"
        )
    if split is not None and not undivided:
        raise UserError(f"{source} is divided already; leave out --split")
    first: dict[Path, Clip] = {}
    for clip in clips if split is not None else ():
        other = first.setdefault(clip.video, clip)
        if clip.id.split("$_$")[0] != other.id.split("$_$")[0]:
            raise UserError(
                f"{source}: {other.id} and {clip.id} are of one video, {clip.video.name}, and could come into two "
                f"splits: --split goes by what stands before $_$ in an id, as in {clip.video.stem}$_$1"
            )


def _extract_all(clips: Sequence[Clip], parts: Parts, tools: Tools, workers: int) -> dict[str, str]:
    """Extract what is not there yet; what was wrong with each utterance that cannot be extracted."""
    failed: dict[str, str] = {}
    columns = (TextColumn("extract"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("extract", total=len(clips))
        for clip, wrong in _outcomes(clips, parts, tools, workers):
            if wrong is not None:
                failed[clip.id] = wrong
            progress.advance(task)
    return {clip.id: failed[clip.id] for clip in clips if clip.id in failed}


def _outcomes(clips: Sequence[Clip], parts: Parts, tools: Tools, workers: int) -> Iterator[tuple[Clip, str | None]]:
    """Each utterance as it is done, with what was wrong."""
    left = []
    for clip in clips:
        try:
            done = parts.path(clip).is_file()
        except OSError as error:
            yield clip, f"{clip.video}: {error.strerror or error}"
            continue
        if done:
            yield clip, None
        else:
            left.append(clip)
    if workers == 1 or len(left) < 2:
        for clip in left:
            yield clip, _one(clip, parts, tools)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare, (parts, tools.settings)) as pool:
        jobs: dict[Future[str | None], Clip] = {pool.submit(_one_here, clip): clip for clip in left}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {workers} processes was killed, perhaps for want of memory: the same command goes on from "
                "here; give it fewer --workers"
            ) from error
        finally:  # a full disk, or Ctrl-C, does not wait for what is left
            pool.shutdown(wait=False, cancel_futures=True)


def _one(clip: Clip, parts: Parts, tools: Tools) -> str | None:
    try:
        found = tools(clip)
    except UserError as error:
        return " ".join(str(error).split())
    except OSError as error:  # of a file that may not be read; that what was found cannot be kept ends all
        return f"{error.filename or clip.video}: {error.strerror or error}"
    parts.write(clip, found)
    return None


_here: list[Callable[[Clip], str | None]] = []  # of a worker


def _prepare(parts: Parts, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that waits for this one
    torch.set_num_threads(1)
    tools = Tools(settings)
    _here[:] = [lambda clip: _one(clip, parts, tools)]


def _one_here(clip: Clip) -> str | None:
    return _here[0](clip)


def _report(found: dict[str, Extracted], failed: dict[str, str], tools: Tools) -> list[str]:
    """What is worth knowing of all utterances together."""
    report = [f"{id} is left out: {wrong}" for id, wrong in failed.items()]
    sources = Counter(extracted.row["words_from"] for extracted in found.values())
    report.append("words: " + ", ".join(f"{name} for {n} utterances" for name, n in sorted(sources.items())))
    if tools.recognise is not None and tools.settings.words in sources:
        report.append(f"words: {tools.recognise.quality}")
    if silent := [id for id, extracted in found.items() if not extracted.words]:
        report.append(f"words: {len(silent)} utterances have none, such as {silent[0]}: one step stands for all of it")
    for m in ("audio", "vision"):
        steps = [extracted.values[m] for extracted in found.values() if m in extracted.values]
        if steps:
            there = np.concatenate([values.any(axis=1) for values in steps])
            absent = sum(not values.any() for values in steps)
            report.append(
                f"{m}: {there.mean():.0%} of its frames hold something; absent throughout in {absent} utterances"
            )
    return report


def _write_stores(
    source: Path,
    out: Path,
    clips: Sequence[Clip],
    found: dict[str, Extracted],
    tools: Tools,
    report: list[str],
    importing: Importing,
) -> list[Path]:
    written, sha256 = [], _sha256(source, clips)
    for aligned, path in ((True, out), (False, _unaligned(out))):
        splits = {
            name: _split([clip for clip in clips if clip.split == name], found, list(tools.names), aligned)
            for name in dict.fromkeys(clip.split for clip in clips)
        }
        made = Source("media", splits, aligned, list(report), tools.names)
        import_source(
            made if importing.split is None else divide(made, importing.split),
            path,
            dataset=importing.dataset,
            name=source.resolve().name,
            sha256=sha256,
            tokenizer=importing.text_encoder,
            keep_case=importing.keep_case,
            label_range=importing.label_range,
            extraction=tools.extraction(aligned=aligned),
        )
        written.append(path)
    return written


def _split(clips: Sequence[Clip], found: dict[str, Extracted], modalities: list[str], aligned: bool) -> SourceSplit:
    words = [[word.text for word in found[clip.id].said] for clip in clips]
    features = {
        m: Sequences([found[clip.id].by_words(m) if aligned else found[clip.id].values[m] for clip in clips])
        for m in modalities
    }
    unimodal = dict.fromkeys(m for clip in clips for m in clip.unimodal)
    return SourceSplit(
        ids=[clip.id for clip in clips],
        label=np.array([clip.label for clip in clips]),
        raw_text=[" ".join(said) for said in words],
        words=words if aligned else None,
        features=features,
        unimodal={m: np.array([clip.unimodal.get(m, math.nan) for clip in clips]) for m in unimodal},
    )


def _sha256(source: Path, clips: Sequence[Clip]) -> str:
    """Of the list and of every video."""
    digest = hashlib.sha256(source.read_bytes() if source.suffix and source.is_file() else b"")
    for video in sorted({clip.video for clip in clips}):
        digest.update(f"{video.name} {files.sha256(video)}\n".encode())
    return digest.hexdigest()


def _write_folder(out: Path, clips: Sequence[Clip], found: dict[str, Extracted], tools: Tools) -> list[Path]:
    """A table and one npz a modality, on the words' steps, and what made them."""
    out.mkdir(parents=True, exist_ok=True)
    said = {clip.id: [word.text for word in found[clip.id].said] for clip in clips}
    table, *_, made = (out / name for name in FOLDER)
    files.write_rows(table, [{"id": id, "text": " ".join(words)} for id, words in said.items()])
    written = [table]
    for m, names in tools.names.items():
        rows = [found[clip.id].by_words(m) for clip in clips]
        with files.aside(out / f"{m}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                id=np.array([clip.id for clip in clips]),
                features=np.concatenate(rows),
                lengths=np.array([len(values) for values in rows]),
                names=np.array(names),
            )
        written.append(out / f"{m}.npz")
    files.write_text(made, json.dumps(asdict(tools.extraction(aligned=True)), indent=2) + "\n")
    for name in FOLDER:
        if out / name not in (*written, made):
            (out / name).unlink(missing_ok=True)  # of an earlier call, which had more modalities
    return [*written, made]
