"""Tables by hand, from files made by hand."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import MACHINE

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.cells import find_cells
from mmsa_lightning.report.evaluation import grids, read_evaluations, write_evaluation
from mmsa_lightning.training.protocols import MOSI, SIMS, Protocol

UTTERANCES = 8
LINE = {"store": "b_1.h5", "data_hash": "b" * 64, "split": "valid", "standardize": "run", "ratio": "1.0"}
LINE |= {"utterances": str(UTTERANCES), "seen": "0", "far": "0"}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes what a run leaves that was measured on stores: each a line, its protocol and the MAE."""

    def make(model: str, seed: int, *stores: tuple[dict[str, str], Protocol, float], **changes: Any) -> Path:
        folder = tmp_path / "runs" / f"{model}{seed}"
        folder.mkdir(parents=True)
        record = {"data": "mosi", "model": model, "ablation": "full", "seed": seed, "valid": {}, "test": {}}
        record |= {"epochs": 1, "best_epoch": 1, "config_hash": "c", "data_hash": "a", "modalities": ["text"]}
        record |= {"text": "bert", "text_encoder": "minilm", "missing": None, **MACHINE}
        (folder / "result.json").write_text(json.dumps(record | changes))
        (folder / "config.yaml").write_text(f"seed: {seed}\n")
        lines, utterances = [], []
        for changed, protocol, mae in stores:
            line = LINE | changed
            figures = dict.fromkeys(protocol.metrics, 0.5) | {"mae": mae, "acc5": ""}
            lines.append(line | {"protocol": protocol.name} | figures)
            key = {name: line[name] for name in ("data_hash", "split", "standardize")}
            utterances += [key | {"id": f"u{i}", "label": 0.5, "prediction": 0.5 + mae} for i in range(UTTERANCES)]
        write(folder / "evaluation.csv", lines)
        write(folder / "evaluation_predictions.csv", utterances)
        return folder

    return make


def test_means_over_seeds_and_the_best_row(run: Callable[..., Path], tmp_path: Path) -> None:
    for seed, mae in ((1, 0.7), (2, 0.9)):
        run("tfn", seed, ({}, MOSI, mae))
    run("misa", 1, ({}, MOSI, 0.6))
    table, tested = grids(read_evaluations(find_cells([tmp_path])))
    assert table.header[:3] == ["", "n", "MAE"]
    found = {row[0]: row[1:3] for row in table.rows}
    std = 100 * np.std([0.7, 0.9], ddof=1)
    assert found == {"tfn": ["2", f"80.00 ± {std:.2f}"], "misa": ["1", "60.00"]}
    best = [row[0] for row in table.rows].index("misa")
    assert {i for i, j in table.bold if j == 2} == {best}
    assert tested.title.startswith("b_1.h5, valid: MAE of misa minus each other row's")
    assert tested.rows[0][:2] == ["tfn", "−20.00"]
    assert table.title == (
        "b_1.h5, valid: 8 utterances (data hash bbbbbbbbbbbb), predicted by runs on mosi, with nothing missing. Mean ± "
        "sample standard deviation over n seeds, times 100; best in bold."
    )


def test_errors_are_those_of_the_protocol(run: Callable[..., Path], tmp_path: Path) -> None:
    """CH-SIMS clips predictions to [-1, 1]: 0.5 from the label 0.5, wherever above 1 they lie."""
    run("tfn", 1, ({"ratio": "0.333333"}, SIMS, 0.9))
    run("misa", 1, ({"ratio": "0.333333"}, SIMS, 0.6))
    run("lmf", 1, ({"ratio": "0.333333"}, SIMS, 0.2))
    table, tested = grids(read_evaluations(find_cells([tmp_path])))
    assert table.header[2:] == list(SIMS.headings.values())
    assert "Predictions are multiplied by 0.333333: the largest label" in table.title
    assert "Metrics of CH-SIMS" in table.title
    assert {row[0]: row[1] for row in tested.rows} == {"tfn": "−30.00", "misa": "−30.00"}


def test_predictions_are_paired_by_id_and_by_the_metrics(run: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever the order that other hands sorted them in."""
    for model in ("tfn", "misa"):
        path = run(model, 1, ({}, MOSI, 0.7)) / "evaluation_predictions.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for i, row in enumerate(rows):
            row["prediction"] = str(i)
        write(path, rows if model == "tfn" else rows[::-1])
    run("lmf", 1, ({"label_range": "1"}, SIMS, 0.7))  # the same content by another data set's name
    sims, mosi = read_evaluations(find_cells([tmp_path / "runs"]))
    np.testing.assert_array_equal(mosi.errors["tfn"][1], mosi.errors["misa"][1])
    assert list(sims.errors) == ["lmf"] and sims.protocol == SIMS
    write(path, rows[1:])
    with pytest.raises(UserError, match="has other utterances than the runs beside it"):
        read_evaluations(find_cells([tmp_path / "runs"]))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"standardize": "store"}, "standardised with the moments of this store's own train split"),
        ({"far": "3"}, "The means of 3 features lie more than 5 standard deviations"),
        ({"seen": "2"}, "2 of the utterances have ids of the train or valid split"),
        ({"data_hash": "a", "split": "test"}, "the runs' own data: result.json has figures of this split"),
        ({"data_hash": "a", "seen": "8"}, "the runs' own data: their checkpoints were chosen on this split"),
        ({"data_hash": "a", "split": "train", "seen": "8"}, "the runs' own data: they were trained on this split"),
    ],
)
def test_what_a_reader_must_know_is_in_the_title(
    run: Callable[..., Path], tmp_path: Path, line: dict[str, str], said: str
) -> None:
    run("tfn", 1, (line, MOSI, 0.5))
    (table,) = grids(read_evaluations(find_cells([tmp_path])))
    assert said in table.title
    assert ("ids of" in table.title) == ("ids of" in said)


def test_every_store_split_and_standardisation_has_a_table(run: Callable[..., Path], tmp_path: Path) -> None:
    others = [{"split": "test"}, {"standardize": "store"}, {"data_hash": "d"}]
    run("tfn", 1, ({}, MOSI, 0.5), *((other, MOSI, 0.4) for other in others))
    run("tfn", 2, ({}, MOSI, 0.7))
    run("misa", 1)
    (tmp_path / "runs" / "misa1" / "evaluation.csv").unlink()  # not measured
    tables = grids(read_evaluations(find_cells([tmp_path])))
    assert [table.rows[0][:2] for table in tables] == [["tfn", "2"], ["tfn", "1"], ["tfn", "1"], ["tfn", "1"]]
    assert [table.rows[0][2] for table in tables[1:]] == ["40.00"] * 3


def test_what_is_written(run: Callable[..., Path], tmp_path: Path) -> None:
    run("tfn", 1, ({}, MOSI, 0.5), ({"data_hash": "s", "store": "s.h5"}, SIMS, 0.2))
    run("misa", 1, ({}, MOSI, 0.4))
    markdown = write_evaluation(find_cells([tmp_path]), tmp_path / "out")
    assert (tmp_path / "out" / "evaluation.md").read_text() == markdown
    assert r"b\_1.h5, valid" in (tmp_path / "out" / "evaluation.tex").read_text()
    with (tmp_path / "out" / "evaluation.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(r["row"], r["seed"], r["store"], r["mae"], r["acc7"], r["acc3"]) for r in lines] == [
        ("misa", "1", "b_1.h5", "0.4", "0.5", ""),
        ("tfn", "1", "b_1.h5", "0.5", "0.5", ""),
        ("tfn", "1", "s.h5", "0.2", "", "0.5"),
    ]


def test_runs_that_do_not_belong_together_are_said(run: Callable[..., Path], tmp_path: Path) -> None:
    run("tfn", 1, ({}, MOSI, 0.5))
    run("misa", 1, ({}, MOSI, 0.5), data_hash="other")
    with pytest.raises(UserError, match="different data in one table"):
        read_evaluations(find_cells([tmp_path]))


def test_predictions_on_two_scales_are_not_pooled(run: Callable[..., Path], tmp_path: Path) -> None:
    """As where the store's range of labels was said after one of them was measured."""
    run("tfn", 1, ({"ratio": "0.333333"}, MOSI, 0.5))
    run("tfn", 2, ({}, MOSI, 0.5))
    with pytest.raises(
        UserError, match=r"tfn2: predictions for b_1\.h5, valid, were multiplied by 1\.0, .* by 0\.333333"
    ):
        read_evaluations(find_cells([tmp_path]))


def test_a_row_without_figures_is_not_the_best(run: Callable[..., Path], tmp_path: Path) -> None:
    for model, mae in (("lmf", math.nan), ("mfn", 0.7), ("tfn", 0.5)):
        run(model, 1, ({}, MOSI, mae))
    _, tested = grids(read_evaluations(find_cells([tmp_path])))
    assert "tfn was chosen as the best" in tested.title and "p by Holm over 1 comparisons" in tested.title
    assert tested.rows == [["lmf", *["undefined"] * 4], ["mfn", "−20.00", "−20.00 to −20.00", "< 0.0001", "< 0.0001"]]


@pytest.mark.parametrize("name", ["evaluation.csv", "evaluation_predictions.csv"])
@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("split", "x"), lambda text: ""])
def test_damage_is_one_line(run: Callable[..., Path], tmp_path: Path, name: str, damage: Callable[[str], str]) -> None:
    path = run("tfn", 1, ({}, MOSI, 0.7)) / name
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match="is damaged"):
        read_evaluations(find_cells([tmp_path]))


def test_the_run_with_the_most_features_far_apart_is_told_of(run: Callable[..., Path], tmp_path: Path) -> None:
    for seed, far in ((1, "3"), (2, "1")):
        run("tfn", seed, ({"far": far}, MOSI, 0.5))
    (table,) = grids(read_evaluations(find_cells([tmp_path])))
    assert "The means of 3 features lie more than" in table.title
