import hashlib
import json
import os
import pathlib
import pickle

import h5py
import numpy as np
import pytest

from mmsa_lightning.data import ragged
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split, Store, write
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import LFS_POINTER


def make_split(n, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, n)
    return Split(
        ids=[f"vidéo$_${i}" for i in range(n)],
        label=rng.uniform(-3, 3, n).astype(np.float32),
        sequences={
            "tokens": Loaded([rng.integers(1, 30000, k) for k in lengths]),
            "audio": Loaded([rng.normal(size=(k, 5)).astype(np.float32) for k in lengths]),
        },
        raw_text=["so\ngut" for _ in range(n)],
        unimodal={"audio": rng.uniform(-1, 1, n).astype(np.float32)},
    )


def make_meta(**other):
    return Meta(**{"dataset": "own", "layout": "mmsa", "source": "x.pkl", "source_sha256": "0", "release": None,
                   "aligned": True, "vocabulary": "v", "report": ["a", "b"], **other})  # fmt: skip


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "x.h5", {name: make_split(4, i) for i, name in enumerate(SPLITS)}, make_meta())
    return tmp_path / "x.h5"


def test_what_is_written_is_read(path):
    store = Store(path)
    assert store.meta == make_meta(content_sha256=store.meta.content_sha256)
    for i, name in enumerate(SPLITS):
        expected, found = make_split(4, i), store.splits[name]
        assert (found.ids, found.raw_text) == (expected.ids, expected.raw_text)
        np.testing.assert_array_equal(found.label, expected.label)
        np.testing.assert_array_equal(found.unimodal["audio"], expected.unimodal["audio"])
        for sequence, steps in expected.sequences.items():
            for row in range(4):
                np.testing.assert_array_equal(found.sequences[sequence][row], steps[row])
    assert store.dims == {"tokens": None, "audio": 5}
    assert store.modalities == ["text", "audio"]


def test_an_older_store_says_nothing_of_its_vocabularys_hash_or_of_case(path):
    with h5py.File(path, "r+") as file:
        meta = json.loads(file.attrs["meta"])
        later = {"vocabulary_sha256", "vocabulary_assumed", "lower_cased"}
        file.attrs["meta"] = json.dumps({key: meta[key] for key in meta.keys() - later})
    assert Store(path).meta == make_meta(content_sha256=meta["content_sha256"])


def test_sequences_are_read_only(path):
    with pytest.raises(ValueError, match="read-only"):
        Store(path).splits["train"].sequences["audio"][0][0] = 1


def test_a_store_cut_off_while_it_is_open_is_an_error(path):
    sequence = Store(path).splits["test"].sequences["audio"]
    os.truncate(path, 100)
    with pytest.raises(UserError, match="cut off"):
        sequence[3]


def test_a_store_that_is_replaced_meanwhile_is_one_of_the_two(tmp_path, path, monkeypatch):
    """Between the two times that its file is opened: the new one, whole. Before a worker opens it again: an error."""
    other = tmp_path / "other.h5"
    write(other, {name: make_split(4, 9) for name in SPLITS}, make_meta())
    opened = pickle.dumps(Store(path))
    real = h5py.File

    def replacing(name, mode):
        if name == path and other.exists():
            pathlib.Path(other).replace(path)
        return real(name, mode)

    monkeypatch.setattr(h5py, "File", replacing)
    found, new = Store(path).splits["train"], make_split(4, 9)
    np.testing.assert_array_equal(found.label, new.label)
    for steps, expected in zip(found.sequences["audio"], new.sequences["audio"], strict=True):
        np.testing.assert_array_equal(steps, expected)
    with pytest.raises(UserError, match="was replaced while it was read"):
        pickle.loads(opened)


def test_another_hdf5_file_is_not_replaced(path, tmp_path):
    with h5py.File(tmp_path / "lab.h5", "w") as file:
        file["measurements"] = [1.0]
    with pytest.raises(UserError, match="exists and is not a store"):
        write(tmp_path / "lab.h5", Store(path).splits, make_meta())
    with h5py.File(tmp_path / "lab.h5") as file:
        assert list(file) == ["measurements"]


def test_a_store_of_another_data_set_is_not_replaced(path):
    splits = Store(path).splits
    with pytest.raises(UserError, match=r"x\.h5 holds own, not mosi; choose another place, or remove it first"):
        write(path, splits, make_meta(dataset="mosi"))
    assert Store(path).meta.dataset == "own"


def test_a_store_pickles_as_its_path(path):
    store = Store(path)
    data = pickle.dumps(store)
    assert len(data) < 300
    assert pickle.loads(data).meta == store.meta


def change(split):
    split.sequences["audio"][0][0, 0] += 1


def rename(split):
    split.ids[0] = "other"


@pytest.mark.parametrize("alter", [change, rename])
def test_the_content_hash_is_of_the_content(tmp_path, path, alter):
    splits = {name: make_split(4, i) for i, name in enumerate(SPLITS)}
    original = Store(path).meta.content_sha256
    assert write(tmp_path / "y.h5", splits, make_meta(source="other", report=[])).content_sha256 == original
    alter(splits["test"])
    assert write(tmp_path / "y.h5", splits, make_meta()).content_sha256 != original


def test_the_label_range_is_content_and_older_stores_are_of_minus_3_to_3(tmp_path, path):
    splits = {name: make_split(4, i) for i, name in enumerate(SPLITS)}
    original = Store(path).meta
    assert (original.label_range, original.label_limit, original.protocol) == ([-3, 3], 3, "mosi")
    with h5py.File(path, "r+") as file:
        older = json.loads(file.attrs["meta"])
        del older["label_range"]
        file.attrs["meta"] = json.dumps(older)
    assert Store(path).meta == original
    seen = {original.content_sha256}
    for bounds, limit, name in (([-1.0, 0.6], 1, "other"), ([-2.4, 2.0], 2.4, "mosi"), ([1.0, 5.0], 5, "other")):
        write(tmp_path / "y.h5", splits, make_meta(label_range=bounds))
        meta = Store(tmp_path / "y.h5").meta
        assert (meta.label_range, meta.label_limit, meta.protocol) == (bounds, limit, name)
        seen.add(meta.content_sha256)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("dataset", "bounds", "name"),
    [
        ("sims", [-1.0, 1.0], "sims"),
        ("sims", [-3.0, 3.0], "mosi"),  # imported, before CH-SIMS was known, with a range of the user's
        ("mine", [-1.0, 1.0], "other"),
        ("mosei", [-3.0, 3.0], "mosi"),
        ("demo", [-3.0, 3.0], "mosi"),
    ],
)
def test_the_protocol_is_that_of_the_data(dataset, bounds, name):
    assert make_meta(dataset=dataset, label_range=bounds).protocol == name


def test_the_hash_of_labels_from_minus_3_to_3_is_what_it_was(tmp_path):
    """Runs that were finished before the range was kept are known by it."""
    split = Split(["a"], np.zeros(1, np.float32), {"audio": Loaded([np.ones((1, 2), np.float32)])})
    digest = hashlib.sha256(b"aligned=True")
    for name in SPLITS:
        digest.update(f'/{name}/id ["a"]'.encode())
        for column, array in {
            "label": split.label,
            "audio/values": np.ones((1, 2), np.float32),
            "audio/offsets": np.array([0, 1]),
        }.items():
            digest.update(f"/{name}/{column} {array.dtype} {array.shape}".encode())
            digest.update(array)
    assert write(tmp_path / "z.h5", dict.fromkeys(SPLITS, split), make_meta()).content_sha256 == digest.hexdigest()


def test_only_unimodal_labels_may_be_blank(tmp_path, path):
    with h5py.File(path, "r+") as file:
        file["train/unimodal/audio"][2] = np.nan
    assert np.isnan(Store(path).splits["train"].unimodal["audio"]).tolist() == [False, False, True, False]
    for name, value in (("train/unimodal/audio", np.inf), ("train/label", np.nan)):
        with h5py.File(path, "r+") as file:
            file["train/unimodal/audio"][2] = 0
            file[name][1] = value
        with pytest.raises(UserError, match=f"{name} does not hold a number for each utterance"):
            Store(path)


def test_a_failed_write_leaves_the_older_store_and_no_other_file(tmp_path, path):
    before = path.read_bytes()
    splits = {name: make_split(4) for name in ("train", "valid")}  # no test: fails midway
    with pytest.raises(KeyError):
        write(path, splits, make_meta())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def delete_values(file):
    del file["train/audio/values"]


def cut_offsets(file):
    file["valid/audio/offsets"][-1] += 1


def shuffle_offsets(file):
    file["valid/audio/offsets"][1] = 0


def link_out(file):
    del file["test/audio/values"]
    file["test/audio/values"] = h5py.ExternalLink("/etc/passwd", "/x")


def compress(file):
    values = file["train/audio/values"][:]
    del file["train/audio/values"]
    file.create_dataset("train/audio/values", data=values, compression="gzip")


def other_format(file):
    file.attrs["format"] = "mmsa-lightning store 99"


def other_meta(file):
    file.attrs["meta"] = json.dumps({"dataset": "x"})


def range_of_three(file):
    file.attrs["meta"] = json.dumps(json.loads(file.attrs["meta"]) | {"label_range": [-3, 0, 3]})


def range_upside_down(file):
    file.attrs["meta"] = json.dumps(json.loads(file.attrs["meta"]) | {"label_range": [3, -3]})


def short_label(file):
    del file["train/label"]
    file["train/label"] = np.zeros(1, np.float32)


@pytest.mark.parametrize(
    "breaks",
    [
        delete_values,
        cut_offsets,
        shuffle_offsets,
        link_out,
        compress,
        other_format,
        other_meta,
        range_of_three,
        range_upside_down,
        short_label,
    ],
)
def test_a_broken_store_is_a_user_error(path, breaks):
    with h5py.File(path, "r+") as file:
        breaks(file)
    with pytest.raises(UserError, match="is not a usable store"):
        Store(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (LFS_POINTER, "is a Git LFS pointer"), (b"no hdf5 at all", "is not a usable store")],
)
def test_no_hdf5_is_a_user_error(tmp_path, content, message):
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Store(tmp_path / "x.h5")


def test_a_cut_off_store_is_a_user_error(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is not a usable store"):
        Store(path)


def test_no_store_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="make one with: mmsa data import"):
        Store(tmp_path / "x.h5")


def test_what_is_written_in_several_blocks_is_read_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(ragged, "BLOCK", 200)
    splits = {name: make_split(20, seed) for seed, name in enumerate(SPLITS)}
    write(tmp_path / "x.h5", splits, make_meta())
    for name, split in Store(tmp_path / "x.h5").splits.items():
        for sequence, steps in split.sequences.items():
            for i, expected in enumerate(splits[name].sequences[sequence]):
                np.testing.assert_array_equal(steps[i], expected)
