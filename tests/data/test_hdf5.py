import h5py
import numpy as np
import pytest

from mmsa_lightning.data import hdf5


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        yield file


@pytest.mark.parametrize("dtype", ["S9", h5py.string_dtype()])
def test_strings_of_either_kind(file, dtype):
    wanted = [f"wörd {i}" for i in range(130)]
    encoded = np.array([w.encode() for w in wanted])[:, None]
    file.create_dataset("x", data=encoded if dtype == "S9" else encoded.astype(object), dtype=dtype)
    file.flush()
    assert hdf5.strings(hdf5.dataset(file, "x")) == wanted


def test_what_is_not_utf_8(file):
    file["x"] = np.array([b"\xff"])
    file.flush()
    with pytest.raises(UnicodeDecodeError):
        hdf5.strings(file["x"])
    assert hdf5.strings(file["x"], "replace") == ["\ufffd"]


def test_a_long_string_in_many_rows_is_not_copied_for_each(file):
    """What was never written is the fill value, as often as it is asked for; and one string may be too long itself."""
    file.create_dataset("x", (10**6,), "S1000", chunks=(1000,), compression="gzip", fillvalue=b"a" * 1000)
    file.create_dataset("y", (1,), "S1000000", chunks=(1,), compression="gzip")
    file.flush()
    for name in "xy":
        with pytest.raises(hdf5.Malformed, match=f"/{name} is longer than the file"):
            hdf5.strings(file[name])


@pytest.mark.parametrize("target", [h5py.SoftLink("/a"), h5py.ExternalLink("y.h5", "/a"), None])
def test_only_members_of_the_file_itself_are_found(file, target):
    file["a"] = np.ones(2)
    if target is not None:
        file["x"] = target
    with pytest.raises(hdf5.Malformed, match="/x is missing, a link, or not a Dataset"):
        hdf5.dataset(file, "x")
    with pytest.raises(hdf5.Malformed, match="/a is missing, a link, or not a Group"):
        hdf5.group(file, "a")
