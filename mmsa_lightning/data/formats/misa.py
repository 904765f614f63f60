"""The pickles of MISA and of MAG-BERT: utterances one by one, unpadded, one step per word.

MISA (https://github.com/declare-lab/MISA, ``src/create_dataset.py``): a folder with ``train.pkl``, ``dev.pkl`` and
``test.pkl``, each a list of ((word ids, visual (words, 47), acoustic (words, 74), words), label, segment).
MAG-BERT (https://github.com/WasifurRahman/BERT_multimodal_transformer, ``multimodal_driver.py``): {train, dev, test} ->
list of ((words, visual, acoustic), label, segment). A label is (1, 1), or in MOSEI (1, 7) with six emotions behind
the sentiment. A segment is ``VIDEO[3]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mmsa_lightning.data.formats.fields import SPLIT_NAMES, numeric, text, utterance_id
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError


def read(data: list[Any] | dict[str, list[Any]]) -> Source:
    """Read unpickled folds, or a single fold, which becomes the one split ``all``, still to be divided.

    Raises:
        UserError: an utterance does not have this layout.
    """
    if isinstance(data, dict):
        splits = {SPLIT_NAMES[name]: _split(fold, name) for name, fold in data.items() if name in SPLIT_NAMES}
    else:
        splits = {"all": _split(data, "the fold")}
    return Source("misa", splits, aligned=True)


def _split(fold: list[Any], where: str) -> SourceSplit:
    ids, labels, words, vision, audio = [], [], [], [], []
    for row, utterance in enumerate(fold):
        place = f"{where}, utterance {row}"
        try:
            (first, visual, acoustic, *rest), label, segment = utterance[:3]
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(f"{place}: not ((words, visual, acoustic), label, segment)") from error
        ids.append(utterance_id(segment))
        labels.append(_label(label, place))
        words.append(_words(rest[0] if rest else first, place))
        vision.append(_steps(visual, f"{place}: visual"))
        audio.append(_steps(acoustic, f"{place}: acoustic"))
    return SourceSplit(
        ids=ids,
        label=np.array(labels, dtype=np.float64),
        raw_text=[" ".join(spoken) for spoken in words],
        words=words,
        features={"audio": Sequences(audio), "vision": Sequences(vision)},
    )


def _label(label: Any, place: str) -> float:
    values = numeric(label, f"{place}: label").ravel()
    if len(values) not in (1, 7):
        raise UserError(f"{place}: label holds {len(values)} values, not 1 (sentiment) or 7 (with emotions)")
    return float(values[0])


def _words(words: Any, place: str) -> list[str]:
    if isinstance(words, np.ndarray) and words.dtype.kind in "iuf":
        raise UserError(f"{place}: words are numbers of a vocabulary that the pickle does not hold")
    return [text(word) for word in words]


def _steps(values: Any, place: str) -> np.ndarray:
    array = numeric(values, place)
    if array.ndim != 2:
        raise UserError(f"{place}: shape {array.shape}, not (words, features)")
    return array
