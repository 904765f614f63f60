"""The columns of a table: ours, and those of MMSA's label.csv."""

import csv
import math

import numpy as np
import pytest

from mmsa_lightning.data.formats import read
from mmsa_lightning.errors import UserError

# As thuiar/MMSA's label files are written: T, A and V are annotated in CH-SIMS and blank in MOSI and MOSEI.
MMSA = ["video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"]
SIMS = [
    ["video_0001", "0001", "我不想嫁给李茶", "-1.0", "-1.0", "-1.0", "-0.8", "Negative", "train"],
    ["video_0001", "0002", "你这是嫁入豪门啊！", "1.0", "1.0", "0.8", "1.0", "Positive", "train"],
    ["video_0002", "0001", "so", "0.2", "0.0", "", "0.4", "Positive", "valid"],
    ["-x_Y$", "00", "", "0.0", "", "0.2", "nan", "Neutral", "test"],
]


def save(tmp_path, rows, columns=MMSA, name="label.csv"):
    with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return tmp_path / name


def test_mmsas_label_file(tmp_path):
    source = read(save(tmp_path, SIMS))
    assert {name: split.ids for name, split in source.splits.items()} == {
        "train": ["video_0001$_$0001", "video_0001$_$0002"],
        "valid": ["video_0002$_$0001"],
        "test": ["-x_Y$$_$00"],
    }
    assert source.splits["train"].raw_text == [SIMS[0][2], SIMS[1][2]]
    assert source.splits["train"].label.tolist() == [-1, 1]
    found = {
        m: [value for split in source.splits.values() for value in split.unimodal[m]]
        for m in ("text", "audio", "vision")
    }
    nan = math.nan
    np.testing.assert_array_equal(found["text"], [-1, 1, 0, nan])
    np.testing.assert_array_equal(found["audio"], [-1, 0.8, nan, 0.2])
    np.testing.assert_array_equal(found["vision"], [-0.8, 1, 0.4, nan])
    assert source.report == ["columns that were not read: annotation"]


def test_blanks_around_an_id_are_not_of_it(tmp_path):
    """With them an utterance could stand in two splits."""
    rows = [[f" {row[0]} ", row[1] + "\t", *row[2:]] for row in SIMS]
    assert read(save(tmp_path, rows)).splits["train"].ids == ["video_0001$_$0001", "video_0001$_$0002"]


def test_our_names_come_before_mmsas(tmp_path):
    columns = ["id", "split", "label_text", *MMSA]
    source = read(save(tmp_path, [[f"own{i}", "dev", "0.5", *row] for i, row in enumerate(SIMS)], columns))
    assert source.splits["valid"].ids == ["own0", "own1", "own2", "own3"]
    assert source.splits["valid"].unimodal["text"].tolist() == [0.5] * 4
    assert source.report == ["columns that were not read: video_id, clip_id, label_T, annotation, mode"]


def test_the_same_row_twice_counts_once(tmp_path):
    source = read(save(tmp_path, [*SIMS, SIMS[1], SIMS[3], SIMS[1]]))
    assert [len(split.ids) for split in source.splits.values()] == [2, 1, 1]
    assert source.report[1:] == [
        "train: 2 utterances repeat an earlier one and were left out: video_0001$_$0002, video_0001$_$0002",
        "test: 1 utterances repeat an earlier one and were left out: -x_Y$$_$00",
    ]


@pytest.mark.parametrize("column, value", [("label", "0.8"), ("text", "other"), ("mode", "test"), ("annotation", "x")])
def test_the_same_segment_with_another_row_is_refused(tmp_path, column, value):
    other = list(SIMS[1])
    other[MMSA.index(column)] = value
    words = rf"row 6: the id video_0001\$_\$0002 is already in row 3, with another {column}$"
    with pytest.raises(UserError, match=words):
        read(save(tmp_path, [*SIMS, other]))


@pytest.mark.parametrize(
    "called, split",
    {
        **dict.fromkeys(("train", "Train", "TRAIN", " training "), "train"),
        **dict.fromkeys(("valid", "val", "Val", "dev", "validation", "Development"), "valid"),
        **dict.fromkeys(("test", "TEST", "testing"), "test"),
    }.items(),
)
def test_what_a_split_is_called(tmp_path, called, split):
    assert list(read(save(tmp_path, [[*SIMS[0][:-1], called]])).splits) == [split]


def test_two_names_of_one_split_are_not_thought_to_be_one(tmp_path):
    rows = [[*SIMS[0][:-1], "val"], [*SIMS[1][:-1], "Val"], [*SIMS[2][:-1], "dev"]]
    with pytest.raises(UserError, match="row 4: mode is dev, but val above: give a split one name"):
        read(save(tmp_path, rows))


@pytest.mark.parametrize(
    "old, new, missing",
    [
        ("label", "Label", "label"),
        ("label", "sentiment", "label"),
        ("label", "annotations", "label"),
        ("text", "Text", "text"),
        ("clip_id", "clip", "id"),
        ("mode", "Split", "split"),
        ("label_T", "label_t", "label_text"),
        ("label_V", "Label_Vision", "label_vision"),
    ],
)
def test_a_column_spelled_otherwise_is_missed(tmp_path, old, new, missing):
    columns = [new if name == old else name for name in MMSA]
    words = rf"lacks the columns {missing}; it has {','.join(columns).replace(',', ', ')}; wanted: id \(or video_id and"
    with pytest.raises(UserError, match=words):
        read(save(tmp_path, SIMS, columns))


def test_a_column_twice_is_refused(tmp_path):
    columns = ["label" if name == "annotation" else name for name in MMSA]
    with pytest.raises(UserError, match="has the column label twice"):
        read(save(tmp_path, SIMS, columns))


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("label", "", "row 2: label is '', not a number"),
        ("label", "2,5", "row 2: label is '2,5', not a number: write a point, not a comma"),
        ("label_V", "none", "row 2: label_V is 'none', not a number"),
        ("label_A", "inf", "row 2: label_A is 'inf', not a number"),
        ("mode", "", "row 2: mode is '', not train, valid or test"),
        ("clip_id", "", "row 2: the id is empty"),
    ],
)
def test_a_bad_value_is_named_by_its_column(tmp_path, column, value, message):
    row = list(SIMS[0])
    row[MMSA.index(column)] = value
    with pytest.raises(UserError, match=message):
        read(save(tmp_path, [row]))
