import csv
import pickle

import numpy as np
import pytest

from mmsa_lightning.data.formats import read
from mmsa_lightning.errors import UserError


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
    assert split.label.shape == (5, 1, 1)
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
        "valid: 3 ids were not unique and got a number",
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
    (tmp_path / "x.csd").touch()
    with pytest.raises(UserError, match="known are"):
        read(tmp_path / "x.csd")
    with pytest.raises(UserError, match="there is no"):
        read(tmp_path / "none.pkl")
    with pytest.raises(UserError, match=r"has no train\.pkl, dev\.pkl, test\.pkl"):
        read(tmp_path)


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
    path = write_csv(tmp_path / "u.csv", rows, ("id", "text", "label", "split", "label_audio", "mood"))
    audio = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.savez(tmp_path / "a.npz", id=np.array([r[0] for r in ROWS])[::-1], features=audio)
    vision = np.arange(9.0).reshape(9, 1)
    np.savez(tmp_path / "v.npz", id=[*(r[0] for r in ROWS), "spare"], features=vision, lengths=[3, 0, 2, 1, 3])
    source = read(path, audio=tmp_path / "a.npz", vision=tmp_path / "v.npz")
    train = source.splits["train"]
    assert (source.layout, source.aligned, train.ids, train.raw_text[0]) == (
        "table",
        False,
        ["a$_$0", "a$_$1"],
        "I LOVED it",
    )
    assert train.label.tolist() == [2.5, -1]
    assert train.unimodal["audio"].tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(train.features["audio"].values[1], audio[2:3])
    np.testing.assert_array_equal(train.features["vision"].values[0], vision[:3])
    assert [len(v) for v in train.features["vision"].values] == [3, 0]
    assert source.report[1:] == ["vision: 1 sequences of v.npz belong to no utterance and were left out"]


def test_word_vectors(tmp_path):
    np.savez(tmp_path / "w.npz", words=["<unk>", "<pad>", "i", "loved", "so"], vectors=np.eye(5, dtype=np.float32))
    source = read(write_csv(tmp_path / "u.csv"), word_vectors=tmp_path / "w.npz")
    assert source.splits["train"].words[0] == ["I", "LOVED", "it"]
    np.testing.assert_array_equal(source.splits["train"].features["text"].values[0].argmax(1), [2, 3, 0])
    assert source.report == ["text: 5 of 8 words have no vector and got the vector of '<unk>'"]


def test_word_vectors_without_an_unknown_row_give_zeros(tmp_path):
    np.savez(tmp_path / "w.npz", words=["so"], vectors=np.ones((1, 4), np.float32))
    source = read(write_csv(tmp_path / "u.csv"), word_vectors=tmp_path / "w.npz")
    assert not source.splits["train"].features["text"].values[0].any()
    assert source.splits["valid"].features["text"].values[0].all()
    assert source.report == ["text: 7 of 8 words have no vector and got zeros"]


def test_object_strings_in_an_npz_are_read_safely_and_code_is_not(tmp_path):
    path = write_csv(tmp_path / "u.csv")
    ids = np.array([r[0] for r in ROWS], dtype=object)
    np.savez(tmp_path / "a.npz", id=ids, features=np.ones((4, 2)))
    assert len(read(path, audio=tmp_path / "a.npz").splits["test"].features["audio"].values) == 1

    class Trap:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    ids[1] = Trap()
    np.savez(tmp_path / "a.npz", id=ids, features=np.ones((4, 2)))
    with pytest.raises(UserError, match=r"a\.npz: id asks for builtins\.eval"):
        read(path, audio=tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


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
            r"row 6: .* a\$_\$1 .* row 3 already, with another text, split",
        ),
        ([*ROWS, ("d", "x")], None, r"row 6: it does not have 4 columns"),
        ([*ROWS, ("", "x", "1", "test")], None, r"row 6: the id is empty"),
        ([], None, "has no rows"),
    ],
)
def test_bad_tables_are_named(tmp_path, rows, columns, message):
    path = write_csv(tmp_path / "u.csv", rows, columns or ("id", "text", "label", "split"))
    with pytest.raises(UserError, match=message):
        read(path)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"id": ["a$_$0", "b$_$0"], "features": np.ones((2, 3))}, r"no features for 2 of 4 utterances; first: a\$_\$1"),
        ({"id": ["a$_$0"], "features": np.ones((2, 3))}, "1 ids but 2 sequences"),
        ({"id": ["a$_$0"], "features": np.ones((2, 3)), "lengths": [3]}, "do not add up to the 2 rows"),
        ({"id": ["x", "x"], "features": np.ones((2, 3))}, "twice"),
        ({"id": ["x"], "features": np.ones(1)}, "not .steps, width."),
        ({"features": np.ones((4, 3))}, "has no array 'id'; it has features"),
        ({"id": ["x"], "features": np.array([["x"]])}, "does not hold numbers"),
    ],
)
def test_bad_feature_files_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read(write_csv(tmp_path / "u.csv"), audio=tmp_path / "a.npz")


def test_a_damaged_npz_is_a_user_error(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"cannot read .*a\.npz as \.npz"):
        read(write_csv(tmp_path / "u.csv"), audio=tmp_path / "a.npz")


def test_feature_files_beside_a_pickle_are_refused(tmp_path, layouts):
    with pytest.raises(UserError, match="feature files go with a CSV"):
        read(save(tmp_path / "x.pkl", layouts.mmsa(True)), audio=tmp_path / "a.npz")
