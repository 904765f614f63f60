"""Which arguments of Lightning's Trainer a config may set, and to what. That they work is tested by whole runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from mmsa_lightning.data.store import Split
from mmsa_lightning.errors import UserError
from mmsa_lightning.objectives.base import Objective
from mmsa_lightning.objectives.l1 import L1
from mmsa_lightning.training import trainer
from mmsa_lightning.training.trainer import OWN_ARGUMENTS, SETTINGS, build_trainer, check, precision, processes

WRONG = ("nonsense", "", 0, -1, 1.5, 10**30, [1], True, None)  # unless it is among the others
TAKES: dict[str, tuple[Any, ...]] = {
    "accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "accumulate_grad_batches": (1, 10**6),
    "benchmark": (None, True, False),
    "detect_anomaly": (True, False),
    "deterministic": (None, True, False, "warn"),
    "enable_model_summary": (True, False),
    "enable_progress_bar": (True, False),
    "gradient_clip_algorithm": ("norm", "value"),
    "gradient_clip_val": (None, 0, 1.5, 10**30),
    "inference_mode": (True, False),
    "log_every_n_steps": (1, 10**6),
    "max_epochs": (1, 10**6),
    "num_nodes": (1, 2),
    "precision": ("32-true", "16-mixed", "bf16-mixed", "64-true", "auto"),
}


@pytest.mark.parametrize("name", sorted(set(inspect.signature(L.Trainer).parameters) - set(SETTINGS)))
def test_an_argument_that_is_the_runs_own_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UserError, match="^" + re.escape(f"trainer.{name} cannot be set: {OWN_ARGUMENTS[name]}")):
        check({name: None})


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"devices"}))  # test_devices.py
def test_an_argument_takes_what_it_says_and_nothing_else(name: str) -> None:
    known = [(type(value), value) for value in TAKES[name]]
    for value in TAKES[name]:
        check({name: value})
    for value in WRONG:
        if (type(value), value) not in known:
            with pytest.raises(UserError, match="^" + re.escape(f"trainer.{name}={value}: ")):
                check({name: value})


def test_an_argument_is_not_set_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would take it for a default: validation on a part of its split, without a word."""
    monkeypatch.setenv("PL_TRAINER_LIMIT_VAL_BATCHES", "1")
    with pytest.raises(UserError, match="PL_TRAINER_LIMIT_VAL_BATCHES=1 in the environment"):
        check({})


def test_half_precision_that_a_processor_has_not_is_refused() -> None:
    with pytest.raises(UserError, match="16-mixed is for GPUs"):
        processes({"accelerator": "cpu", "precision": "16-mixed"})


@pytest.mark.parametrize(
    ("processor", "gpus", "devices", "expected"),
    [
        (True, [], 1, "bf16-mixed"),
        (False, [], 1, "32-true"),
        (False, [9, 7], 1, "bf16-mixed"),  # the first alone
        (True, [9, 7], 2, "32-true"),
        (True, [9, 7], [1], "32-true"),
    ],
)
def test_auto_is_half_precision_where_each_device_has_it(
    processor: bool, gpus: list[int], devices: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_gpus", lambda options: len(gpus))
    monkeypatch.setattr(trainer, "processor_has_bf16", lambda: processor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(major=gpus[i]))
    assert precision({"precision": "auto", "devices": devices}) == expected
    assert precision({"precision": "64-true", "devices": devices}) == "64-true"
    assert precision({"devices": devices}) == "32-true"


def test_auto_is_float32_on_a_gpu_that_is_not_cudas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_gpus", lambda options: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert precision({"precision": "auto"}) == "32-true"


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    for name in ("gpu", "cuda", "mps"):
        with pytest.raises(UserError, match=rf"trainer\.accelerator={name}: this machine has none"):
            processes({"accelerator": name})


def test_several_processes_on_the_cpu_do_not_normalise_over_shares_of_a_batch(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    split = Split(ids=[], label=np.zeros(0), sequences={})
    given: dict[str, Any] = {"patience": 1, "train": split, "label_limit": 3.0, "model": model, "objective": L1()}
    with pytest.raises(UserError, match="batch normalisation"):
        build_trainer({"accelerator": "cpu", "devices": 2, "max_epochs": 1}, tmp_path, **given)
    build_trainer({"accelerator": "cpu", "devices": 1, "max_epochs": 1}, tmp_path, **given)


def test_no_attention_plans_for_every_new_shape(tmp_path: Path) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    split = Split(ids=[], label=np.zeros(0), sequences={})
    given: dict[str, Any] = {"train": split, "label_limit": 3.0, "model": nn.Linear(2, 2), "objective": L1()}
    build_trainer({"accelerator": "cpu"}, tmp_path, patience=1, **given)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


class OfGradients(Objective):
    combine = staticmethod(torch.sum)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"devices": 2}, "^trainer.devices: this objective.weighting combines gradients"),
        ({"precision": "16-mixed"}, "^trainer.precision=16-mixed scales losses"),
    ],
)
def test_gradients_are_combined_in_one_process_and_unscaled(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "processes", lambda options: options.get("devices", 1))  # also without a GPU
    split = Split(ids=[], label=np.zeros(0), sequences={})
    given: dict[str, Any] = {"patience": 1, "train": split, "label_limit": 3.0, "model": nn.Linear(2, 2)}
    with pytest.raises(UserError, match=words):
        build_trainer({"accelerator": "cpu", **options}, tmp_path, objective=OfGradients(), **given)
