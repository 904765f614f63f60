"""The table of recipes: each one composes, none is missing, and the figures are those that were measured."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recipes
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from mmsa_lightning.experiment.components import build
from mmsa_lightning.experiment.config import check, config_dir, plain

CONF = config_dir()
ALL = recipes.read()
ROWS = [(recipe, model) for recipe in ALL for model in recipe["models"]]
each_row = pytest.mark.parametrize(("recipe", "model"), ROWS, ids=[f"{r['title']}-{m}" for r, m in ROWS])


@pytest.fixture
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def options(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


def words(recipe: dict[str, Any], model: str) -> dict[str, str]:
    """The overrides of a recipe's command: text by key."""
    python, script, flag, *overrides = shlex.split(recipes.command(recipe, model))
    assert (python, script, flag) == ("python", "train.py", "-m")
    parsed = OverridesParser.create().parse_overrides(overrides)
    return {override.get_key_element(): override.get_value_string() for override in parsed}


@pytest.mark.slow
@each_row
def test_a_recipe_composes_builds_and_runs_its_seeds(
    recipe: dict[str, Any], model: str, hydra: None, tiny_bert: str
) -> None:
    given = words(recipe, model)
    seeds = given.pop("seed", None)
    job = [f"{key}={value}" for key, value in given.items()]
    cfg = compose("train", [*job, f"text_encoder={tiny_bert}"], return_hydra_config=True)
    choices = cfg.hydra.runtime.choices
    assert (choices.model, choices.data) == (model, recipe["data"])
    config = plain(cfg)
    check(config)
    dims = {"text": None if config["text"] == "bert" else 300, "audio": 5, "vision": 20}
    dims = {m: width for m, width in dims.items() if m in (config["modalities"] or dims)}
    build("model", config["model"], where_null={"limit": 3.0}, dims=dims)

    figures = recipe["models"][model]
    assert figures is None or {*map(str, figures["seeds"])} <= {*(seeds or cfg.hydra.sweeper.params.seed).split(",")}


def test_every_model_and_every_tuned_file_has_a_row() -> None:
    assert {model for _, model in ROWS} == options("model")
    assert options("tuned") <= {f"{model}_{recipe['data']}" for recipe, model in ROWS}


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe["title"])
def test_figures_are_those_of_the_table_that_is_named(recipe: dict[str, Any]) -> None:
    measured = {model: figures for model, figures in recipe["models"].items() if figures}
    assert bool(measured) == bool(recipe["machine"]) == bool(recipe["date"])
    columns = recipes.columns(recipe)
    for figures in measured.values():
        assert set(figures) == {"seeds", *columns}
        defined = [figures[column] for column in columns if figures[column] is not None]
        assert all(len(figure) == min(2, len(figures["seeds"])) for figure in defined)
    if recipe["table"]:
        with (Path(recipes.HERE) / recipe["table"]).open() as stream:
            table = {(row["row"], row["metric"]): row for row in csv.DictReader(stream)}
        for (model, column), row in table.items():
            if model in measured and column in columns:
                written = [f"{float(row[name]):.2f}" for name in ("mean", "std") if row[name]]
                assert [f"{figure:.2f}" for figure in measured[model][column] or []] == written
                assert len(measured[model]["seeds"]) == int(row["n"])
        assert {(model, column) for model in measured for column in columns} <= set(table)


def test_the_page_is_up_to_date() -> None:
    page = recipes.PAGE.read_text()
    assert recipes.updated(page) == page, "run python experiments/recipes.py"


def test_a_row_without_figures_says_so() -> None:
    recipe = {"title": "T", "note": "N.", "command": "go MODEL", "machine": "a machine", "date": "2020-01-01"}
    recipe |= {"data": "sims"}
    figures = {"seeds": [1, 2], **{column: [80.0, 0.5] for column in ("mae", "corr", "acc2", "acc3", "acc5")}}
    lines = recipes.section(recipe | {"models": {"lmf": figures, "tfn": None}}).splitlines()
    assert "| model | seeds | MAE | Corr | Acc2 | Acc3 | Acc5 |" in lines
    assert "| `lmf` | 1, 2 | " + " | ".join(["80.00 ± 0.50"] * 5) + " |" in lines
    undefined = recipes.section(recipe | {"models": {"lmf": figures | {"corr": None}}})
    assert "| `lmf` | 1, 2 | 80.00 ± 0.50 | undefined | 80.00 ± 0.50 |" in undefined
    assert "| `tfn` | not measured |  |  |  |  |  |" in lines
    assert "N. Measured on 2020-01-01, on a machine." in lines
    assert "go lmf,tfn" in lines
    assert "N. **Not measured yet.**" in recipes.section(recipe | {"models": {"tfn": None}})
