"""Tables 1 and 2: the counts of the stores at hand and the settings that training would use, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose

from mmsa_lightning.experiment.config import plain
from mmsa_lightning.experiment.overrides import composing
from mmsa_lightning.report.grid import Grid
from mmsa_lightning.report.paper import Printed

DATA = "mosi,mosei"


def configs(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The composed config of each data set, by its name: those of ``data=…`` among the overrides, else :data:`DATA`.

    Raises:
        UserError: Hydra does not take an override.
    """
    chosen = [word.removeprefix("data=") for word in overrides if word.startswith("data=")] or [DATA]
    # Of any model: these tables are of the data and of the paper's model.
    others = [word for word in overrides if not word.startswith(("data=", "model="))]
    with composing(overrides):
        return {name: plain(compose("train", [f"data={name}", *others])) for name in chosen[-1].split(",")}


def counts_grid(configs: dict[str, dict[str, Any]], paper: dict[str, Printed]) -> Grid:
    """Table 1: utterances a split.

    Raises:
        UserError: a store is not there; says how to import it.
    """
    from mmsa_lightning.experiment.assembly import build_data  # with Lightning, for this table alone

    rows = {}
    for name, config in configs.items():
        splits = build_data(config).store.splits
        counts = {split: len(splits[split]) for split in ("train", "valid", "test")}
        rows[name] = counts | {"all": sum(counts.values())}
    return _beside("Utterances", rows, paper)


def settings_grid(configs: dict[str, dict[str, Any]], paper: dict[str, Printed]) -> Grid:
    """Table 2: learning rates, batch size and dropout of the paper's model."""
    rows = {
        name: config["optim"]["lr"]
        | {
            "batch_size": config["data"]["batch_size"],
            "bert_dropout": config["model"]["bert_dropout"],
            "lstm_dropout": config["model"]["lstm_dropout"],
        }
        for name, config in configs.items()
    }
    return _beside("Settings of the paper's model", rows, paper)


def _beside(what: str, rows: Mapping[str, Mapping[str, float]], paper: dict[str, Printed]) -> Grid:
    """Our figures, and in brackets the paper's where it prints another."""
    columns = list(next(iter(paper.values())).figures)
    cells, errata = [], []
    for name, figures in rows.items():
        printed = paper.get(name)
        line = [printed.name if printed else name]
        for column in columns:
            theirs = printed.figures[column] if printed else ""
            dagger = "†" if printed and column in printed.errata else ""
            differs = theirs and float(theirs) != figures[column]
            line.append(f"{figures[column]:g}" + (f" ({theirs}{dagger})" if differs or dagger else ""))
        cells.append(line)
        errata += [f"{printed.name}, {column}: {text}" for column, text in printed.errata.items()] if printed else []
    title = f"{what}; in brackets the paper's where it prints another."
    return Grid(" ".join([title, *(f"† {e}." for e in errata)]), ["", *columns], cells)
