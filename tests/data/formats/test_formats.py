import csv
import pickle

import numpy as np
import pytest

from mmsa_lightning.cli import main
from mmsa_lightning.data.formats import read
from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import LFS_POINTER


def save(path, data, protocol=2):
    path.write_bytes(pickle.dumps(data, protocol))
    return path


@pytest.mark.parametrize("aligned", [True, False])
def test_mmsa(tmp_path, layouts, aligned):
    data = layouts.mmsa(aligned)
    source = read(save(tmp_path / "aligned_50.pkl", data, 4))
    assert (source.layout, source.aligned, set(source.splits)) == ("mmsa", aligned, set(data))
    part, split = data["valid"], source.splits["valid"]
    assert split.ids == list(part["id"])
    assert split.raw_text == list(part["raw_text"])
    length = int(part["text_bert"][1, 1].sum())
    np.testing.assert_array_equal(split.tokens[1], part["text_bert"][1, 0, :length])
    assert np.issubdtype(split.tokens[1].dtype, np.integer)
    np.testing.assert_array_equal(split.features["text"].values[1], part["text"][1, :length])
    np.testing.assert_array_equal(split.features["audio"].values, part["audio"])
    assert (split.features["vision"].lengths is None) == aligned


def test_mmsa_with_stated_lengths_is_not_aligned(tmp_path, layouts):
    data = layouts.mmsa(True)
    for part in data.values():
        part["audio_lengths"] = [7] * len(part["id"])
    assert not read(save(tmp_path / "x.pkl", data)).aligned


def test_mmsa_unimodal_labels_of_ch_sims(tmp_path, layouts):
    data = layouts.mmsa(True)
    for part in data.values():
        for letter, value in zip("TAV", (0.2, -0.4, 0.6), strict=True):
            part[f"regression_labels_{letter}"] = np.full(len(part["id"]), value)
    unimodal = read(save(tmp_path / "x.pkl", data)).splits["test"].unimodal
    assert {m: label[0] for m, label in unimodal.items()} == {"text": 0.2, "audio": -0.4, "vision": 0.6}


def test_mmsa_fractional_token_ids_are_refused(tmp_path, layouts):
    data = layouts.mmsa(True)
    data["train"]["text_bert"][0, 0, 1] = 7.5
    with pytest.raises(UserError, match="train: text_bert holds ids that are not whole"):
        read(save(tmp_path / "x.pkl", data))


@pytest.mark.parametrize("ids, first", [("triples", "train_video$_$0.5_1.25"), ("segments", "train_video$_$0")])
def test_mult(tmp_path, layouts, ids, first):
    data = layouts.mult({"text": 50, "audio": 50, "vision": 50}, ids)
    source = read(save(tmp_path / "mosi_data.pkl", data))
    assert (source.layout, source.aligned) == ("mult", True)
    split = source.splits["train"]
    assert split.ids[0] == first
    np.testing.assert_array_equal(split.label, data["train"]["labels"][:, 0, 0])
    assert split.tokens is split.words is None
    np.testing.assert_array_equal(split.features["text"].values, data["train"]["text"])


def test_mult_unaligned_and_weak_ids(tmp_path, layouts):
    data = layouts.mult({"text": 50, "audio": 375, "vision": 500}, "repeated")
    del data["test"]["id"]
    source = read(save(tmp_path / "mosi_data_noalign.pkl", data))
    assert not source.aligned
    ids = [i for split in source.splits.values() for i in split.ids]
    assert len(set(ids)) == len(ids) == 12
    assert source.report == [
        "train: 4 ids were not unique and got a number",
        "valid: 3 ids were not unique and got a number, some of them those of train: look for copies",
        "test: no ids, so the rows were numbered",
    ]


def test_misa_folder(tmp_path, layouts):
    folds = {name: layouts.fold(name, 4, own_words=True) for name in ("train", "dev", "test")}
    for name, fold in folds.items():
        save(tmp_path / f"{name}.pkl", fold)
    source = read(tmp_path)
    assert (source.layout, source.aligned, list(source.splits)) == ("misa", True, ["train", "valid", "test"])
    split = source.splits["valid"]
    assert split.ids[1] == "dev1$_$1"
    assert split.words[0] == ["i", "really", "loved", "it"]
    np.testing.assert_array_equal(split.features["vision"].values[3], folds["dev"][3][0][1])
    np.testing.assert_array_equal(split.features["audio"].values[3], folds["dev"][3][0][2])
    assert split.label[2] == pytest.approx(folds["dev"][2][1].item())


def test_mag_bert(tmp_path, layouts):
    folds = {name: layouts.fold(name, 4, own_words=False) for name in ("train", "dev", "test")}
    folds["train"][0] = (folds["train"][0][0], np.array([[1.5, 0, 0, 1, 0, 0, 0]]), folds["train"][0][2])  # MOSEI's
    source = read(save(tmp_path / "mosi.pkl", folds))
    assert source.splits["train"].label[0] == 1.5
    assert source.splits["test"].raw_text[1] == "unbelievably bad"


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "dev", "development"])
@pytest.mark.parametrize("train, test", [("train", "test"), ("training", "testing")])
@pytest.mark.parametrize("layout", ["mmsa", "mult", "misa"])
def test_a_pickles_splits_have_the_names_that_a_tables_have(tmp_path, layouts, layout, train, valid, test):
    if layout == "misa":
        data = {name: layouts.fold(name, 3, own_words=False) for name in ("train", "valid", "test")}
    else:
        data = layouts.mmsa(True) if layout == "mmsa" else layouts.mult({"text": 9, "audio": 9, "vision": 9})
    named = {train: data["train"], valid: data["valid"], test: data["test"]}
    source, usual = read(save(tmp_path / "x.pkl", named)), read(save(tmp_path / "y.pkl", data))
    assert source.layout == layout
    assert {n: s.ids for n, s in source.splits.items()} == {n: s.ids for n, s in usual.splits.items()}


def test_words_as_numbers_are_refused(tmp_path, layouts):
    (words, visual, acoustic), label, segment = layouts.fold("x", 1, own_words=False)[0]
    fold = [((np.arange(len(words)), visual, acoustic), label, segment)]
    with pytest.raises(UserError, match="words are numbers"):
        read(save(tmp_path / "mosi.pkl", {"train": fold, "dev": fold, "test": fold}))


def test_a_single_fold_needs_split_and_keeps_videos_whole(tmp_path, layouts):
    path = save(tmp_path / "dev.pkl", [u for v in "abcdefghij" for u in layouts.fold(v, 8, own_words=True)])
    with pytest.raises(UserError, match="divide it by video with: --split 70 15 15"):
        read(path)
    source, again = read(path, split=(70, 15, 15)), read(path, split=(0.7, 0.15, 0.15))
    ids = {name: split.ids for name, split in source.splits.items()}
    assert ids == {name: split.ids for name, split in again.splits.items()}
    videos = [{i.split("$_$")[0] for i in split} for split in ids.values()]
    assert not videos[0] & videos[1] and not videos[0] & videos[2] and not videos[1] & videos[2]
    assert sum(map(len, ids.values())) == 80
    assert [len(split) for split in ids.values()] == pytest.approx([56, 12, 12], abs=4)
    order = [f"{v}{i % 4}$_${i}" for v in "abcdefghij" for i in range(8)]
    assert all(split == sorted(split, key=order.index) for split in ids.values())
    split = source.splits["valid"]
    assert [len(w) for w in split.words] == [len(steps) for steps in split.features["audio"].values]


def test_a_source_without_a_test_split_has_it_taken_out_of_valid(tmp_path, layouts):
    folds = {"train": layouts.fold("t", 9, own_words=True)}
    folds["dev"] = [u for v in "abcdefgh" for u in layouts.fold(v, 6, own_words=True)]
    path = save(tmp_path / "mosei.pkl", folds)
    whole, source = read(path).splits, read(path, split=(70, 10, 20)).splits
    assert source["train"].ids == whole["train"].ids
    assert sorted(source["valid"].ids + source["test"].ids) == sorted(whole["valid"].ids)
    assert [len(source[name].ids) for name in ("valid", "test")] == pytest.approx([16, 32], abs=4)
    videos = [{i.split("$_$")[0] for i in source[name].ids} for name in ("valid", "test")]
    assert not videos[0] & videos[1]
    assert read(path, split=(70, 10, 20)).report[-1].startswith("valid divided by video into valid 1")


def test_ids_that_name_no_video_are_said_where_it_divides(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,text,label\n" + "".join(f"talk{i // 5}_{i % 5},good,1\n" for i in range(20)))
    assert "20 of 20 ids do not say which video they are of" in read(path, split=(70, 15, 15)).report[-1]
    path.write_text(path.read_text().replace("_", "$_$"))
    assert read(path, split=(50, 25, 25)).report[-1].endswith("not an official split")


def test_split_on_a_divided_source_is_refused(tmp_path, layouts):
    with pytest.raises(UserError, match="already; leave out --split"):
        read(save(tmp_path / "x.pkl", layouts.mmsa(True)), split=(70, 15, 15))


@pytest.mark.parametrize("shares", [(70, 15, 0), (70, -1, 15), (float("nan"), 1, 1)])
def test_senseless_shares_are_refused(tmp_path, layouts, shares):
    with pytest.raises(UserError, match="three numbers above 0"):
        read(save(tmp_path / "x.pkl", layouts.fold("a", 4, own_words=True)), split=shares)


def test_too_few_videos_are_refused(tmp_path, layouts):
    with pytest.raises(UserError, match="only 2 videos"):
        read(save(tmp_path / "x.pkl", layouts.fold("a", 2, own_words=True)), split=(1, 1, 1))


@pytest.mark.parametrize(
    "data",
    [{"train": {"x": 1}}, {"a": 1}, 7, {"train": [1], "valid": {"labels": 1}}],
    ids=["split", "dict", "int", "mixed"],
)
def test_unknown_content_names_what_is_known(tmp_path, data):
    with pytest.raises(UserError, match=r"no known layout.*MMSA.*MulT.*MISA.*MAG-BERT.*CSV"):
        read(save(tmp_path / "x.pkl", data))


def test_unknown_suffix_missing_path_and_folder(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"x")
    with pytest.raises(UserError, match="known layouts: "):
        read(tmp_path / "x.wav")
    with pytest.raises(UserError, match="there is no"):
        read(tmp_path / "none.pkl")
    with pytest.raises(UserError, match=r"has no train\.pkl, dev\.pkl, test\.pkl"):
        read(tmp_path)


def test_texts_that_are_missing_become_empty_and_are_counted(tmp_path, layouts):
    data = layouts.mmsa(True)
    data["train"]["raw_text"] = np.array(["so", None, np.nan, "nan", np.float32("nan")], dtype=object)
    data["valid"]["raw_text"] = [None, "none", b"bytes"]
    source = read(save(tmp_path / "x.pkl", data))
    assert source.splits["train"].raw_text == ["so", "", "", "nan", ""]
    assert source.splits["valid"].raw_text == ["", "none", "bytes"]
    assert source.report == [
        "train: raw_text: 3 of 5 are None or NaN, taken as empty",
        "valid: raw_text: 1 of 3 are None or NaN, taken as empty",
    ]


def test_words_that_are_missing_become_empty_and_keep_their_steps(tmp_path, layouts):
    folds = {name: layouts.fold(name, 3, own_words=True) for name in ("train", "dev", "test")}
    folds["train"][0][0][3][1] = None
    folds["train"][1][0][3][0] = float("nan")
    path = save(tmp_path / "x.pkl", folds)
    source = read(path)
    assert source.splits["train"].words[:2] == [["i", "", "loved", "it"], ["", "bad"]]
    assert source.splits["train"].raw_text[:2] == ["i loved it", "bad"]
    assert source.report == ["train: 2 words are None or NaN, taken as empty"]
    main(["data", "import", str(path), "--dataset", "own", "--out", str(tmp_path / "own.h5")])
    found = Store(tmp_path / "own.h5").splits["train"].sequences
    assert found["tokens"][1].tolist() == [101, 2919, 102]  # [CLS] bad [SEP]
    np.testing.assert_array_equal(found["audio"][1], [np.zeros(74), folds["train"][1][0][2][1], np.zeros(74)])


@pytest.mark.parametrize("value", [None, float("nan"), "", "nan", "None", "<NA>"])
def test_ids_that_are_missing_are_refused_with_their_row(tmp_path, layouts, value):
    data = layouts.mmsa(True)
    data["valid"]["id"] = np.array(["a", value, "b"], dtype=object)
    with pytest.raises(UserError, match=r"x\.pkl: valid: id, row 1 is .*; every utterance needs an id"):
        read(save(tmp_path / "x.pkl", data))
    data = layouts.mult({"text": 50, "audio": 50, "vision": 50})
    data["test"]["id"] = data["test"]["id"].astype(object)
    data["test"]["id"][3, 0] = value
    with pytest.raises(UserError, match=r"test: id, row 3 is .*; every utterance needs an id"):
        read(save(tmp_path / "x.pkl", data))
    folds = {name: layouts.fold(name, 3, own_words=True) for name in ("train", "dev", "test")}
    folds["dev"][2] = (*folds["dev"][2][:2], value)
    with pytest.raises(UserError, match=r"valid, utterance 2: the segment is .*; every utterance needs an id"):
        read(save(tmp_path / "x.pkl", folds))


def with_fold(change):
    def make(layouts):
        folds = {name: layouts.fold(name, 2, own_words=True) for name in ("train", "dev", "test")}
        (ids, visual, acoustic, words), label, segment = folds["dev"][1]
        folds["dev"][1] = change(ids, visual, acoustic, words, label, segment)
        return folds

    return make


def with_mmsa(change):
    def make(layouts):
        data = layouts.mmsa(False)
        change(data)
        return data

    return make


def mult_of(**columns):
    return lambda layouts: {
        name: part | {key: value(len(part["labels"])) for key, value in columns.items()}
        for name, part in layouts.mult({"text": 50, "audio": 50, "vision": 50}).items()
    }


WRONG = {
    "fewer steps": (
        with_fold(lambda i, v, a, w, y, s: ((i, v[:1], a, w), y, s)),
        r"valid, utterance 1 \(dev1\$_\$1\): 1 steps of visual, but 2 words",
    ),
    "another length": (
        with_fold(lambda i, v, a, w, y, s: ((i, v, a[:1], w, 2, 2), y, s)),
        r"valid, utterance 1 \(dev1\$_\$1\): 1 steps of acoustic, but 2 as its length",
    ),
    "a text for words": (
        with_fold(lambda i, v, a, w, y, s: ((i, v, a, "un bad"), y, s)),
        r"valid, utterance 1 \(dev1\$_\$1\): words are a str, not a list",
    ),
    "a list for a word": (
        with_fold(lambda i, v, a, w, y, s: ((i, v, a, [w[0], [1]]), y, s)),
        r"valid, utterance 1 \(dev1\$_\$1\): word 1 is a list, not a text",
    ),
    "a vector": (
        with_fold(lambda i, v, a, w, y, s: ((i, v[0], a, w), y, s)),
        r"valid, utterance 1 \(dev1\$_\$1\): visual has shape \(47,\), not \(steps, features\)",
    ),
    "two labels": (
        with_fold(lambda i, v, a, w, y, s: ((i, v, a, w), [0.5, 1], s)),
        r"valid, utterance 1 \(dev1\$_\$1\): label has shape \(1, 2\): 1 column",
    ),
    "no segment": (
        with_fold(lambda i, v, a, w, y, s: ((i, v, a, w), y)),
        r"valid, utterance 1: not \(\(words, visual, acoustic\), label, segment\)",
    ),
    "no labels": (
        with_mmsa(lambda d: d["valid"].pop("regression_labels")),
        r"valid has no 'regression_labels'; it has .*text_bert",
    ),
    "a negative length": (
        with_mmsa(lambda d: d["valid"].update(audio_lengths=[1, -2, 3])),
        "valid: audio_lengths, row 1 is -2, not a whole number from 0 up",
    ),
    "a length that is None": (
        with_mmsa(lambda d: d["valid"].update(audio_lengths=[1, None, 3])),
        "valid: audio_lengths, row 1 is nan, not a whole number from 0 up",
    ),
    "two axes": (
        with_mmsa(lambda d: d["valid"].update(vision=np.ones((3, 4)))),
        r"valid: vision has shape \(3, 4\), not \(utterances, time, features\)",
    ),
    "rows that differ": (
        with_mmsa(lambda d: d["valid"].update(vision=[np.ones((3, 4)), np.ones((2, 4))])),
        r"valid: vision does not hold numbers in equal rows: row 1 has shape \(2, 4\), but row 0 \(3, 4\)",
    ),
    "no number": (
        with_mmsa(lambda d: d["valid"].update(regression_labels=["1", "2", "good"])),
        "valid: regression_labels does not hold numbers in equal rows: row 2: .*'good'",
    ),
    "a token below 0": (
        with_mmsa(lambda d: d["valid"]["text_bert"].__setitem__((1, 0, 2), -7)),
        "valid: text_bert holds ids that are not whole numbers from 0 up: -7.0, row 1",
    ),
    "two names": (
        with_mmsa(lambda d: d.update(dev=d["valid"])),
        "'dev' is a second name of the split valid",
    ),
    "a list for an id": (
        with_mmsa(lambda d: d["test"].update(id=["a", "b", ["c"], "d"])),
        "test: id, row 2 is a list, not a text",
    ),
    "emotions": (
        mult_of(labels=lambda n: np.zeros((n, 4, 2))),
        r"train: labels has shape \(5, 4, 2\): 1 column \(sentiment\) or 7",
    ),
    "pairs for ids": (
        mult_of(id=lambda n: np.zeros((n, 2))),
        r"train: id has shape \(5, 2\), not \(utterances, 3\) or \(utterances,\)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_pickle_is_named(tmp_path, layouts, case):
    make, message = WRONG[case]
    with pytest.raises(UserError, match=rf"x\.pkl: {message}"):
        read(save(tmp_path / "x.pkl", make(layouts)))


def test_a_file_that_is_no_layout_says_what_it_is(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"x\.npz has no known layout: .*adds features to .*; known layouts: "):
        read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (LFS_POINTER + b"v1\n", "is a Git LFS pointer.*git lfs pull")]
)
@pytest.mark.parametrize("name", ["x.pkl", "x.csv", "x.pt", "folder/dev.pkl", "x.npz", "x.csd"])
def test_a_file_without_its_content_says_so(tmp_path, layouts, name, content, message):
    source = save(tmp_path / "mmsa.pkl", layouts.mmsa(True)) if name == "x.npz" else tmp_path / name
    (tmp_path / "folder").mkdir()
    for fold in ("train", "dev", "test"):
        (tmp_path / "folder" / f"{fold}.pkl").write_bytes(b"x")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} {message}"):
        read(source if "/" not in name else source.parent, audio=tmp_path / name if name == "x.npz" else None)


ROWS = [
    ("a$_$0", "I LOVED it", "2.5", "train"),
    ("a$_$1", "boring stuff", "-1", "train"),
    ("b$_$0", "so", "0", "dev"),
    ("c$_$0", "Not BAD", "1", "test"),
]


def write_csv(path, rows=ROWS, columns=("id", "text", "label", "split")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_table(tmp_path):
    rows = [(*row, 0.5, "ignored") for row in ROWS]
    source = read(write_csv(tmp_path / "u.csv", rows, ("id", "text", "label", "split", "label_audio", "mood")))
    train = source.splits["train"]
    assert (source.layout, source.aligned, train.ids) == ("table", False, ["a$_$0", "a$_$1"])
    assert (train.raw_text[0], train.label.tolist()) == ("I LOVED it", [2.5, -1])
    assert train.unimodal["audio"].tolist() == [0.5, 0.5]
    assert source.report == ["columns that were not read: mood"]


@pytest.mark.parametrize(
    "rows, columns, message",
    [
        (ROWS, ("id", "text", "score", "split"), r"lacks the columns label; it has id, text, score, split"),
        ([*ROWS, ("d", "x", "fine", "test")], None, r"row 6: label is 'fine', not a number"),
        ([*ROWS, ("d", "x", "nan", "test")], None, r"row 6: label is 'nan', not a number"),
        ([*ROWS, ("d", "x", "1", "holdout")], None, r"row 6: split is 'holdout'"),
        (
            [*ROWS, ("a$_$1", "boring", "-1", "test")],
            None,
            r"row 6: .* a\$_\$1 .* already in row 3, with another text, split",
        ),
        ([*ROWS, ("d", "x")], None, r"row 6: it has 2 columns, not 4"),
        ([*ROWS, ("", "x", "1", "test")], None, r"row 6: the id is empty"),
        ([], None, "has no rows"),
    ],
)
def test_bad_tables_are_named(tmp_path, rows, columns, message):
    path = write_csv(tmp_path / "u.csv", rows, columns or ("id", "text", "label", "split"))
    with pytest.raises(UserError, match=message):
        read(path)
