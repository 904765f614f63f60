"""What may be compared, from run directories and CSV files written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import finished

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.sides import Pair, differing, pair, read_settings, read_side
from mmsa_lightning.training.protocols import MOSI, OTHER, SIMS

SETTINGS = """\
optim:
  lr: {bert: 5.0e-05}
  schedule: null
data: {path: /a/mosi.h5, eval_batch_size: 128}
logger: {name: csv}
"""


def csv_of(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def paired(a: Path, b: Path) -> Pair:
    return pair(read_side(a), read_side(b))


def test_the_seeds_of_a_row_are_the_members_of_a_side(tmp_path: Path):
    for seed, value in ((1, 0.5), (2, -1.5)):
        finished(tmp_path, "tfn", seed, {"a": value, "b": 2.0}, {"a": -1.0})
    side = read_side(tmp_path)
    assert (side.name, side.ids, side.texts[0], side.label_range) == ("tfn", ["a", "b"], "<b>a</b> & more", (-3, 3))
    np.testing.assert_array_equal(side.labels, [-1, 1])
    np.testing.assert_array_equal(side.predictions, [[0.5, 2], [-1.5, 2]])
    np.testing.assert_array_equal(side.mean, [-0.5, 2])


def test_predictions_that_are_no_numbers_are_not_compared(tmp_path: Path):
    run_dir = finished(tmp_path, "tfn", 1, {"a": -0.5, "b": 2.0}, test={"mae": None})
    (run_dir / "predictions.csv").write_text((run_dir / "predictions.csv").read_text().replace("-0.5", "nan"))
    with pytest.raises(UserError, match="the predictions for 1 utterances of test are no numbers"):
        read_side(tmp_path)


def test_a_csv_is_one_member_and_need_not_know_labels_or_texts(tmp_path: Path):
    side = read_side(csv_of(tmp_path / "p.csv", "\ufeffprediction,id,label\n.5,a,\n-1,b,2.5\n"))
    assert (side.name, side.ids, side.texts, side.label_range, side.row) == ("p.csv", ["a", "b"], ["", ""], None, None)
    np.testing.assert_array_equal(side.labels, [np.nan, 2.5])
    np.testing.assert_array_equal(side.predictions, [[0.5, -1]])


def test_of_a_csv_with_splits_test_is_read(tmp_path: Path):
    run_dir = finished(tmp_path, "tfn", 1, {"a": 0.5})
    assert read_side(run_dir / "predictions.csv").ids == ["a"]
    with pytest.raises(UserError, match="has no predictions"):
        read_side(csv_of(tmp_path / "p.csv", "split,id,prediction\nvalid,a,1\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks the column id and prediction, its first line has none"),
        ("id;prediction\na;1\n", "lacks the column id and prediction, its first line has id;prediction"),
        ("id,pred\na,1\n", "lacks the column prediction, its first line has id, pred"),
        ("id,prediction\n", "has no predictions"),
        ("id,prediction,prediction\na,1,2\n", "has the column prediction twice"),
        ("id,prediction\na,1\n,1\n", "row 3: the id is empty"),
        ("id,prediction\na,1\na,2\n", "row 3: the id a is already in row 2"),
        ("id,prediction\na,nan\n", "row 2: prediction is 'nan', not a number"),
        ("id,prediction,label\na,1,good\n", "row 2: label is 'good', not a number"),
        ("id,prediction\na\n", "row 2: it has not the 2 columns"),
        ("id,prediction\na,1,2\n", "row 2: it has not the 2 columns"),
        ('id,prediction\na,"1', "is no CSV in UTF-8"),
        (b"id,prediction\n\xff,1\n".decode("latin-1"), "is no CSV in UTF-8"),
    ],
)
def test_a_csv_that_is_none_is_refused(tmp_path: Path, text: str, words: str):
    (tmp_path / "p.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=words) as refused:
        read_side(tmp_path / "p.csv")
    assert "\n" not in str(refused.value)


def test_a_folder_holds_the_runs_of_one_row(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no .*nothing: give a run"):
        read_side(tmp_path / "nothing")
    with pytest.raises(UserError, match="no finished run"):
        read_side(tmp_path)
    finished(tmp_path, "tfn", 1, {"a": 1.0})
    finished(tmp_path, "lmf", 1, {"a": 1.0})
    with pytest.raises(UserError, match="holds 2 rows: lmf, tfn; give the folder of one of them"):
        read_side(tmp_path)


def test_seeds_of_other_settings_are_not_pooled(tmp_path: Path):
    finished(tmp_path, "tfn", 1, {"a": 1.0}, config=SETTINGS)
    finished(tmp_path, "tfn", 2, {"a": 1.0}, config=SETTINGS.replace("5.0e-05", "0.001"))
    with pytest.raises(UserError, match=r"holds 2 rows: tfn, optim\.lr\.bert=0\.001, tfn, optim\.lr\.bert=5e-05; give"):
        read_side(tmp_path)


def test_settings_are_those_that_change_a_run(tmp_path: Path):
    one = finished(tmp_path / "a", "tfn", 1, {"a": 1.0}, config=SETTINGS)
    moved = SETTINGS.replace("/a/", "/elsewhere/").replace("128", "8").replace("csv", "wandb")  # and another seed
    same = finished(tmp_path / "b", "tfn", 2, {"a": 1.0}, config=f"{moved}encoder: {{lora: null}}\n")
    assert list(differing(read_settings(one), read_settings(same))) == []
    changed = f"{SETTINGS.replace('null', '{factor: 0.5}')}encoder: {{freeze: embeddings}}\nmodalities: [text, audio]\n"
    other = finished(tmp_path / "c", "tfn", 1, {"a": 1.0}, config=changed)
    assert list(differing(read_settings(one), read_settings(other))) == [
        ("optim.schedule", "null", "—"),
        ("optim.schedule.factor", "—", "0.5"),
        ("encoder.freeze", "none", "embeddings"),
        ("modalities", "—", '["text", "audio"]'),
    ]


def test_a_setting_that_came_later_is_none_that_differs():
    older, newer = {"objective.tanh_weight": "true"}, {"objective.tanh_weight": "true", "objective.generator": "ulgm"}
    assert list(differing(older, newer)) == []
    assert list(differing(older, newer | {"objective.generator": "none"})) == [("objective.generator", "ulgm", "none")]


def test_common_utterances_are_brought_into_one_order(tmp_path: Path):
    a = csv_of(tmp_path / "a.csv", "id,prediction,label,text\nu,1,,\nv,2,1.0,\nw,3,-3,\nx,4,,words\n")
    b = csv_of(tmp_path / "b.csv", "id,prediction,label,text\nx,40,,others\nw,30,,of w\ny,0,,\nu,10,2,of u\nz,0,9,\n")
    both = paired(a, b)
    assert (both.a.ids, both.b.ids, both.left_out) == (["u", "w", "x"], ["u", "w", "x"], (1, 2))
    assert both.texts == ["of u", "of w", "words"]
    np.testing.assert_array_equal(both.labels, [2, -3, np.nan])
    np.testing.assert_array_equal(both.known, [True, True, False])
    np.testing.assert_array_equal(both.a.predictions, [[1, 3, 4]])
    np.testing.assert_array_equal(both.errors(both.b), [[8, 33, np.nan]])
    assert (both.protocol, both.label_range) == (MOSI, (-3, 2))  # as labels of MOSI's scale


def test_labels_of_two_csv_say_their_scale(tmp_path: Path):
    a = csv_of(tmp_path / "a.csv", "id,prediction,label\nu,1,1\nv,2,5\n")
    b = csv_of(tmp_path / "b.csv", "id,prediction\nu,1\nv,2\n")
    assert (paired(a, b).protocol, paired(a, b).label_range) == (OTHER, (1, 5))


def test_one_label_is_too_few_to_test_anything(tmp_path: Path):
    a = csv_of(tmp_path / "a.csv", "id,prediction,label\nu,1,1\nv,2,\n")
    b = csv_of(tmp_path / "b.csv", "id,prediction\nu,1\nv,2\n")
    assert not paired(a, b).known.any()


@pytest.mark.parametrize("runs_first", [True, False])
def test_a_run_says_how_a_csv_is_measured(tmp_path: Path, runs_first: bool):
    known: dict[str, Any] = {"data": "sims", "protocol": "sims", "label_range": [-1, 1]}
    a = finished(tmp_path, "tfn", 1, {"u": -3.0, "v": 0.5}, **known)
    b = csv_of(tmp_path / "b.csv", "id,prediction\nv,1.5\nu,-1\n")
    both = paired(a, b) if runs_first else paired(b, a)
    assert (both.protocol, both.label_range) == (SIMS, (-1, 1))
    side = both.a if runs_first else both.b
    np.testing.assert_array_equal(side.predictions[0][np.argsort(side.ids)], [-3, 0.5])
    np.testing.assert_array_equal(np.sort(both.errors(side)), [[0.5, 2]])  # clipped to [-1, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_hash": "e", "data": "mosi"}, r"different data: A is of demo \(data_hash d\), B of mosi \(e\)"),
        ({"protocol": "sims"}, "different metrics: A was measured by the protocol mosi, B by sims"),
        ({"label_range": [-2, 2]}, r"different labels: A is of labels in \[-3, 3\], B in \[-2, 2\]"),
    ],
)
def test_runs_of_other_data_are_refused(tmp_path: Path, changes: dict[str, Any], words: str):
    values = {"u": 1.0, "v": 2.0}
    with pytest.raises(UserError, match=words):
        paired(finished(tmp_path, "tfn", 1, values), finished(tmp_path, "lmf", 1, values, **changes))


def test_other_modalities_and_text_encoders_are_compared(tmp_path: Path):
    values = {"u": 1.0, "v": 2.0}
    other = finished(tmp_path, "lmf", 1, values, modalities=["audio"], text_encoder="bert-base-uncased")
    assert paired(finished(tmp_path, "tfn", 1, values), other).left_out == (0, 0)


def test_the_same_run_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run_dir = finished(tmp_path, "tfn", 1, {"u": 1.0, "v": 2.0})
    monkeypatch.chdir(run_dir.parent)
    for other in (run_dir.parent, Path("seed1"), run_dir / "predictions.csv"):
        with pytest.raises(UserError, match=r"A and B both hold .*seed1/predictions.csv: give two different ones"):
            paired(run_dir, other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,prediction,label\nu,1,1\nv,1,-2\n", "different data: v has the label 1 in A and -2 in B"),
        ("id,prediction\nx,1\nv,1\n", "A has 2 utterances, such as u, and B 2, such as x, of which they share 1"),
    ],
)
def test_a_csv_of_other_data_is_refused(tmp_path: Path, text: str, words: str):
    run_dir = finished(tmp_path, "tfn", 1, {"u": 1.0, "v": 2.0})
    with pytest.raises(UserError, match=words):
        paired(run_dir, csv_of(tmp_path / "b.csv", text))


def test_a_label_may_be_written_with_fewer_digits(tmp_path: Path):
    run_dir = finished(tmp_path, "tfn", 1, {"u": 1.0, "v": 2.0}, {"u": 0.33333334})
    assert paired(run_dir, csv_of(tmp_path / "b.csv", "id,prediction,label\nu,1,0.3333\nv,1,1.0\n"))
