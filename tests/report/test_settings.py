"""Tables 1 and 2 from the demo's store and the real configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.paper import Printed, printed
from mmsa_lightning.report.settings import configs, counts_grid, settings_grid


def test_settings_are_the_papers():
    grid = settings_grid(configs([]), printed(2))
    assert grid.header[1:5] == ["bert", "video", "audio", "other"]
    assert grid.rows == [
        ["MOSI", "5e-05", "6e-05", "0.0006", "0.0006", "32", "0.1", "0"],
        ["MOSEI", "5e-05", "6e-05", "0.005", "0.0006", "32", "0.1", "0"],
    ]


def test_another_setting_stands_beside_the_papers():
    grid = settings_grid(configs(["data=mosi", "optim.lr.bert=1e-5"]), printed(2))
    assert grid.rows[0][:3] == ["MOSI", "1e-05 (5e-5)", "6e-05"]


def test_counts_of_a_store_and_the_misprint_beside_them(tmp_path: Path):
    chosen = configs(["data=demo", f"data.path={tmp_path / 'd.h5'}", "data.counts={train: 40, valid: 8, test: 9}"])
    paper = {"demo": Printed("DEMO", {"train": "40", "valid": "80", "test": "9", "all": "57"}, {"valid": "8"})}
    grid = counts_grid(chosen, paper)
    assert grid.rows == [["DEMO", "40", "8 (80†)", "9", "57"]]
    assert grid.title.endswith("† DEMO, valid: 8.")


def test_without_a_store_it_says_how_to_import_one(tmp_path: Path):
    with pytest.raises(UserError, match="make one with: mmsa data import"):
        counts_grid(configs(["data=mosi", f"data.path={tmp_path / 'none.h5'}"]), printed(1))


def test_both_tables_are_of_no_other_model():
    assert settings_grid(configs(["model=tfn"]), printed(2)).rows == settings_grid(configs([]), printed(2)).rows


def test_of_several_choices_of_data_the_last_counts() -> None:
    """As Hydra takes it."""
    assert list(configs(["data=mosei", "data=mosi"])) == ["mosi"]
