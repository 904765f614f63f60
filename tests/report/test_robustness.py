"""Areas by hand, from files made by hand."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import MACHINE

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.result import RATES
from mmsa_lightning.report import wording
from mmsa_lightning.report.cells import find_cells
from mmsa_lightning.report.curves import read_curves
from mmsa_lightning.report.robustness import AT, cost_records, costs, grids, write_robustness
from mmsa_lightning.training.protocols import MOSI

UTTERANCES = 6


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes what a measured run leaves: metrics that are ``level`` plus the square of the rate."""

    def make(
        model: str, seed: int, level: float, rates: tuple[float, ...] = RATES, lr: float = 0.1, **changes: Any
    ) -> Path:
        folder = tmp_path / "runs" / f"{model}{seed}{len(list(tmp_path.glob('runs/*')))}"
        folder.mkdir(parents=True)
        record = {
            "data": "mosi",
            "model": model,
            "ablation": "full",
            "seed": seed,
            "valid": {"mae": 0.5},
            "test": {},
            "epochs": 1,
        }
        record |= {
            "best_epoch": 1,
            "config_hash": "c",
            "data_hash": "d",
            "modalities": ["text", "audio"],
            "text": "bert",
        }
        record |= {"text_encoder": "minilm", "missing": None, **MACHINE}
        (folder / "result.json").write_text(json.dumps(record | changes))
        config = {"seed": seed, "optim": {"lr": lr}, "missing": changes.get("missing") or {}}
        (folder / "config.yaml").write_text(json.dumps(config))
        lines = [("frames", str(r), s, level + r**2 + 0.1 * (s == "2")) for r in rates for s in ("1", "2")]
        if rates == RATES:
            lines += [("modality", m, "", level + i) for i, m in enumerate(("text", "audio", "text+audio"))]
        rows = [
            {"mode": mode, "at": at, "mask_seed": s} | {m: "" if m == "acc5" else v for m in MOSI.metrics}
            for mode, at, s, v in lines
        ]
        write(folder / "robustness.csv", rows)
        means = {f"{mode} {at}": v - 0.05 * (s == "2") for mode, at, s, v in lines}
        write(
            folder / "robustness_errors.csv",
            [{"id": f"u{i}"} | {k: v + 0.001 * i for k, v in means.items()} for i in range(UTTERANCES)],
        )
        return folder

    return make


def area(level: float) -> float:
    """EMT-DLFR's sum, term by term."""
    m = [level + (i / 10) ** 2 for i in range(11)]
    return sum((m[i] + m[i + 1]) / 2 * 0.1 for i in range(10))


def test_areas_and_means_by_hand(run: Callable[..., Path], tmp_path: Path) -> None:
    for seed, level in ((1, 0.5), (2, 0.7)):
        run("tfn", seed, level)
    frames, modality = read_curves(find_cells([tmp_path]))
    assert (frames.row, frames.mode, frames.at) == ("tfn", "frames", [str(r) for r in RATES])
    assert frames.draws == [(1, "1"), (1, "2"), (2, "1"), (2, "2")]
    expected = [area(0.5), area(0.6), area(0.7), area(0.8)]
    np.testing.assert_allclose(frames.summary("mae"), expected, atol=1e-9)
    figure = frames.figure("mae")
    assert (figure.mean, figure.std, figure.n) == pytest.approx(
        (100 * np.mean(expected), 100 * np.std(expected, ddof=1), 4)
    )
    assert np.isnan(frames.summary("acc5")).all()
    assert modality.summary("mae").tolist() == pytest.approx([1.5, 1.7])  # levels 0, 1, 2 above


def test_the_best_row_is_tested_against_the_others(run: Callable[..., Path], tmp_path: Path) -> None:
    run("tfn", 1, 0.5)
    run("misa", 1, 0.2)
    table, tested, *_ = grids(read_curves(find_cells([tmp_path])), "demo")
    assert table.rows[0][:2] == ["misa", "2"] and (0, 2) in table.bold
    words = (
        f"demo, {UTTERANCES} test utterances where frames and word pieces are missing",
        "of seeds 1 and of mask seeds 1, 2, times",
    )
    assert all(said in table.title for said in words)
    assert tested.title.startswith("MAE of misa minus") and tested.rows[0][:2] == ["tfn", "−30.00"]
    assert "published" not in table.title.lower()


def test_training_with_gaps_is_a_row_of_its_own(run: Callable[..., Path], tmp_path: Path) -> None:
    missing = {"mode": "frames", "rate": 0.0, "train": "uniform_half", "draw": "keyed", "absent": "zeros"}
    run("tfn", 1, 0.5)
    run("tfn", 1, 0.4, missing=missing)
    curves = read_curves(find_cells([tmp_path]))
    assert {curve.row for curve in curves} == {"tfn", "tfn [frames, uniform_half]"}
    assert "are not beside it" in grids(curves, "mosi")[0].title


def test_training_with_gaps_is_held_against_training_on_complete_data(run: Callable[..., Path], tmp_path: Path) -> None:
    missing = {"mode": "frames", "rate": 0.0, "train": "uniform_half", "draw": "keyed", "absent": "zeros"}
    for seed, whole, gaps in ((1, 0.5, 0.53), (2, 0.5, 0.55), (3, 0.52, 0.54)):
        run("tfn", seed, whole)
        run("tfn", seed, gaps, missing=missing)
    run("tfn", 1, 0.9, missing=missing | {"train": "none", "rate": 0.3})  # chosen otherwise, and no row to compare with
    run("misa", 1, 0.9, missing=missing)  # alone
    found = costs([curve for curve in read_curves(find_cells([tmp_path])) if curve.mode == "frames"])
    assert list(found) == ["tfn [frames, uniform_half]"]
    own = found["tfn [frames, uniform_half]"]
    for rate in (0.0, 0.5):  # the made-up errors of an utterance differ from row to row by the levels alone
        assert own[rate].difference.value == pytest.approx(100 * (0.54 - 1.52 / 3))
        seeds = np.var([0.53, 0.55, 0.54], ddof=1) + np.var([0.5, 0.5, 0.52], ddof=1)
        assert own[rate].difference.error == pytest.approx(100 * np.sqrt(seeds / 3), rel=1e-5)
    write_robustness(find_cells([tmp_path]), tmp_path / "out")
    assert "minus that of training on complete data" in (tmp_path / "out" / "auilc.md").read_text()
    with (tmp_path / "out" / "training.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["at"]) for line in lines] == [
        ("tfn [frames, uniform_half]", at) for at in ("0.0", "0.5")
    ]
    assert float(lines[0]["low"]) < float(lines[0]["difference"]) < float(lines[0]["high"])
    assert lines[0]["p_holm"] == lines[0]["p"]  # one comparison at a rate
    write_robustness([cell for cell in find_cells([tmp_path]) if "misa" in str(cell.run_dir)], tmp_path / "out")
    assert not (tmp_path / "out" / "training.csv").exists()


def both_ways(run: Callable[..., Path]) -> None:
    """Three seeds of two models, trained on complete data and with gaps."""
    missing = {"mode": "frames", "rate": 0.0, "train": "uniform_half", "draw": "keyed", "absent": "zeros"}
    for seed, gaps in ((1, 0.53), (2, 0.55), (3, 0.54)):
        for name, more in (("tfn", 0.0), ("misa", 0.3)):
            run(name, seed, 0.5 + seed / 1000)
            run(name, seed, gaps + more * seed, missing=missing)


def test_what_training_with_gaps_costs_is_corrected_for_the_rows_of_a_rate(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    both_ways(run)
    found = cost_records(read_curves(find_cells([tmp_path])))
    p = {record["row"]: record["p"] for record in found if record["at"] == 0.5}
    corrected = {record["row"]: record["p_holm"] for record in found if record["at"] == 0.5}
    less, more = sorted(p, key=lambda row: p[row])
    assert corrected == {less: pytest.approx(2 * p[less], rel=1e-3), more: max(2 * p[less], p[more])}


def test_runs_that_differ_in_a_setting_are_curves_of_their_own(run: Callable[..., Path], tmp_path: Path) -> None:
    missing = {"mode": "frames", "train": "same", "draw": "keyed", "absent": "zeros"}
    for i, rate in enumerate(RATES[1:3]):
        run("misa", 1, 0.5, (rate,), missing=missing | {"rate": rate})
        run("misa", 2, 0.5, (rate,), 0.2 + i / 1e6, missing=missing | {"rate": rate})
    curves = read_curves(find_cells([tmp_path]))
    rates = [f"misa [frames, same], optim.lr={lr}" for lr in ("0.1", "0.2", "0.200001")]
    assert sorted(curve.row for curve in curves) == rates
    write_robustness(find_cells([tmp_path]), tmp_path / "out")
    with (tmp_path / "out" / "robustness.csv").open() as file:
        assert sorted({line["row"] for line in csv.DictReader(file)}) == rates


def test_only_of_one_model_a_rate_is_the_rate_no_row_of_its_own(run: Callable[..., Path], tmp_path: Path) -> None:
    missing = {"mode": "frames", "train": "uniform", "draw": "keyed", "absent": "zeros"}
    for seed, rate in ((1, 0.0), (2, 0.3)):  # of valid, on which the checkpoint was chosen
        run("misa", seed, 0.5, missing=missing | {"rate": rate})
    rows = {curve.row for curve in read_curves(find_cells([tmp_path]))}
    assert rows == {"misa [frames, uniform]", "misa [frames, uniform], missing.rate=0.3"}


def test_one_model_a_rate_makes_one_curve_beside_the_published_ones(run: Callable[..., Path], tmp_path: Path) -> None:
    missing = {"mode": "frames", "train": "same", "draw": "reference", "absent": "zeros"}
    for rate in RATES:
        run("misa", 1, 0.5, (rate,), missing=missing | {"rate": rate})
    (curve,) = read_curves(find_cells([tmp_path]))
    assert curve.row == "misa [frames, same, reference]"
    assert curve.summary("mae").tolist() == pytest.approx([area(0.5), area(0.6)])
    *_, published = grids([curve], "mosi")
    assert ["EMT-DLFR", "110.6", "48.6", "32.5", "35.6"] in published.rows


def test_a_rate_that_lacks_its_model_leaves_the_area_undefined(run: Callable[..., Path], tmp_path: Path) -> None:
    missing = {"mode": "frames", "train": "same", "draw": "keyed", "absent": "zeros"}
    for rate in RATES[:5]:
        run("misa", 1, 0.5, (rate,), missing=missing | {"rate": rate})
    curves = read_curves(find_cells([tmp_path]))
    (table,) = grids(curves, "demo")
    assert table.rows[0][2] == "undefined"
    write_robustness(find_cells([tmp_path]), tmp_path / "out")  # and what there is is drawn


def test_what_is_written(run: Callable[..., Path], tmp_path: Path) -> None:
    for model in ("tfn", "misa"):
        for seed in (1, 2):
            run(model, seed, 0.1 * seed)
    markdown = write_robustness(find_cells([tmp_path]), tmp_path / "out")
    assert (tmp_path / "out" / "auilc.md").read_text() == markdown
    kinds = [f"robustness_{mode}.{kind}" for mode in ("frames", "modality") for kind in ("png", "svg")]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        ["auilc.csv", "auilc_runs.csv", "auilc.md", "auilc.tex", "robustness.csv", *kinds]
    )
    with (tmp_path / "out" / "robustness.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * (22 + 3)
    assert {(line["row"], line["seed"]) for line in lines} == {(m, s) for m in ("tfn", "misa") for s in "12"}
    with (tmp_path / "out" / "auilc_runs.csv").open() as file:
        (first, *others) = csv.DictReader(file)
    assert len(others) == 3 and (first["row"], first["seed"]) == ("misa", "1")
    (own,) = (tmp_path / "runs").glob("misa1*")
    assert first["robustness_sha256"] == hashlib.sha256((own / "robustness.csv").read_bytes()).hexdigest()
    with (tmp_path / "out" / "auilc.csv").open() as file:
        mean = {(r["row"], r["mode"], r["metric"]): r["mean"] for r in csv.DictReader(file)}
    expected = 100 * np.mean([area(level) for level in (0.1, 0.2, 0.2, 0.3)])
    assert float(mean["tfn", "frames", "mae"]) == pytest.approx(expected, abs=1e-3)


def test_runs_that_do_not_belong_together_are_said(run: Callable[..., Path], tmp_path: Path) -> None:
    run("tfn", 1, 0.5)
    run("misa", 1, 0.5, data_hash="other")
    with pytest.raises(UserError, match="different data in one table"):
        read_curves(find_cells([tmp_path]))


@pytest.mark.parametrize("model", ["tfn", "misa"])  # another seed of the row, another row
def test_other_masks_are_not_compared(run: Callable[..., Path], tmp_path: Path, model: str) -> None:
    run("tfn", 1, 0.5)
    path = run(model, 2, 0.5) / "robustness.csv"
    rows = list(csv.DictReader(path.open()))
    write(path, [row for row in rows if row["mask_seed"] != "2"])
    said = f"{model} seed 2 was measured with the mask seeds 1, tfn seed 1 with 1, 2: "
    if model == "tfn":
        said = "tfn seed 1 was measured with the mask seeds 1, 2, tfn seed 2 with 1: "
    with pytest.raises(UserError, match=f"{said}mmsa robustness with one --mask-seeds"):
        read_curves(find_cells([tmp_path]))


@pytest.mark.parametrize("name", ["robustness.csv", "robustness_errors.csv"])
@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("0.5", "x"), lambda text: ""])
def test_damage_is_one_line(run: Callable[..., Path], tmp_path: Path, name: str, damage: Callable[[str], str]) -> None:
    path = run("tfn", 1, 0.5) / name
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match="is damaged"):
        read_curves(find_cells([tmp_path]))


def test_errors_are_paired_by_id(run: Callable[..., Path], tmp_path: Path) -> None:
    run("misa", 1, 0.5)
    path = run("tfn", 1, 0.5) / "robustness_errors.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]) + "\n")
    misa, tfn = (curve for curve in read_curves(find_cells([tmp_path])) if curve.mode == "frames")
    assert len(np.unique(misa.errors)) > 1
    np.testing.assert_array_equal(misa.errors, tfn.errors)
    path.write_text("\n".join([header, *lines[1:]]) + "\n")
    with pytest.raises(UserError, match="has other utterances than the runs beside it"):
        read_curves(find_cells([tmp_path]))


def test_the_table_of_costs_shows_each_rates_interval_and_the_corrected_p(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    both_ways(run)
    frames = [curve for curve in read_curves(find_cells([tmp_path])) if curve.mode == "frames"]
    for curve in frames:
        if curve.complete:
            curve.errors[:, 5:] -= 0.1
    (grid,) = (grid for grid in grids(frames, "demo") if grid.title.startswith("MAE where"))
    found = costs(frames)
    assert [row[0] for row in grid.rows] == list(found)
    for row, cells in ((row[0], row[1:]) for row in grid.rows):
        for place, rate in enumerate(AT):
            own = found[row][rate]
            difference, corrected = own.difference, wording.shown_p(own.corrected)
            shown = [wording.signed(difference.value), wording.interval(difference), corrected]
            assert cells[3 * place : 3 * place + 3] == shown
        assert cells[1] != cells[4]
    assert any(wording.shown_p(own[0.0].difference.p) != wording.shown_p(own[0.0].corrected) for own in found.values())


def test_training_on_complete_data_with_other_settings_is_not_held_against(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    missing = {"mode": "frames", "rate": 0.0, "train": "uniform_half", "draw": "keyed", "absent": "zeros"}
    run("tfn", 1, 0.5, lr=0.1)
    run("tfn", 1, 0.6, lr=0.2, missing=missing)
    curves = read_curves(find_cells([tmp_path]))
    assert {curve.complete for curve in curves} == {None}
    assert costs([curve for curve in curves if curve.mode == "frames"]) == {}
