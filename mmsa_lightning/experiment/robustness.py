"""What a finished run's best weights predict on test when parts of it are missing: ``robustness.csv`` of a run.

One model answers for every rate and for every subset of the modalities. Only a run that was trained with frames or
blocks missing at the rate of test (``missing.train: same``) is a model for that rate alone, and is measured there:
TFR-Net's protocol has one a rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmsa_lightning import files
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.missing import Missing
from mmsa_lightning.data.sampler import LengthSampler
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.training.metrics import sentiment_metrics
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.protocols import PROTOCOLS, Protocol


@dataclass(frozen=True)
class Condition:
    """What is missing from test.

    Attributes:
        mode: of the missing, see :mod:`mmsa_lightning.data.missing`.
        at: the rate, such as ``0.3``; of whole modalities those that are there, such as ``text+audio``.
        mask_seed: None where nothing is drawn by it.
        missing: the same, for the data.
    """

    mode: str
    at: str
    mask_seed: int | None
    missing: Missing


def conditions(trained: Missing, modalities: Sequence[str], mask_seeds: Sequence[int]) -> list[Condition]:
    """Under what a run is measured.

    Args:
        trained: its own ``missing``.
        modalities: that it reads.
        mask_seeds: of the masks of test.
    """
    if trained.train == "same" and trained.mode != "modality":
        own = replace(trained, train="none")
        if own.draw == "reference":
            return [Condition(own.mode, str(float(own.rate)), None, own)]
        return [Condition(own.mode, str(float(own.rate)), s, replace(own, seed=s)) for s in mask_seeds]
    drawn = [
        Condition(mode, str(rate), seed, Missing(mode=mode, rate=rate, seed=seed))
        for mode in ("frames", "block")
        for rate in result.RATES
        for seed in mask_seeds
    ]
    subsets = [s for n in range(1, len(modalities) + 1) for s in itertools.combinations(modalities, n)]
    return drawn + [
        Condition("modality", "+".join(s), None, Missing(mode="modality", present=s))
        for s in subsets
        if len(modalities) > 1
    ]


def evaluate(run_dir: Path, mask_seeds: Sequence[int], plugins: Path | None = None) -> bool:
    """Measure a finished run, and write ``robustness.csv`` and ``robustness_errors.csv`` in its folder.

    The first has a row a condition with every metric. The second has a row a test utterance and a column a condition,
    such as ``frames 0.3``: the absolute error, mean over mask seeds. Predictions are in 32 bits, whatever the run's
    precision.

    Args:
        run_dir: of the run.
        mask_seeds: of the masks.
        plugins: the folder of the user's own model.

    Returns:
        False if it was measured with these mask seeds before.

    Raises:
        UserError: as :func:`restore`; the data cannot miss what is asked for.
    """
    if _measured(run_dir, mask_seeds):
        return False
    module, data = restore(run_dir, plugins)
    module.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    test = data.store.splits["test"]
    label = torch.from_numpy(test.label).double()
    protocol = PROTOCOLS[data.store.meta.protocol]
    rows: list[dict[str, Any]] = []
    errors: dict[str, list[Tensor]] = {}
    found: dict[tuple[str, str, int | None] | None, Tensor] = {}
    for condition in conditions(data.missing, list(data.dims), mask_seeds):
        whole = condition.missing.rate == 0 and set(condition.missing.present or data.dims) == set(data.dims)
        seed = condition.mask_seed if condition.missing.rate < 1 else None  # no mask is drawn where all is missing
        key = None if whole else (condition.mode, condition.at, seed)
        if key not in found:
            data.set_missing(condition.missing)
            found[key] = predictions(module, data, "test")
        prediction = found[key]
        figures = measure(prediction, label, protocol)
        rows.append({"mode": condition.mode, "at": condition.at, "mask_seed": condition.mask_seed, **figures})
        errors.setdefault(f"{condition.mode} {condition.at}", []).append(
            (protocol.clipped(prediction.double()) - protocol.clipped(label)).abs()
        )
    means = {name: files.short(torch.stack(each).mean(dim=0).tolist()) for name, each in errors.items()}
    utterances = [{"id": id, **{name: own[i] for name, own in means.items()}} for i, id in enumerate(test.ids)]
    with files.held(run_dir):
        files.write_rows(run_dir / result.ROBUSTNESS_ERRORS, utterances)
        files.write_rows(run_dir / result.ROBUSTNESS, rows)  # last: it says that both are there
    return True


def predictions(module: SentimentModule, data: StoreDataModule, split: str) -> Tensor:
    """Of a split, without what is missing, float32 (utterances,) on the CPU."""
    utterances = data.split(split)
    found = torch.empty(len(utterances))
    with torch.no_grad():
        for indices in LengthSampler(utterances.lengths, data.eval_batch_size):
            found[indices] = full(module.model(utterances[indices].to(module.device)).prediction).float().cpu()
    return found


def measure(prediction: Tensor, label: Tensor, protocol: Protocol) -> dict[str, float | None]:
    """Every metric of a protocol, to six places; None where one is undefined.

    Args:
        prediction: of every utterance of a split, float (utterances,) on the CPU.
        label: the same of them.
        protocol: of the data.
    """
    metrics = sentiment_metrics("", protocol)
    metrics.update(prediction, label, torch.arange(len(label)))
    found = {name: float(value) for name, value in metrics.compute().items()}
    return {name: None if math.isnan(found[name]) else round(found[name], 6) for name in protocol.metrics}


def _measured(run_dir: Path, mask_seeds: Sequence[int]) -> bool:
    """Whether it was, with these mask seeds or, where it has masks of its own, without any."""
    path = run_dir / result.ROBUSTNESS
    if not path.is_file():
        return False
    with files.as_written(path):
        found = {row["mask_seed"] for row in files.read_rows(path)} - {""}
    return found in (set(), set(map(str, mask_seeds)))
