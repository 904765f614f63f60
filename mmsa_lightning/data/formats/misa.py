"""The pickles of MISA, MMIM and MAG-BERT: utterances one by one, unpadded.

MISA (https://github.com/declare-lab/MISA, ``src/create_dataset.py``): a folder with ``train.pkl``, ``dev.pkl`` and
``test.pkl``, each a list of ((word ids, visual (words, 47), acoustic (words, 74), words), label, segment).
MMIM (https://github.com/declare-lab/Multimodal-Infomax, ``src/create_dataset.py``): the same, but not aligned to words:
((none, visual (frames, dim), acoustic (frames, dim), words, visual length, acoustic length), label, segment).
MAG-BERT (https://github.com/WasifurRahman/BERT_multimodal_transformer, ``multimodal_driver.py``): {train, dev, test} ->
list of ((words, visual, acoustic), label, segment). A label is (1, 1), or in MOSEI (1, 7): the sentiment, then
six emotions. A segment is ``VIDEO[3]``, counted from 0; in MMIM's MOSI it is ``VIDEO_4``, counted from 1 as in MMSA; in
MMIM's MOSEI it is only the video.
"""

from __future__ import annotations

import collections
import re
from typing import Any

import numpy as np

from mmsa_lightning.data.formats.fields import by_split, is_missing, numeric, sentiment, text, utterance_id
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError


def read(data: list[Any] | dict[str, list[Any]]) -> Source:
    """Read unpickled folds, or a single fold: it becomes the split ``all``, which is still to be divided.

    Raises:
        UserError: an utterance does not have this layout.
    """
    folds = by_split(data) if isinstance(data, dict) else {"all": data}
    source = Source("misa", {}, aligned=True)
    for name, fold in folds.items():
        source.splits[name] = _split(fold, "the fold" if name == "all" else name, source)
    if source.layout == "mmim":
        _name_segments(source)
    return source


def _split(fold: list[Any], where: str, source: Source) -> SourceSplit:
    ids, labels, words, vision, audio = [], [], [], [], []
    missing = emotions = 0
    for row, utterance in enumerate(fold):
        place = f"{where}, utterance {row}"
        try:
            (first, visual, acoustic, *rest), label, segment = utterance[:3]
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(f"{place}: not ((words, visual, acoustic), label, segment)") from error
        ids.append(utterance_id(segment, f"{place}: the segment"))
        place += f" ({ids[-1]})"
        values = numeric(label, f"{place}: label").reshape(1, -1)
        emotions += values.size > 1
        labels.append(sentiment(values, f"{place}: label")[0])
        spoken = _words(rest[0] if rest else first, place)
        missing += sum(map(is_missing, spoken))
        words.append([text(word, f"{place}: word {i}") for i, word in enumerate(spoken)])
        vision.append(_steps(visual, f"{place}: visual"))
        audio.append(_steps(acoustic, f"{place}: acoustic"))
        steps = {"visual": len(vision[-1]), "acoustic": len(audio[-1])}
        if len(rest) > 1:  # MMIM's data loader recognises unaligned data by this
            source.layout, source.aligned = "mmim", False
            _compare(steps, dict(zip(steps, rest[1:], strict=False)), place, "as its length")
        else:
            _compare(steps, dict.fromkeys(steps, len(spoken)), place, "words")
    if missing:
        source.report.append(f"{where}: {missing} words are None or NaN, taken as empty")
    if emotions:
        source.report.append(f"{where}: labels have 7 columns; the first, sentiment, was taken")
    return SourceSplit(
        ids=ids,
        label=np.array(labels, dtype=np.float64),
        raw_text=[" ".join(filter(None, spoken)) for spoken in words],
        words=words,
        features={"audio": Sequences(audio), "vision": Sequences(vision)},
    )


def _words(words: Any, place: str) -> list[Any]:
    if isinstance(words, np.ndarray) and words.dtype.kind in "iuf" and words.size:
        raise UserError(f"{place}: words are numbers of a vocabulary that the pickle does not hold")
    if not isinstance(words, list | tuple | np.ndarray):
        raise UserError(f"{place}: words are a {type(words).__name__}, not a list")
    return list(words)


def _steps(values: Any, what: str) -> np.ndarray:
    array = numeric(values, what)
    if array.ndim != 2:
        raise UserError(f"{what} has shape {array.shape}, not (steps, features)")
    return array


def _compare(steps: dict[str, int], stated: dict[str, Any], place: str, wanted: str) -> None:
    for name, length in stated.items():
        if steps[name] != length:
            raise UserError(f"{place}: {steps[name]} steps of {name}, but {length} {wanted}")


def _name_segments(source: Source) -> None:
    """Name segments ``VIDEO$_$3``. MMIM's MOSI has ``VIDEO_3``; its MOSEI names only the video: they are numbered."""
    splits = source.splits.values()
    ids = [name for split in splits for name in split.ids]
    if all(re.fullmatch(r".+_\d+", name) for name in ids):
        for split in splits:
            split.ids = [re.sub(r"_(\d+)$", r"$_$\1", name) for name in split.ids]
    elif len(set(ids)) < len(ids) and not any("$_$" in name for name in ids):
        seen: collections.Counter[str] = collections.Counter()
        for split in splits:
            for row, video in enumerate(split.ids):
                split.ids[row] = f"{video}$_${seen[video]}"
                seen[video] += 1
        source.report.append("the segments name only the video, so those of a video were numbered in their order")
