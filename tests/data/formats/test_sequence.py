import json
import tracemalloc

import h5py
import numpy as np
import pytest
import sequences

from mmsa_lightning.data.formats.sequence import Budget, ComputationalSequence
from mmsa_lightning.errors import UserError
from mmsa_lightning.files import LFS_POINTER

NAMES = [f"f{i}" for i in range(3)]


@pytest.fixture
def path(tmp_path):
    entries = {video: (np.arange(12.0).reshape(4, 3), sequences.regular(i, 10, 4)) for i, video in enumerate("ab")}
    return sequences.write(tmp_path / "x.csd", "COVAREP", entries, **{"dimension names": NAMES})


def opened(path):
    return ComputationalSequence(path, Budget([path]))


def read(path):
    sequence = opened(path)
    return {video: sequence.read(video) for video in sequence.videos}


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
def test_what_the_sdk_writes_is_read(tmp_path, compression, dtype):
    features = np.arange(6).reshape(2, 3).astype(dtype)
    path = sequences.write(tmp_path / "x.csd", "X", {"v": (features, [[0, 1], [1, 1.5]])}, compression)
    sequence = opened(path)
    entry = sequence.read("v")
    assert (sequence.names, sequence.spoken, sequence.width, sequence.dimensions) == (["X"], False, 3, None)
    np.testing.assert_array_equal(entry.features, features)
    assert entry.features.dtype == dtype and entry.intervals.tolist() == [[0, 1], [1, 1.5]]


@pytest.mark.parametrize("dtype", ["S8", h5py.string_dtype()])
def test_words(tmp_path, dtype):
    spoken = np.array(["sp", "très", "good"], object).reshape(3, 1)
    features = np.char.encode(spoken.astype(str), "utf-8") if dtype == "S8" else spoken
    path = tmp_path / "w.csd"
    with h5py.File(path, "w") as file:
        file.create_dataset("words/data/v/features", data=features, dtype=dtype)
        file["words/data/v/intervals"] = sequences.regular(0, 1, 3)
    sequence = opened(path)
    assert sequence.spoken and sequence.read("v").features.tolist() == ["sp", "très", "good"]


def test_metadata(tmp_path, path):
    assert opened(path).dimensions == NAMES
    with h5py.File(path, "r+") as file:
        file["COVAREP/metadata/root name"][0] = "not JSON"
        file["COVAREP/metadata/dimension names"][0] = json.dumps("none")
    sequence = opened(path)
    assert (sequence.names, sequence.dimensions) == (["COVAREP", "not JSON"], None)


def test_segments_of_a_video_are_one_entry_that_can_be_sorted(tmp_path):
    entries = {f"v[{i}]": ([[i]], [[i, i + 1]]) for i in (0, 2, 10)}
    entry = read(sequences.write(tmp_path / "x.csd", "X", entries))["v"]
    assert entry.features.ravel().tolist() == [0, 10, 2]
    assert entry.sorted().features.ravel().tolist() == [0, 2, 10]
    assert entry.sorted().intervals[:, 0].tolist() == [0, 2, 10]


def replace(name, values):
    def change(file):
        del file[f"COVAREP/data/b/{name}"]
        if values is not None:
            file[f"COVAREP/data/b/{name}"] = values

    return change


def link(target, name="COVAREP/data/b/features"):
    def change(file):
        del file[name]
        file[name] = target

    return change


def claim(file, rows):
    """Give b so many rows, of which the first few are in the file."""
    for name, width in (("features", 3), ("intervals", 2)):
        del file[f"COVAREP/data/b/{name}"]
        dataset = file.create_dataset(f"COVAREP/data/b/{name}", (rows, width), "f8", chunks=(1000, width))
        dataset[:1000] = 0


def never_written(file):
    del file["COVAREP/data/b/features"]
    file.create_dataset("COVAREP/data/b/features", (4, 3), "f8", chunks=(4, 3))


def outside(file):
    del file["COVAREP/data/b/features"]
    file.create_dataset("COVAREP/data/b/features", (4, 3), "f8", external=[("/etc/passwd", 0, 96)])


def virtual(file):
    layout = h5py.VirtualLayout((4, 3), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 3))
    del file["COVAREP/data/b/features"]
    file["COVAREP/data"]["b"].create_virtual_dataset("features", layout)


def ragged(file):
    replace("features", None)(file)
    file.create_dataset("COVAREP/data/b/features", (4, 3), h5py.vlen_dtype(np.float32))


def references(file):
    replace("features", None)(file)
    file.create_dataset("COVAREP/data/b/features", (4, 3), h5py.ref_dtype)


def two_roots(file):
    file.create_group("other")


def no_videos(file):
    del file["COVAREP/data/a"], file["COVAREP/data/b"]


def two_texts(file):
    del file["COVAREP/metadata/root name"]
    file["COVAREP/metadata/root name"] = ["a", "b"]


BREAKS = {
    "no intervals": (replace("intervals", None), "/COVAREP/data/b/intervals is missing"),
    "no features": (replace("features", None), "/COVAREP/data/b/features is missing"),
    "soft link": (link(h5py.SoftLink("/COVAREP/data/a/features")), "b/features is missing, a link"),
    "external link": (link(h5py.ExternalLink("/etc/passwd", "/x")), "b/features is missing, a link"),
    "linked video": (link(h5py.ExternalLink("x.csd", "/COVAREP/data/a"), "COVAREP/data/b"), "b is missing, a link"),
    "linked data": (link(h5py.SoftLink("/"), "COVAREP/data"), "COVAREP/data is missing, a link"),
    "external file": (outside, "takes its values from another file"),
    "virtual": (virtual, "takes its values from another file"),
    "backwards": (replace("intervals", np.array([[0, 1], [2, 1.5], [2, 3], [3, 4]])), "interval 1 of b goes from 2 to"),
    "nan": (replace("intervals", np.full((4, 2), np.nan)), "interval 0 of b goes from nan to nan"),
    "three ends": (replace("intervals", np.ones((4, 3))), r"intervals of b are float64 of shape \(4, 3\)"),
    "text as times": (replace("intervals", np.full((4, 2), b"1")), r"intervals of b are \|S1"),
    "other rows": (replace("features", np.ones((5, 3))), "b has 5 rows of features, but 4 intervals"),
    "other width": (replace("features", np.ones((4, 2))), "b have the width 2, but others have 3"),
    "flat": (replace("features", np.ones(4)), r"features of b have shape \(4,\)"),
    "no width": (replace("features", np.ones((4, 0))), r"features of b have shape \(4, 0\)"),
    "deep": (replace("features", np.ones((4, 3, 2))), r"features of b have shape \(4, 3, 2\)"),
    "words": (replace("features", np.full((4, 3), b"x")), r"dtype \|S1, not numbers"),
    "complex": (replace("features", np.ones((4, 3), complex)), "dtype complex128, not numbers"),
    "ragged": (ragged, "dtype object, not numbers"),
    "references": (references, "dtype object, not numbers"),
    "a dataset for a video": (link(np.ones(3), "COVAREP/data/b"), "not a Group"),
    "never written": (never_written, "was never written"),
    "two roots": (two_roots, "it has 2 roots"),
    "no videos": (no_videos, "it has no videos"),
    "metadata": (two_texts, r"metadata/root name has shape \(2,\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_wrong_is_named_in_one_line(path, case):
    change, message = BREAKS[case]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_size_that_the_file_cannot_have_is_not_allocated(path):
    with h5py.File(path, "r+") as file:
        claim(file, 10**11)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="b/features would take 2400000000000 bytes"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_one_dataset_under_many_names_is_not_read_for_each(path):
    with h5py.File(path, "r+") as file:
        claim(file, 10**6)
        for i in range(9):
            file[f"COVAREP/data/b{i}"] = file["COVAREP/data/b"]
    with pytest.raises(UserError, match="with the rest too much for files of this size"):
        read(path)


@pytest.mark.parametrize("content", [b"", LFS_POINTER, b"no hdf5 at all", "cut"])
def test_a_damaged_file(path, content):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    with pytest.raises(UserError, match="is not a usable computational sequence"):
        read(path)
