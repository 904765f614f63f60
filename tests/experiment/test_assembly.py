"""How a run's parts follow its data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from labelled import make_store, overrides
from settings import composed

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.assembly import build_data, build_module

SIMS = [-1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "label_range, override, limit",
    [(SIMS, [], 1.0), ([1.0, 5.0], [], 5.0), ([-3.0, 3.0], [], 3.0), (SIMS, ["{}.limit=2.5"], 2.5)],
)
@pytest.mark.parametrize(
    "model, part", [("self_mm", "objective"), ("interactive_attention", "objective"), ("tfn", "model")]
)
def test_limits_are_those_of_the_labels_or_as_said(
    tmp_path: Path, tiny_bert: str, label_range: list[float], override: list[str], limit: float, model: str, part: str
) -> None:
    store = make_store(tmp_path / "x.h5", label_range)
    config = composed(*overrides(store, tiny_bert, model), *(text.format(part) for text in override))
    module = build_module(config, build_data(config), None)
    assert getattr(getattr(module, part), "ulgm", getattr(module, part)).limit == limit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["modalities=[audio]", "encoder.freeze=1"],
            "encoder.freeze=1: this model reads no tokens with a text encoder",
        ),
        (["modalities=[audio]", "encoder.gradient_checkpointing=true"], "encoder.gradient_checkpointing=True: this"),
        (["modalities=[audio]", "optim.layer_decay=0.5"], "optim.layer_decay=0.5: no layer of a text encoder"),
        (["encoder.freeze=all", "optim.layer_decay=0.5"], "optim.layer_decay=0.5: no layer of a text encoder"),
        (["encoder.freeze=2"], "encoder.freeze=2: this encoder has 1 layers"),
        (["modalities=[audio]", "encoder.freeze=some"], "encoder.freeze=some: give none"),
    ],
)
def test_settings_that_a_model_has_no_place_for_are_one_line(
    tmp_path: Path, tiny_bert: str, options: list[str], words: str
) -> None:
    store = make_store(tmp_path / "x.h5", [-3.0, 3.0])
    with pytest.raises(UserError, match=re.escape(words)):
        config = composed(*overrides(store, tiny_bert, "lmf"), *options)
        build_module(config, build_data(config), None)
