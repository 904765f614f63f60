"""What may stand in one table, from run directories written by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import MACHINE

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.cells import Cell
from mmsa_lightning.report.rows import read_rows, run_records, subject
from mmsa_lightning.training.protocols import MOSI, SIMS


def finished(runs: Path, row: str, seed: int, **changes: Any) -> Cell:
    """A run with two test utterances, whose errors are .5 and ``seed``."""
    run_dir = runs / "mosi" / row / "full" / f"seed{seed}"
    run_dir.mkdir(parents=True)
    record = {
        **{"data": "mosi", "model": row, "ablation": "full", "seed": seed, "valid": dict.fromkeys(MOSI.headings, 0.5)},
        **{"test": dict.fromkeys(MOSI.headings, 0.5) | {"mae": (0.5 + seed) / 2}},
        **{"epochs": 1, "best_epoch": 1, "config_hash": "c", "data_hash": "d", "modalities": ["text"]},
        **{"text": "bert", "text_encoder": "minilm", "encoder_hash": "e"},
        **MACHINE,
    }
    (run_dir / "result.json").write_text(json.dumps(record | changes))
    (run_dir / "predictions.csv").write_text(
        f"split,id,label,prediction,text\nvalid,v,0,3,\ntest,a,1.0,1.5,\ntest,b,-1.0,{seed - 1},\n"
    )
    return Cell(row, seed, run_dir)


def test_rows_hold_their_seeds_and_test_errors(tmp_path: Path):
    cells = [finished(tmp_path, "tfn", 1), finished(tmp_path, "tfn", 2), finished(tmp_path, "lmf", 1)]
    tfn, lmf = read_rows(cells)
    assert (tfn.name, list(tfn.results), lmf.name) == ("tfn", [1, 2], "lmf")
    np.testing.assert_array_equal(tfn.errors, [[0.5, 1], [0.5, 2]])
    np.testing.assert_array_equal(tfn.test("corr"), [0.5, 0.5])
    assert tfn.text == "minilm"


def test_a_result_of_other_settings_than_the_cells_is_refused(tmp_path: Path):
    """As in a folder that was renamed, or named by hydra.run.dir."""
    cell = finished(tmp_path, "tfn", 1, config_hash="a" * 64)
    (row,) = read_rows([replace(cell, config_hash="a" * 64)])
    assert list(row.results) == [1]
    with pytest.raises(
        UserError, match=r"seed1 has a result of other settings than those of tfn seed 1: .* aaaaaaaa, not bb"
    ):
        read_rows([replace(cell, config_hash="b" * 64)])


def test_what_a_table_was_made_of_is_listed_by_content(tmp_path: Path):
    made = {"precision": "32-true", "git_commit": "abc", "epochs": 2, "seconds": 3.25}
    cells = [finished(tmp_path / "a", "tfn", 1, **made), finished(tmp_path / "a", "tfn", 2)]
    first, second = run_records(read_rows(cells))
    run_dir = tmp_path / "a" / "mosi" / "tfn" / "full" / "seed1"
    assert first == {
        **{"row": "tfn", "seed": 1, "run": "mosi/tfn/full/seed1", "config_hash": "c", "data_hash": "d"},
        **{"valid_mae": 0.5, "best_epoch": 1, "epochs": 2, "seconds": 3.25},
        **{"precision": "32-true", "git_commit": "abc"},
        "result_sha256": hashlib.sha256((run_dir / "result.json").read_bytes()).hexdigest(),
        "predictions_sha256": hashlib.sha256((run_dir / "predictions.csv").read_bytes()).hexdigest(),
    }
    assert second["git_commit"] is None
    finished(tmp_path / "b", "tfn", 1, **made)  # the same elsewhere
    elsewhere = Cell("tfn", 1, tmp_path / "b" / "mosi" / "tfn" / "full" / "seed1")
    assert run_records(read_rows([elsewhere])) == [first]
    text = (elsewhere.run_dir / "predictions.csv").read_text()
    (elsewhere.run_dir / "predictions.csv").write_text(text.replace("valid,v,0,3,", "valid,v,0,2,"))
    (other,) = run_records(read_rows([elsewhere]))
    assert [name for name in other if other[name] != first[name]] == ["predictions_sha256"]


def test_predictions_that_were_sorted_are_paired_by_id(tmp_path: Path):
    cells = [finished(tmp_path, "tfn", 1), finished(tmp_path, "tfn", 2), finished(tmp_path, "lmf", 1)]
    before = read_rows(cells)
    for cell in cells[1:]:
        path = cell.run_dir / "predictions.csv"
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *reversed(lines)]) + "\n")
    for row, sorted_row in zip(before, read_rows(cells), strict=True):
        np.testing.assert_array_equal(row.errors, sorted_row.errors)
        assert row.utterances == sorted_row.utterances
    path.write_text(path.read_text().replace("test,b,", "test,c,"))
    with pytest.raises(UserError, match="has other utterances than the runs beside it"):
        read_rows(cells)


def test_labels_that_were_changed_are_refused(tmp_path: Path):
    """Ids of another order leave a run's own figures as they are, but pair it wrongly with the others."""
    cells = [finished(tmp_path, "tfn", 1), finished(tmp_path, "lmf", 1)]
    path = cells[1].run_dir / "predictions.csv"
    text = path.read_text()
    path.write_text(text.replace("test,a,", "test,c,").replace("test,b,", "test,a,").replace("test,c,", "test,b,"))
    with pytest.raises(UserError, match=r"lmf.*predictions.csv: [ab] has the label .* in a run of the same data"):
        read_rows(cells)


def test_undefined_is_not_a_number(tmp_path: Path):
    (row,) = read_rows([finished(tmp_path, "tfn", 1, test=dict.fromkeys(MOSI.headings, None) | {"mae": 0.75})])
    assert np.isnan(row.test("corr")).all()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda text: text[: text.rindex("test")],
            r"its MAE on test is 0\.500000, and 1\.250000 is in result.json: copy",
        ),
        (
            lambda text: text.replace("a,1.0,1.5", "a,1.0,nan"),
            r"its MAE on test is nan, and 1\.250000 is in result.json",
        ),
        (lambda text: text.replace("a,1.0,1.5", "a,1.0,"), r"is damaged \(ValueError\(.could not convert"),
        (lambda text: text.replace("a,1.0,1.5,", "a,1.0"), r"is damaged .*row 2 has not the columns of the first line"),
        (lambda text: text.replace("id", "name"), r"is damaged \(KeyError\('id'\)\): copy it again"),
        (lambda text: text.replace("test", "train"), "is damaged .*it has no utterance of test"),
        (lambda text: "\0", "is damaged"),
    ],
)
def test_predictions_that_are_not_those_that_were_measured_are_refused(
    tmp_path: Path, damage: Callable[[str], str], words: str
):
    cells = [finished(tmp_path, "tfn", 1), finished(tmp_path, "tfn", 2)]
    path = cells[1].run_dir / "predictions.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=f"seed2/predictions.csv.*{words}"):
        read_rows(cells)


def test_a_run_without_a_figure_is_one_whose_predictions_are_not_numbers(tmp_path: Path):
    cell = finished(tmp_path, "tfn", 1, test=dict.fromkeys(MOSI.headings, None))
    with pytest.raises(UserError, match=r"its MAE on test is 0\.750000, and nan is in result\.json"):
        read_rows([cell])
    path = cell.run_dir / "predictions.csv"
    path.write_text(path.read_text().replace("1.5", "nan"))
    (row,) = read_rows([cell])
    assert np.isnan(row.test("mae")).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_hash": "e"}, "different data in one table: tfn seed 1 has d, lmf seed 1 has e"),
        ({"protocol": "sims"}, "different metrics in one table: tfn seed 1 has mosi, lmf seed 1 has sims"),
        ({"label_range": [-1, 1]}, "different metrics in one table: tfn seed 1 has mosi, lmf seed 1 has other"),
        ({"modalities": ["audio"]}, "different modalities"),
        ({"text_encoder": "bert-base-uncased"}, "different text encoders"),
        ({"encoder_hash": "f"}, "different weights of the text encoder"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, changes: dict[str, Any], words: str):
    cells = [finished(tmp_path, "tfn", 1), finished(tmp_path, "lmf", 1, **changes)]
    with pytest.raises(UserError, match=words):
        read_rows(cells)


def test_rows_whose_names_say_so_may_read_other_modalities(tmp_path: Path):
    both = finished(tmp_path, "tfn", 1, modalities=["text", "audio"])
    text = finished(tmp_path, "lmf", 1)
    audio = finished(tmp_path, "mfn", 1, modalities=["audio"])
    text, audio = (replace(cell, row=f"tfn, modalities=[{m}]") for cell, m in ((text, "text"), (audio, "audio")))
    assert subject(read_rows([text])) == "mosi, text"
    assert subject(read_rows([text, both, audio])) == "mosi, text + audio unless a row names others"
    assert subject(read_rows([text, audio])) == "mosi, the modalities that rows name"
    with pytest.raises(UserError, match="different modalities"):
        read_rows([text, both, replace(audio, row="mfn")])


def test_what_all_rows_have_missing_is_said(tmp_path: Path):
    half = {"mode": "frames", "rate": 0.5, "train": "none", "draw": "own", "absent": "zero"}
    whole, tfn, lmf = (
        finished(tmp_path, row, 1, missing=half | changes)
        for row, changes in (("misa", {"rate": 0.0}), ("tfn", {}), ("lmf", {"train": "uniform_half"}))
    )
    assert subject(read_rows([tfn])) == "mosi, text, frames 0.5 missing"
    assert subject(read_rows([tfn, lmf])) == "mosi, text, frames 0.5 missing"
    assert subject(read_rows([lmf])) == "mosi, text, frames 0.5 missing, trained with frames, uniform_half"
    assert subject(read_rows([tfn, whole])) == "mosi, text"  # then names differ in it


def test_seeds_of_one_row_have_one_precision_and_rows_may_differ(tmp_path: Path):
    """With trainer.precision=auto two machines may make two seeds of one setting."""
    half, older = finished(tmp_path, "tfn", 1, precision="bf16-mixed"), finished(tmp_path, "tfn", 2)
    full = finished(tmp_path, "lmf", 1, precision="32-true")
    assert len(read_rows([half, older, full])) == 2
    other = finished(tmp_path, "tfn", 3, precision="32-true")
    with pytest.raises(UserError, match="precision in one row: tfn seed 1 has bf16-mixed, seed 3 has 32-true"):
        read_rows([half, older, full, other])


def test_word_vectors_stand_beside_an_encoder(tmp_path: Path):
    cells = [finished(tmp_path, "tfn", 1, text="features", text_encoder=None), finished(tmp_path, "misa", 1)]
    assert [row.text for row in read_rows(cells)] == ["features", "minilm"]


def test_errors_are_those_that_the_protocol_measures(tmp_path: Path):
    cells = [finished(tmp_path, "tfn", 3, protocol="sims", test=dict.fromkeys(SIMS.headings, 1.0))]
    (row,) = read_rows(cells)
    np.testing.assert_array_equal(row.predictions, [[1.5, 2]])
    np.testing.assert_array_equal(row.errors, [[0, 2]])  # of 1 and -1, clipped to [-1, 1]


def test_runs_from_before_the_protocol_was_kept_stand_beside_newer_ones(tmp_path: Path):
    cells = [finished(tmp_path, "tfn", 1), finished(tmp_path, "tfn", 2, protocol="mosi", label_range=[-3, 3])]
    (row,) = read_rows(cells)
    assert row.protocol is MOSI
    older = finished(tmp_path / "x", "tfn", 1, label_range=[1, 5])
    assert read_rows([older, finished(tmp_path / "x", "lmf", 1, label_range=[1, 5], protocol="other")])


def test_a_protocol_of_a_later_version_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="protocol ranks, which this version"):
        read_rows([finished(tmp_path, "tfn", 1, protocol="ranks")])


def test_generated_labels_are_compared_with_the_true_ones_that_are_known(tmp_path: Path):
    rng = np.random.default_rng(0)
    cells, expected, errors = [], [], []
    truth, label = rng.uniform(-1, 1, (2, 20))
    for seed in (1, 2):
        cells.append(finished(tmp_path, "self_mm", seed))
        made = truth + rng.normal(0, 0.5, 20)
        expected.append(np.corrcoef(made[5:], truth[5:])[0, 1])
        errors.append(np.abs(made - truth)[5:].mean())
        lines = ["id,label,generated_text,generated_audio,true_text,true_vision"]
        lines += [f"u{i},{label[i]},{made[i]},0,{truth[i] if i >= 5 else ''},0" for i in range(20)]
        (cells[-1].run_dir / "generated_labels.csv").write_text("\n".join(lines) + "\n")
    (row,) = read_rows(cells)
    assert list(row.agreement) == ["text"]  # audio has no truth, vision is not generated
    np.testing.assert_allclose(row.agreement["text"].generated["corr"], expected)
    np.testing.assert_allclose(row.agreement["text"].generated["mae"], errors)
    own = {"corr": np.corrcoef(label[5:], truth[5:])[0, 1], "mae": np.abs(label - truth)[5:].mean()}
    assert row.agreement["text"].label == pytest.approx(own)
    cells.append(finished(tmp_path, "self_mm", 3))  # which generates none
    assert read_rows(cells)[0].agreement == {}


def test_missing_cells_are_named_and_left_out_only_if_asked(tmp_path: Path):
    cells = [finished(tmp_path, "tfn", 1), Cell("tfn", 2, tmp_path / "no"), Cell("lmf", 1, tmp_path / "none")]
    with pytest.raises(UserError, match=r"2 of 3 cells have no result: tfn seed 2; lmf seed 1"):
        read_rows(cells)
    (row,) = read_rows(cells, partial=True)
    assert list(row.results) == [1]


def test_no_cell_at_all(tmp_path: Path):
    with pytest.raises(UserError, match="none of 1 cells has a result"):
        read_rows([Cell("tfn", 1, tmp_path / "mosi" / "tfn" / "full" / "seed1")], partial=True)
