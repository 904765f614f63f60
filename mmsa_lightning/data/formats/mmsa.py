"""MMSA's pickles ``aligned_50.pkl`` and ``unaligned_50.pkl``.

{train, valid, test} -> ``raw_text``, ``id`` ("video$_$clip"), ``text`` (n, 50, 768) precomputed BERT features,
``text_bert`` (n, 3, 50) of ids, mask and segments as float, ``audio`` (n, time, dim), ``vision`` (n, time, dim),
``regression_labels`` (n,), for CH-SIMS also ``regression_labels_T``, ``_A`` and ``_V``, and in unaligned files
``audio_lengths`` and ``vision_lengths``. Published at https://github.com/thuiar/MMSA and read there by
``src/MMSA/data_loader.py``. MMSA-FET (https://github.com/thuiar/MMSA-FET, ``src/MSA_FET/dataset.py``) writes the same;
with ``return_type='pt'``, features are tensors of torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mmsa_lightning.data.formats.fields import by_split, column, numeric, padded, texts, utterance_ids, whole_numbers
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.errors import UserError

_UNIMODAL = {"text": "regression_labels_T", "audio": "regression_labels_A", "vision": "regression_labels_V"}


def read(data: dict[str, dict[str, Any]]) -> Source:
    """Read the unpickled ``data``; it is aligned if all modalities have one padded length and no lengths are stated.

    Raises:
        UserError: something that the layout needs is missing or malformed.
    """
    parts = by_split(data)
    report: list[str] = []
    splits = {name: _split(part, name, report) for name, part in parts.items()}
    times = {np.shape(part[m])[1] for part in parts.values() for m in ("text", "audio", "vision") if m in part}
    times |= {np.shape(part["text_bert"])[2] for part in parts.values() if "text_bert" in part}
    stated = any(f"{m}_lengths" in part for part in parts.values() for m in ("audio", "vision"))
    return Source("mmsa", splits, aligned=len(times) == 1 and not stated, report=report)


def _split(part: dict[str, Any], where: str, report: list[str]) -> SourceSplit:
    split = SourceSplit(
        ids=utterance_ids(column(part, "id", where), f"{where}: id", sdk=False),
        label=np.atleast_1d(numeric(column(part, "regression_labels", where), f"{where}: regression_labels")),
        raw_text=texts(part["raw_text"], f"{where}: raw_text", report) if "raw_text" in part else None,
        unimodal={m: np.atleast_1d(numeric(part[k], f"{where}: {k}")) for m, k in _UNIMODAL.items() if k in part},
    )
    for modality in ("text", "audio", "vision"):
        if modality in part:
            lengths = part.get(f"{modality}_lengths")
            split.features[modality] = Sequences(
                padded(part[modality], f"{where}: {modality}"),
                None if lengths is None else whole_numbers(lengths, f"{where}: {modality}_lengths"),
            )
    if "text_bert" in part:
        ids, mask = _tokens(part["text_bert"], where)
        split.tokens = [row[keep] for row, keep in zip(ids, mask, strict=True)]
        values = split.features["text"].values if "text" in split.features else None
        if isinstance(values, np.ndarray) and values.shape[:2] == mask.shape:
            # BERT's features of the padding are not zero: only the mask shows how long the text is.
            split.features["text"] = Sequences([_kept(row, keep) for row, keep in zip(values, mask, strict=True)])
    return split


def _kept(row: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The steps that the mask keeps. They are not copied if they come first, as with BERT's masks."""
    count = int(keep.sum())
    return row[:count] if keep[:count].all() else row[keep]


def _tokens(text_bert: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """ids int64 (n, time) and mask bool (n, time)."""
    array = padded(text_bert, f"{where}: text_bert")
    if array.shape[1] != 3:
        raise UserError(f"{where}: text_bert has shape {array.shape}, not (utterances, 3, time)")
    ids = array[:, 0]
    wrong = ~((ids >= 0) & (ids < 2**31) & (ids == np.floor(ids)))  # NaN is wrong too
    if wrong.any():
        row, step = np.argwhere(wrong)[0]
        raise UserError(
            f"{where}: text_bert holds ids that are not whole numbers from 0 up: {ids[row, step]}, row {row}"
        )
    return ids.astype(np.int64), array[:, 1] > 0
