"""Computational sequences of CMU's SDK, aligned to words and cut into utterances, without the SDK.

Words or word vectors, audio, vision and labels come as one ``.csd`` each; see :mod:`.sequence`. As in the SDK's own
``examples/mmdatasdk_examples/full_examples/process_mosi.py``, what overlaps a word is averaged over it, and every
interval of the labels becomes an utterance with the words that overlap it; see :mod:`.align`. What differs from there:

- pauses, the words ``sp``, are left out once everything is aligned, as in MISA (https://github.com/declare-lab/MISA,
  ``src/create_dataset.py``)
- an utterance at whose edge a word overlaps it, but nothing measured in that word does, keeps all steps of that word;
  the SDK's modalities would differ in length there, and published recipes drop the utterance
- words whose times lag are put right; see :mod:`.lag`

Utterances are named ``VIDEO$_$3``, where the SDK has ``VIDEO[3]``: it counts from 0, MMSA from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmsa_lightning.data.folds import folds
from mmsa_lightning.data.formats import lag
from mmsa_lightning.data.formats.cut import Cut, by_time, by_word
from mmsa_lightning.data.formats.fields import sentiment, some
from mmsa_lightning.data.formats.sequence import Budget, ComputationalSequence, Entry
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES

SUFFIX = ".csd"
# What a name says, in this order: the sequences of standard_datasets/CMU_MOSI and CMU_MOSEI, and plain names.
_ROLES = {
    "labels": "label",
    "text": "glove|vector|bert",
    "audio": "covarep|opensmile|acoustic|audio",
    "vision": "facet|openface|visual|vision",
    "words": "words",
}
_HOW = "state it with --audio, --vision or --text, or leave it out"


@dataclass
class _Sequences:
    """The opened files of a source, by what they hold."""

    labels: ComputationalSequence
    words: ComputationalSequence | None
    features: dict[str, list[ComputationalSequence]]

    @property
    def stepped(self) -> bool:
        """There are words or word vectors, which all is aligned to."""
        return self.words is not None or "text" in self.features

    def all(self) -> list[ComputationalSequence]:
        words = [self.words] if self.words else []
        return [self.labels, *words, *(one for several in self.features.values() for one in several)]


def read(paths: Sequence[Path], stated: Mapping[str, Path], dataset: str | None) -> Source:
    """Read the sequences of one data set.

    Args:
        paths: of the files, whose names say what they hold; labels among them.
        stated: of further files or of some of these, by their modality: each takes the place of those whose name says
            that modality.
        dataset: ``mosi`` or ``mosei`` divides the videos as officially; for any other, all are the split ``all``,
            which is still to be divided.

    Raises:
        UserError: a file is damaged, links elsewhere or is not of this layout; it is not known what one holds; labels
            are missing; nothing is in common.
    """
    report: list[str] = []
    budget = Budget({*paths, *stated.values()})
    with ExitStack() as stack:

        def opened(path: Path) -> ComputationalSequence:
            return stack.enter_context(closing(ComputationalSequence(path, budget)))

        own = {path.resolve() for path in stated.values()}
        sequences = _by_role(
            [opened(path) for path in paths if path.resolve() not in own],
            {modality: opened(path) for modality, path in stated.items()},
            report,
        )
        split_of = _videos(sequences, dataset, report)
        splits = _utterances(sequences, split_of, budget, report)
        names = {m: named for m, several in sequences.features.items() if (named := _names(several, m, report))}
        return Source("csd", splits, aligned=sequences.stepped, report=report, names=names)


def _by_role(
    named: list[ComputationalSequence], stated: dict[str, ComputationalSequence], report: list[str]
) -> _Sequences:
    found: dict[str, list[ComputationalSequence]] = {}
    for sequence in named:
        role = _role(sequence)
        if role in stated:
            report.append(f"{role}: {stated[role].path.name} replaces {sequence.path.name}")
        else:
            found.setdefault(role, []).append(sequence)
    for modality, sequence in stated.items():
        if sequence.spoken:
            raise UserError(f"{sequence.path} holds words, not features of {modality}")
        found[modality] = [sequence]
    for role in ("labels", "words"):
        if len(found.get(role, [])) > 1:
            raise UserError(f"{' and '.join(str(s.path) for s in found[role])} both hold {role}; name one of them")
    if "labels" not in found:
        names = ", ".join(sequence.path.name for several in found.values() for sequence in several)
        raise UserError(
            f"no file holds labels, and they say where the utterances are: name the .csd of labels, too, whose name "
            f"in it has the word label, beside {names}"
        )
    if found.keys() == {"labels"}:
        raise UserError(f"{found['labels'][0].path} holds labels; name the .csd of words or features, too")
    for role, several in found.items():
        report += [f"{sequence.path.name}: {sequence.names[0]}, read as {role}" for sequence in several]
        if len(several) > 1:
            report.append(f"{role}: features of {len(several)} sequences were joined, in this order")
    features = {modality: found[modality] for modality in MODALITIES if modality in found}
    return _Sequences(found["labels"][0], found.get("words", [None])[0], features)


def _role(sequence: ComputationalSequence) -> str:
    for name in sequence.names:
        for role, pattern in _ROLES.items():
            if re.search(pattern, name.lower()):
                if sequence.spoken != (role == "words"):
                    holds = "words" if sequence.spoken else "numbers"
                    raise UserError(f"{sequence.path}: {name} should hold {role}, and it holds {holds}")
                return role
    known = "words, glove_vectors, COVAREP, OpenSMILE, FACET, OpenFace, Labels"
    raise UserError(
        f"{sequence.path} holds {sequence.names[0]}, and what that is cannot be told (known: {known}): {_HOW}"
    )


def _videos(sequences: _Sequences, dataset: str | None, report: list[str]) -> dict[str, str]:
    """The split of each video that all sequences have, as the SDK's ``unify`` keeps them."""
    labels, *others = sequences.all()
    if segments := [key for keys in labels.videos.values() for key in keys if "[" in key]:
        raise UserError(f"{labels.path} has labels of the segments {some(segments)}; those of whole videos are needed")
    shared = [video for video in labels.videos if all(video in other.videos for other in others)]
    if not shared:
        known = "; ".join(f"{sequence.path.name} has {some(list(sequence.videos))}" for sequence in (labels, *others))
        raise UserError(f"no video is in all of the sequences: {known}")
    every = dict.fromkeys(video for sequence in (labels, *others) for video in sequence.videos)
    if apart := list(every.keys() - set(shared)):
        report.append(f"{len(apart)} videos are not in all sequences and were left out: {some(sorted(apart))}")
    official = folds(dataset) if dataset else None
    if official is None:
        return dict.fromkeys(shared, "all")
    outside = [video for video in shared if video not in official]
    if len(outside) == len(shared):
        raise UserError(
            f"no video is in the official folds of {dataset}: {some(outside)}; other data need another --dataset, and "
            "--split to divide them"
        )
    if outside:
        report.append(f"{len(outside)} videos are in no official fold and were left out: {some(outside)}")
    return {video: official[video] for video in shared if video in official}


def _words(sequence: ComputationalSequence, videos: Iterable[str], report: list[str]) -> tuple[dict[str, Entry], bool]:
    """The words of each video as the file has them, and whether their times lag."""
    words = {video: sequence.read(video).sorted() for video in videos}
    lagging = lag.lags([entry.features for entry in words.values()], [entry.intervals for entry in words.values()])
    if lagging is None:
        report.append("words: too few, or too much alike, to tell whether their times lag by one; left as they are")
    if lagging:
        report.append(
            "words: the times in the file lag by one, as long words and long times show; every word got the time of "
            "the one before, and the first of a video all that is before it"
        )
    return words, bool(lagging)


class _Utterance(NamedTuple):
    id: str
    label: float
    words: list[str] | None
    features: dict[str, np.ndarray]


def _utterances(
    sequences: _Sequences, split_of: Mapping[str, str], budget: Budget, report: list[str]
) -> dict[str, SourceSplit]:
    """The utterances of each split that have words and every modality."""
    words, lagging = _words(sequences.words, split_of, report) if sequences.words else ({}, False)
    found: dict[str, list[_Utterance]] = {}
    partial: list[str] = []
    cuts: list[Cut] = []
    for video, split in split_of.items():
        labels = sequences.labels.read(video)
        if not len(labels.features):
            continue
        score = sentiment(labels.features, f"{sequences.labels.path}: labels of {video}")
        features = {
            m: [sequence.read(video).sorted() for sequence in several] for m, several in sequences.features.items()
        }
        steps = words.get(video) or next(iter(features.get("text", [])), None)
        if lagging and steps is not None:
            same = [entry for entry in features.get("text", []) if np.array_equal(entry.intervals, steps.intervals)]
            for entry in (steps, *same):  # vectors with the times of the words are of these words
                entry.intervals = lag.put_right(entry.intervals)
        if steps is None:
            cut = by_time(labels.intervals, features, budget)
        else:
            cut = by_word(labels.intervals, steps, features, budget)
        cuts.append(cut)
        for clip, whole in enumerate(cut.whole()):
            name = f"{video}$_${clip}"
            if whole:
                own = {modality: steps_of[clip] for modality, steps_of in cut.features.items()}
                spoken = None if cut.words is None else cut.words[clip]
                found.setdefault(split, []).append(_Utterance(name, float(score[clip]), spoken, own))
            else:
                partial.append(name)
    if not found:
        raise UserError(f"{sequences.labels.path}: at none of its labels are there words and every modality")
    if sequences.labels.width == 7:
        report.append("labels have 7 columns; the first, sentiment, was taken")
    _tell(cuts, partial, report)
    return {split: _split(mine) for split, mine in found.items()}


def _split(utterances: list[_Utterance]) -> SourceSplit:
    words = [utterance.words for utterance in utterances if utterance.words is not None]
    return SourceSplit(
        ids=[utterance.id for utterance in utterances],
        label=np.array([utterance.label for utterance in utterances]),
        raw_text=[" ".join(spoken) for spoken in words] or None,
        words=words or None,
        features={m: Sequences([one.features[m] for one in utterances]) for m in utterances[0].features},
    )


def _tell(cuts: list[Cut], partial: list[str], report: list[str]) -> None:
    if pauses := sum(cut.pauses for cut in cuts):
        report.append(f"words: {pauses} pauses ({lag.PAUSE}) were left out, as in the published recipes")
    total = sum(cut.total for cut in cuts)
    for modality in cuts[0].empty:
        if empty := sum(cut.empty[modality] for cut in cuts):
            report.append(f"{modality}: nothing overlaps {empty} of {total} words, which got zeros, as the SDK imputes")
    if partial:
        report.append(
            f"{len(partial)} utterances have no word, or not every modality, and were left out: {some(partial)}"
        )


def _names(several: list[ComputationalSequence], modality: str, report: list[str]) -> list[str] | None:
    """Of the features of a modality, where the metadata of each of its sequences name as many as there are."""
    names: list[str] = []
    for sequence in several:
        if sequence.dimensions is None:
            return None
        if len(sequence.dimensions) != sequence.width:
            report.append(
                f"{modality}: {sequence.path.name} names {len(sequence.dimensions)} features and has "
                f"{sequence.width}; the names were left out"
            )
            return None
        names += sequence.dimensions
    return names
