import pickle

import numpy as np
import pytest
from hostile_pickles import Calls

from mmsa_lightning.cli import main
from mmsa_lightning.data.formats import read
from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError

IDS = ["a$_$0", "a$_$1", "b$_$0", "c$_$0"]
TEXTS = ["I LOVED it", "boring stuff", "so", "Not BAD"]
LENGTHS = [3, 1, 2, 4]


@pytest.fixture
def table(tmp_path):
    rows = zip(IDS, TEXTS, ("train", "train", "dev", "test"), strict=True)
    path = tmp_path / "u.csv"
    path.write_text("id,text,label,split\n" + "".join(f"{i},{text},1,{split}\n" for i, text, split in rows))
    return path


def save(path, data):
    path.write_bytes(pickle.dumps(data))
    return path


def sequences(dtype=np.float32):
    """One for each of IDS, with no step of zeros at an end."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, 100, (length, 2)).astype(dtype) for length in LENGTHS]


def objects(arrays):
    found = np.empty(len(arrays), object)
    found[:] = arrays
    return found


def padded(arrays, side="right", time=5):
    found = np.zeros((len(arrays), time, 2), arrays[0].dtype)
    for row, steps in zip(found, arrays, strict=True):
        row[slice(time - len(steps), time) if side == "left" else slice(0, len(steps))] = steps
    return found


FORMS = {
    "end to end": lambda arrays: {"features": np.concatenate(arrays), "lengths": LENGTHS},
    "objects": lambda arrays: {"features": objects(arrays)},
    "objects with lengths": lambda arrays: {"features": objects(arrays), "lengths": LENGTHS},
    "padded": lambda arrays: {"features": padded(arrays)},
    "padded in front": lambda arrays: {"features": padded(arrays, "left")},
    "padded with lengths": lambda arrays: {"features": padded(arrays), "lengths": LENGTHS},
    "padded in front with lengths": lambda arrays: {"features": padded(arrays, "left"), "lengths": LENGTHS},
    "not padded": lambda arrays: {"features": padded(arrays)[:, :1]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_each_utterance_its_own_steps(tmp_path, table, form):
    arrays = sequences()
    saved = FORMS[form](arrays)
    if form == "not padded":
        arrays = [steps[:1] for steps in arrays]
    np.savez(tmp_path / "a.npz", id=IDS, **saved)
    splits = read(table, audio=tmp_path / "a.npz").splits
    found = [steps for name in ("train", "valid", "test") for steps in splits[name].features["audio"].values]
    for steps, expected in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(steps, expected)


def test_steps_of_zeros_stay_where_lengths_are_stated(tmp_path, table):
    arrays = sequences()
    arrays[0][-1] = 0
    np.savez(tmp_path / "a.npz", id=IDS, features=padded(arrays), lengths=LENGTHS)
    np.testing.assert_array_equal(read(table, audio=tmp_path / "a.npz").splits["train"].features["audio"].values[0],
                                  arrays[0])  # fmt: skip


MEMORY = {
    "column-major": np.asfortranarray,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "both": lambda array: np.asfortranarray(array.astype(array.dtype.newbyteorder(">"))),
    "a view backwards": lambda array: array[::-1].copy()[::-1],
    "a view of every other": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "float64": lambda array: array.astype(np.float64),
    "float16": lambda array: array.astype(np.float16),
    "int16": lambda array: array.astype(np.int16),
    "uint8": lambda array: array.astype(np.uint8),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["end to end", "objects", "padded with lengths"])
def test_the_store_does_not_depend_on_order_or_type_in_memory(tmp_path, table, form):
    """Compared with the row-major float32 of the same numbers, which float16 and uint8 hold exactly."""

    def stored(change):
        saved = FORMS[form]([change(steps) for steps in sequences()])
        if form != "objects":
            saved["features"] = change(saved["features"])
        np.savez(tmp_path / "a.npz", id=IDS, **saved)
        out = tmp_path / "own.h5"
        options = ["--dataset", "own", "--audio", str(tmp_path / "a.npz"), "--out", str(out)]
        main(["data", "import", str(table), *options])
        return Store(out).meta.content_sha256

    reference = stored(lambda array: array)
    assert {name: stored(change) for name, change in MEMORY.items()} == dict.fromkeys(MEMORY, reference)


def test_bools_are_zeros_and_ones(tmp_path, table):
    np.savez(tmp_path / "a.npz", id=IDS, features=np.eye(4, 2) > 0)
    found = read(table, audio=tmp_path / "a.npz").splits["train"].features["audio"].values
    np.testing.assert_array_equal(np.concatenate(found), [[1, 0], [0, 1]])


def test_what_belongs_to_no_utterance_is_named(tmp_path, table):
    arrays = sequences()
    ids = [IDS[3], *IDS[:3], "spare", "other"]
    np.savez(tmp_path / "a.npz", id=np.array(ids, object), features=objects([arrays[3], *arrays[:3], *arrays[:2]]))
    source = read(table, audio=tmp_path / "a.npz")
    np.testing.assert_array_equal(source.splits["test"].features["audio"].values[0], arrays[3])
    np.testing.assert_array_equal(source.splits["train"].features["audio"].values[1], arrays[1])
    assert source.report == ["audio: 2 sequences of a.npz belong to no utterance and were left out: spare, other"]


def test_segments_of_the_sdk_match_its_own_names_alone(tmp_path, table, layouts):
    """It counts from 0 where MMSA counts from 1: ``VIDEO[3]`` is not the ``VIDEO$_$3`` of a table."""
    folds = {name: layouts.fold(name, 3, own_words=True) for name in ("train", "dev", "test")}
    segments = [segment for fold in folds.values() for *_, segment in fold]
    np.savez(tmp_path / "a.npz", id=segments, features=np.arange(18.0).reshape(9, 2))
    pickled = save(tmp_path / "x.pkl", folds)
    np.testing.assert_array_equal(read(pickled, audio=tmp_path / "a.npz").splits["valid"].features["audio"].values[1],
                                  [[8, 9]])  # fmt: skip
    np.savez(tmp_path / "a.npz", id=["a[0]", "a[1]", "b[0]", "c[0]"], features=np.ones((4, 2)))
    with pytest.raises(
        UserError, match=r"no features for 4 of 4 .*; it has them for a\[0\], a\[1\], b\[0\] and 1 more"
    ):
        read(table, audio=tmp_path / "a.npz")
    ids = [segment.replace("[", "$_$").rstrip("]") for segment in segments]
    np.savez(tmp_path / "a.npz", id=[i for i in ids if not i.endswith("$_$0")], features=np.ones((6, 2)))
    with pytest.raises(UserError, match=r"no features for 3 of 9 .*: CMU's SDK counts segments from 0, MMSA from 1"):
        read(pickled, audio=tmp_path / "a.npz")


def beside(tmp_path, source, **saved):
    """A file of features for every utterance of ``source``, the last one first, and what it holds by id."""
    ids = [name for split in source.splits.values() for name in split.ids][::-1]
    arrays = [np.full((2 + row % 3, 4), row + 1, np.float32) for row in range(len(ids))]
    np.savez(tmp_path / "v.npz", id=ids, **(saved or {"features": objects(arrays)}))
    return tmp_path / "v.npz", dict(zip(ids, arrays, strict=True))


@pytest.mark.parametrize("modality", ["text", "audio", "vision"])
@pytest.mark.parametrize("layout", ["mmsa", "mult", "mag_bert"])
def test_features_beside_any_layout_add_a_modality_or_replace_one(tmp_path, layouts, layout, modality):
    data = {
        "mmsa": layouts.mmsa(True),
        "mult": layouts.mult({"text": 50, "audio": 50, "vision": 50}),
        "mag_bert": {name: layouts.fold(name, 3, own_words=False) for name in ("train", "dev", "test")},
    }[layout]
    path = save(tmp_path / "x.pkl", data)
    plain = read(path)
    file, wanted = beside(tmp_path, plain)
    source = read(path, **{modality: file})
    told = [f"{modality}: v.npz replaces the source's own features"]
    assert source.report == plain.report + (told if modality in plain.splits["test"].features else [])
    for name, split in source.splits.items():
        for utterance, steps in zip(split.ids, split.features[modality].values, strict=True):
            np.testing.assert_array_equal(steps, wanted[utterance])
        for other in plain.splits[name].features.keys() - {modality}:
            for one, two in zip(split.features[other].values, plain.splits[name].features[other].values, strict=True):
                np.testing.assert_array_equal(one, two)


def test_features_beside_mmsas_pickle_are_found_by_id_or_refused(tmp_path, layouts):
    path = save(tmp_path / "x.pkl", layouts.mmsa(True))
    ids = [name for split in read(path).splits.values() for name in split.ids]
    np.savez(tmp_path / "v.npz", id=[*ids[:-1], "valid_video$_$99"], features=np.ones((len(ids), 4)))
    with pytest.raises(UserError, match=rf"v\.npz has no features for 1 of {len(ids)} utterances: test_video\$_\$3; "):
        read(path, audio=tmp_path / "v.npz")


@pytest.mark.parametrize("option", ["--text", "--text-features"])
def test_one_vector_an_utterance_beside_tokens_is_repeated_over_them(tmp_path, layouts, option):
    path = save(tmp_path / "x.pkl", layouts.mmsa(True))
    source = read(path)
    n = sum(len(split.ids) for split in source.splits.values())
    vectors = np.arange(1, 1 + 3 * n, dtype=np.float32).reshape(n, 3)
    file, wanted = beside(tmp_path, source, features=vectors)
    out = tmp_path / "own.h5"
    main(["data", "import", str(path), "--dataset", "own", "--out", str(out), option, str(file)])
    store = Store(out)
    assert (store.meta.aligned, store.dims["text"]) == (True, 3)
    split = store.splits["valid"]
    row = list(wanted).index(split.ids[1])
    tokens = split.sequences["tokens"][1]
    np.testing.assert_array_equal(split.sequences["text"][1], [vectors[row]] * len(tokens))


def test_word_vectors_beside_a_pickle_of_words(tmp_path, layouts):
    folds = {name: layouts.fold(name, 3, own_words=True) for name in ("train", "dev", "test")}
    np.savez(tmp_path / "w.npz", words=["so", "bad"], vectors=np.eye(2, dtype=np.float32))
    source = read(save(tmp_path / "x.pkl", folds), word_vectors=tmp_path / "w.npz")
    np.testing.assert_array_equal(source.splits["train"].features["text"].values[1], [[0, 0], [0, 1]])


def test_word_vectors_replace_a_sources_own_features_and_say_so(tmp_path, layouts):
    np.savez(tmp_path / "w.npz", words=["words"], vectors=np.ones((1, 2)))
    source = read(save(tmp_path / "x.pkl", layouts.mmsa(True)), word_vectors=tmp_path / "w.npz")
    assert "text: w.npz replaces the source's own features" in source.report
    assert source.splits["valid"].features["text"].values[0].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]


def test_word_vectors_beside_a_source_without_words_are_refused(tmp_path, layouts):
    np.savez(tmp_path / "w.npz", words=["so"], vectors=np.ones((1, 2)))
    path = save(tmp_path / "x.pkl", layouts.mult({"text": 50, "audio": 50, "vision": 50}))
    with pytest.raises(UserError, match=r"w\.npz: --word-vectors needs the words, and the layout mult has none"):
        read(path, word_vectors=tmp_path / "w.npz")


def test_text_and_word_vectors_together_are_refused(tmp_path, table):
    with pytest.raises(UserError, match="--text and --word-vectors both give"):
        read(table, text=tmp_path / "a.npz", word_vectors=tmp_path / "w.npz")


def test_word_vectors(tmp_path, table):
    np.savez(tmp_path / "w.npz", words=["<unk>", "<pad>", "i", "loved", "so"], vectors=np.eye(5, dtype=np.float32))
    source = read(table, word_vectors=tmp_path / "w.npz")
    assert source.splits["train"].words[0] == ["I", "LOVED", "it"]
    np.testing.assert_array_equal(source.splits["train"].features["text"].values[0].argmax(1), [2, 3, 0])
    assert source.report == ["text: 5 of 8 words have no vector and got the vector of '<unk>'"]


def test_word_vectors_without_an_unknown_row_give_zeros(tmp_path, table):
    np.savez(tmp_path / "w.npz", words=["so"], vectors=np.ones((1, 4), np.float32))
    source = read(table, word_vectors=tmp_path / "w.npz")
    assert not source.splits["train"].features["text"].values[0].any()
    assert source.splits["valid"].features["text"].values[0].all()
    assert source.report == ["text: 7 of 8 words have no vector and got zeros"]


def test_object_strings_in_an_npz_are_read_safely_and_code_is_not(tmp_path, table):
    ids = np.array(IDS, dtype=object)
    np.savez(tmp_path / "a.npz", id=ids, features=np.ones((4, 2)))
    assert len(read(table, audio=tmp_path / "a.npz").splits["test"].features["audio"].values) == 1

    ids[1] = Calls(eval, f"open({str(tmp_path / 'ran')!r}, 'w')")
    np.savez(tmp_path / "a.npz", id=ids, features=np.ones((4, 2)))
    with pytest.raises(UserError, match=r"a\.npz: id asks for builtins\.eval"):
        read(table, audio=tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "arrays, message",
    [
        (
            {"id": ["a$_$0", "b$_$0"], "features": np.ones((2, 3))},
            r"a\.npz has no features for 2 of 4 utterances: a\$_\$1, c\$_\$0; it has them for a\$_\$0, b\$_\$0",
        ),
        ({"id": ["a$_$0"], "features": np.ones((2, 3))}, "1 ids but 2 sequences"),
        (
            {"id": ["a$_$0"], "features": np.ones((2, 3)), "lengths": [3]},
            "features has 2 rows, but lengths add up to 3",
        ),
        ({"id": IDS, "features": np.ones((2, 3)), "lengths": [1, 1]}, "4 ids but 2 lengths"),
        (
            {"id": ["a"], "features": np.ones((2, 3)), "lengths": [1.5]},
            r"a\.npz: lengths, row 0 is 1.5, not a whole number",
        ),
        (
            {"id": ["a"], "features": np.ones((1, 3, 2)), "lengths": [4]},
            "features of a has 3 steps, but its length is 4",
        ),
        ({"id": ["a", "b"], "features": objects([np.ones((2, 3)), np.ones(3)])}, r"features of b has shape \(3,\)"),
        ({"id": ["a", "b"], "features": objects([np.ones((2, 3)), np.ones((2, 4))])}, "of b has width 4, but a has 3"),
        ({"id": ["a", "b"], "features": objects([np.ones((2, 3)), "x"])}, "features of b does not hold numbers"),
        ({"id": ["a"], "features": np.ones((1, 0))}, "of a has width 0"),
        (
            {"id": ["a"], "features": np.ones((1, 3), complex)},
            r"a\.npz: features is of dtype complex128; save it as float",
        ),
        ({"id": ["a"], "features": np.ones((1, 3), np.longdouble)}, r"features is of dtype .*; save it as float64"),
        ({"id": ["a"], "features": np.zeros((1, 3), "M8[s]")}, r"features is of dtype datetime64\[s\]"),
        ({"id": ["a"], "features": np.zeros((1, 3), [("x", "f4")])}, "features is of dtype .*x"),
        (
            {"id": np.array(["a", None], object), "features": np.ones((2, 3))},
            r"a\.npz: id, row 1 is None; every utterance",
        ),
        ({"id": np.array(["a", np.nan]), "features": np.ones((2, 3))}, "id, row 1 is 'nan'; every utterance"),
        ({"id": ["x", "x"], "features": np.ones((2, 3))}, "a.npz: the id x occurs twice, in row 0 and in row 1"),
        ({"id": ["x"], "features": np.ones(1)}, "not .steps, width."),
        ({"features": np.ones((4, 3))}, "has no array 'id'; it has features"),
        ({"id": ["x"], "features": np.array([["x"]])}, "does not hold numbers"),
    ],
)
def test_bad_feature_files_are_named(tmp_path, table, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read(table, audio=tmp_path / "a.npz")


def test_a_damaged_npz_is_a_user_error(tmp_path, table):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"cannot read .*a\.npz as \.npz"):
        read(table, audio=tmp_path / "a.npz")
