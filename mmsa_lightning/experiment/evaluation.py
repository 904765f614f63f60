"""What a finished run's best weights predict on another data set or fold: ``evaluation.csv`` of a run.

The run's ``result.json`` stays as it is. Nothing is missing from the data, whatever the run's own rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mmsa_lightning import files
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.store import SPLITS, Store, check_names
from mmsa_lightning.data.utterances import moments
from mmsa_lightning.data.vocabularies import compare_vocabularies
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.experiment.robustness import measure, predictions
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.protocols import PROTOCOLS

STANDARDIZE = ("run", "store")  # whose train split has the moments of audio and vision
SOURCES = {  # of what reads text
    "tokens": "tokens: import its source again with --text-encoder NAME",
    "text": "text features: mmsa data encode makes them of its tokens, mmsa data import --text NPZ reads them",
}


def evaluate(run_dir: Path, store: Path, split: str, standardize: str, plugins: Path | None = None) -> list[str] | None:
    """Measure a finished run on a split of a store; write ``evaluation.csv`` and ``evaluation_predictions.csv``.

    Both are in the run's folder, beside what was measured on other data before. The first has a row a store, split and
    standardisation: every metric of the store's own protocol; ``ratio``, by which predictions were multiplied, since
    labels may reach another limit than in the run's data; of the ``utterances``, how many were ``seen``, that is, have
    the id of one in the run's train or valid split; and how many features are ``far``, their mean more than
    :data:`result.FAR` standard deviations from that of the run's train split. The second has a row an utterance: the
    label and the prediction, times the ratio. Predictions are in 32 bits, whatever the run's precision.

    Args:
        run_dir: of the run.
        store: the path of the other store.
        split: of it: train, valid or test.
        standardize: ``run``: audio and vision are standardised with the moments of the run's own train split, as in
            training. ``store``: with those of the other store's train split, where features are on another scale.
        plugins: the folder of the user's own model.

    Returns:
        lines to warn of what may be wrong with the figures; None if this was measured before.

    Raises:
        UserError: as :func:`restore`; the store does not hold what the run reads; an unknown split.
    """
    for option, given, choices in (("split", split, SPLITS), ("standardize", standardize, STANDARDIZE)):
        if given not in choices:
            raise UserError(f"--{option} {given}: choose one of {', '.join(choices)}")
    opened = Store(store)
    key = {"data_hash": opened.meta.content_sha256, "split": split, "standardize": standardize}
    module, own = restore(run_dir, plugins)
    _check(run_dir, own, opened, standardize)
    data = _open(own, store, standardize)
    warnings = [line for line in [_check_text(module, data)] if line]

    there = opened.splits[split]
    label = torch.from_numpy(there.label).double()
    protocol = PROTOCOLS[opened.meta.protocol]
    ratio = opened.meta.label_limit / own.store.meta.label_limit
    if guessed := [str(path) for path, meta in ((store, opened.meta), (own.path, own.store.meta)) if meta.range_found]:
        if ratio != 1:
            warnings.append(
                f"{' and '.join(guessed)}: nobody said which labels there can be, so predictions are not put on its "
                "scale; to have that done, import with --label-range"
            )
        ratio = 1.0
    if _is_in(run_dir, key | {"protocol": opened.meta.protocol, "ratio": str(round(ratio, 6))}):
        return None
    far = _far(own, data, split, standardize)
    if far:
        warnings.append(_warning(far, own, data, split))
    known = {id for name in ("train", "valid") for id in own.store.splits[name].ids}
    seen = len(known.intersection(there.ids))
    if seen and opened.meta.content_sha256 != own.store.meta.content_sha256:
        warnings.append(
            f"{seen} of {len(there)} utterances of {store}, {split}, have ids of the train or valid split of the "
            "run's own data: if they are the same utterances, the run knows them"
        )
    module.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    prediction = predictions(module, data, split).double() * ratio
    counts = {"ratio": round(ratio, 6), "utterances": len(there), "seen": seen, "far": len(far)}
    figures = {"store": store.name, **key, "protocol": protocol.name, **counts, **measure(prediction, label, protocol)}
    columns = zip(there.ids, files.short(there.label), files.short(prediction.tolist()), strict=True)
    rows = [key | {"id": id, "label": label, "prediction": prediction} for id, label, prediction in columns]
    with files.held(run_dir):
        _append(run_dir / result.EVALUATION_PREDICTIONS, key, rows)
        _append(run_dir / result.EVALUATION, key, [figures])  # last: it says that both are there
    return warnings


def _check(run_dir: Path, own: StoreDataModule, other: Store, standardize: str) -> None:
    """See whether a store holds what a run reads.

    Raises:
        UserError: it does not.
    """
    if lacking := [m for m in own.dims if m not in other.modalities]:
        raise UserError(
            f"{run_dir} reads {', '.join(own.dims)}, but {other.path} has no {' and no '.join(lacking)}; evaluate a "
            f"run of modalities=[{','.join(other.modalities)}] or fewer"
        )
    for modality, name in own.sequences.items():
        if name not in other.dims:
            raise UserError(f"{run_dir} reads text={own.text}, but {other.path} has no {SOURCES[name]}")
        if own.store.dims[name] != other.dims[name]:
            raise UserError(
                f"{run_dir} reads {own.store.dims[name]} features of {modality}, but {other.path} has "
                f"{other.dims[name]}: these are other features; extract the same ones, and import them"
            )
        named, found = (store.meta.feature_names.get(name) for store in (own.store, other))
        check_names(modality, named, found, str(other.path))
    if standardize == "store" and not own.scale:
        raise UserError(
            f"--standardize store: {run_dir} standardises nothing (it reads neither audio nor vision, or has "
            "data.standardize=false); leave it out"
        )


def _open(own: StoreDataModule, store: Path, standardize: str) -> StoreDataModule:
    """The other store, to be read as the run reads its own."""
    data = StoreDataModule(
        str(store),
        batch_size=own.batch_size,
        eval_batch_size=own.eval_batch_size,
        text=own.text,
        modalities=list(own.dims),
        standardize=standardize == "store",
        seed=own.seed,
        num_workers=0,
    )
    data.setup()
    if standardize == "run":
        data.scale = own.scale
    return data


def _check_text(module: SentimentModule, data: StoreDataModule) -> str | None:
    """See whether a model's text encoder can read the tokens, and the model their steps.

    Returns:
        one line if it is not known whether the vocabulary is the same.

    Raises:
        UserError: they are of another vocabulary, or too long, or not aligned where the model needs it.
    """
    if getattr(module.model, "needs_alignment", False) and not data.aligned:
        raise UserError(
            f"{', '.join(data.dims)} of {data.path} are not aligned, but {type(module.model).__name__} needs aligned "
            "data; evaluate a run of another model (see mmsa models)"
        )
    unknown = None
    for encoder in (m for m in module.model.modules() if isinstance(m, TextEncoder)):
        unknown = compare_vocabularies(data.store.meta, data.path, encoder.name)
        data.check_encoder(encoder.name, encoder.vocabulary_size, encoder.positions)
    return unknown


def _far(own: StoreDataModule, data: StoreDataModule, split: str, standardize: str) -> dict[tuple[str, int], float]:
    """The features of a split whose mean lies far from that of the run's train split, with the distance.

    It is in units of the smaller of the two standard deviations, so that it does not matter which of the two data sets
    is on the larger scale. Features with moments of their own are left out.
    """
    found: dict[tuple[str, int], float] = {}
    for modality, name in own.sequences.items():
        if name == "tokens" or (standardize == "store" and name in own.scale):
            continue
        mean, std = own.scale.get(name) or moments(own.store.splits["train"].sequences[name])
        other_mean, other_std = moments(data.store.splits[split].sequences[name])
        distance = np.abs(other_mean - mean) / np.minimum(std, other_std)
        found |= {(modality, int(i)): float(distance[i]) for i in np.flatnonzero(distance > result.FAR)}
    return found


def _warning(far: dict[tuple[str, int], float], own: StoreDataModule, data: StoreDataModule, split: str) -> str:
    """One line that names the farthest feature, and what mends it."""
    modality, number = max(far, key=lambda feature: far[feature])
    more = f", and those of {len(far) - 1} more features lie far apart, too" if len(far) > 1 else ""
    mend = (
        "if their scales differ, --standardize store takes the moments of this store's own train split"
        if modality in own.scale
        else "these are not standardised: see whether both were made in the same way"
    )
    distance = far[modality, number]
    return (
        f"the mean of {modality} feature {number} (from 0) of {data.path}, {split}, lies {distance:.1f} standard "
        f"deviations from that of the run's own data{more}: {mend}"
    )


def _is_in(run_dir: Path, key: dict[str, str]) -> bool:
    path = run_dir / result.EVALUATION
    with files.as_written(path):
        return path.is_file() and any(row | key == row for row in files.read_rows(path))


def _is(row: dict[str, str], key: dict[str, str]) -> bool:
    return all(row[name] == key[name] for name in result.KEY)


def _append(path: Path, key: dict[str, str], rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows to a CSV file, in the place of any with the same key, which a killed process may have left."""
    with files.as_written(path):
        before = [row for row in files.read_rows(path) if not _is(row, key)] if path.is_file() else []
    files.write_rows(path, [*before, *rows])
