"""Names tell apart what differs, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmsa_lightning.report.names import row_name, settings, told_apart

RECORD: dict[str, Any] = {"model": "self_mm", "ablation": "full", "text": "bert", "seed": 1}
MISSING = {"mode": "block", "rate": 0.3, "train": "same", "draw": "reference", "absent": "zeros"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "self_mm"),
        ({"text": "features", "weighting": "dwa"}, "self_mm, dwa (features)"),
        ({"model": "interactive_attention", "ablation": "bi"}, "bi"),
        ({"ablation": "bi"}, "self_mm, bi"),  # somebody's own, which another model may have, too
        ({"missing": MISSING}, "self_mm [block, same, reference] (block 0.3 missing)"),
    ],
)
def test_a_name_says_what_kind_of_run_it_is(changes: dict[str, Any], name: str):
    assert row_name(RECORD | changes) == name


def test_settings_are_those_that_make_a_run_what_it_is(tmp_path: Path):
    config = {"seed": 7, "runs": "elsewhere", "data": {"path": "/somewhere/sims.h5", "num_workers": 4}}
    config |= {"optim": {"lr": {"bert": 5e-5}, "schedule": None, "layer_decay": None}, "trainer": {"devices": [1, 3]}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    expected = {"data.path": "sims.h5", "optim.lr.bert": 5e-5, "optim.schedule": None, "trainer.devices": 2}
    assert settings(tmp_path, RECORD | {"processes": 2, "plugin_hash": None}) == expected
    del expected["optim.lr.bert"]
    assert settings(tmp_path, RECORD, ["optim.lr"]) == expected


def test_what_a_config_does_not_tell_counts_too(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("{trainer: {devices: auto}, optim: {lr: 1}}")
    found = settings(tmp_path, RECORD | {"processes": 4, "plugin_hash": "0123456789"})
    assert found == {"trainer.devices": "auto", "optim.lr": 1, "code": "01234567", "processes": 4}


@pytest.mark.parametrize(
    ("found", "names"),
    [
        # Runs of one row have one name, and what all have in common is in none.
        ([{"a": 1, "b": 2}] * 2, ["m", "m"]),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 2}], ["m, b=2", "m, b=3", "m, b=2"]),
        # Null, and what is not there, are left out, unless that makes one row of two.
        ([{"a": None}, {"a": True}, {}], ["m, a=null", "m, a=true", "m"]),
        ([{"a": None}, {"a": "x/y"}, {"a": ">="}], ["m", "m, a=x/y", "m, a='>='"]),
        ([{}, {"a.b": [1, "y"]}], ["m", "m, a.b=[1,y]"]),
        # Numbers are short where that is enough.
        ([{"a": 0.00012345678}, {"a": 5e-5}], ["m, a=0.000123", "m, a=5e-05"]),
        ([{"a": 0.00012345678}, {"a": 0.00012345}], ["m, a=0.00012345678", "m, a=0.00012345"]),
        ([{"a": "1"}, {"a": 1}], ['m, a="1"', "m, a=1"]),
        ([{"a": 1}, {"a": True}, {"a": 1.0}], ["m, a=1", "m, a=true", "m, a=1.0"]),
    ],
)
def test_rows_of_one_name_are_told_apart(found: list[dict[str, Any]], names: list[str]):
    assert told_apart(["m"] * len(found), found) == names


def test_rows_of_different_names_are_not_compared():
    assert told_apart(["m", "n", "m"], [{"a": 1}, {"b": 1}, {"a": 2}]) == ["m, a=1", "n", "m, a=2"]
