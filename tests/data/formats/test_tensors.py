"""Tensors as torch itself writes them, in a pickle and in both of torch.save's forms, and some that it would not."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hostile_pickles import Calls, floats, rewrite, tensor
from hostile_pickles import storage as stored

from mmsa_lightning.data.formats.archive import load_archive
from mmsa_lightning.data.formats.unpickle import load, load_stream
from mmsa_lightning.errors import UserError

VALUES = torch.arange(1, 25).reshape(2, 3, 4)
TENSORS = {
    "float32": VALUES.float(),
    "float64": VALUES.double(),
    "float16": VALUES.half(),
    "int64": VALUES,
    "int32": VALUES.int(),
    "int16": VALUES.short(),
    "int8": VALUES.to(torch.int8),
    "uint8": VALUES.to(torch.uint8),
    "bool": VALUES > 5,
    "transposed": VALUES.float().transpose(0, 2),
    "a view from the middle": VALUES.float()[1, 1:, ::2],
    "of column-major memory": torch.from_numpy(np.asfortranarray(VALUES.numpy())),
    "a number": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "that needs a gradient": torch.ones(2, requires_grad=True),
}


def read(data):
    return load_stream(io.BytesIO(data), "x.pkl", len(data))


def same(found, tensor):
    expected = tensor.detach().numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_in_a_pickle(name, protocol):
    data = {"audio": TENSORS[name], "n": np.arange(3.0), "id": ["a"], "again": TENSORS[name]}
    found = read(pickle.dumps(data, protocol))
    same(found["audio"], TENSORS[name])
    same(found["again"], TENSORS[name])
    assert found["n"].tolist() == [0, 1, 2] and found["id"] == ["a"]


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before archives"])
@pytest.mark.parametrize("name", TENSORS)
def test_files_of_torch_save(tmp_path, name, archive):
    tensor = TENSORS[name]
    data = {"audio": tensor, "one": torch.ones(5), "view": tensor[:1] if tensor.ndim else tensor, "id": np.array(["a"])}
    torch.save(data, tmp_path / "x.pt", _use_new_zipfile_serialization=archive)
    found = (load_archive if archive else load)(tmp_path / "x.pt")
    same(found["audio"], tensor)
    same(found["one"], torch.ones(5))
    same(found["view"], data["view"])
    assert found["id"].tolist() == ["a"]


@pytest.mark.parametrize(
    "value, message",
    [
        (torch.ones(2, dtype=torch.bfloat16), r"torch\.BFloat16Storage .*; save other tensors as arrays, with \.float"),
        (torch.ones(2, dtype=torch.complex64), r"torch\.ComplexFloatStorage .*save other tensors as arrays"),
        (torch.ones(3).expand(4, 3), r"a tensor of shape \(4, 3\) on a storage of 3 numbers; save tensor\.contiguous"),
        (torch.nn.Parameter(torch.ones(1)), r"torch\._utils\._rebuild_parameter .*save other tensors as arrays"),
        (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_other_tensors_are_refused_with_what_to_do(value, message):
    with pytest.raises(UserError, match=message):
        read(pickle.dumps({"audio": value}))


FLOATS = floats(6)


@pytest.mark.parametrize(
    "offset, size, stride",
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (0, (3,), (3,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (1 << 40,), (0,)),
        (0, (2, 1 << 62), (0, 0)),
        (1 << 60, (1,), (1,)),
        (0, (2, 2), (1,)),
        (0, (True,), (1,)),
        (0.0, (1,), (1,)),
        (0, (0, 1 << 62), (1, 1)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(offset, size, stride):
    assert read(pickle.dumps(tensor(FLOATS, 5, (1,), (1,)))).tolist() == [1]
    with pytest.raises(UserError, match="not a whole pickle of arrays"):
        read(pickle.dumps(tensor(FLOATS, offset, size, stride)))


def test_an_array_or_a_text_is_no_storage():
    for storage in (np.arange(4.0), "<f4", None):
        with pytest.raises(UserError, match="a tensor without storage"):
            read(pickle.dumps(tensor(storage, 0, (1,), (1,))))


def payload(**changes):
    """Six float32, or what is made of them."""
    return stored(**{"count": 6, "kind": "torch.FloatStorage", "numbers": b"\0" * 24} | changes)


def loaded(data):
    return read(pickle.dumps(tensor(Calls(torch.storage._load_from_bytes, data), 0, (2,), (1,))))


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 1 << 50},
        {"count": -1},
        {"stated": 7},
        {"numbers": b"\0" * 23},
        {"keys": ()},
        {"keys": ("0", "0")},
        {"keys": ("1",)},
        {"little": False},
        {"kind": "os.system"},
        {"kind": "torch.BFloat16Storage"},
    ],
)
def test_a_storage_that_is_not_what_it_claims_is_refused(changes):
    assert loaded(payload()).tolist() == [0, 0]
    with pytest.raises(UserError, match=r"x\.pkl"):
        loaded(payload(**changes))


def test_code_in_a_storage_of_its_own_does_not_run(tmp_path):
    trap = Calls(eval, f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match=r"asks for builtins\.eval"):
        loaded(pickle.dumps(trap))
    with pytest.raises(UserError, match=r"asks for .*\.eval"):
        loaded(payload()[: len(payload()) - 32 - len(pickle.dumps(["0"], 2))] + pickle.dumps(trap, 2))
    torch.save({"audio": torch.ones(2), "x": trap}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt asks for .*\.eval"):
        load_archive(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda name, data: None if name.endswith("data.pkl") else (data,), "not one of torch.save: it has 0 data.pkl"),
        (lambda name, data: None if name.endswith("data/0") else (data,), "not a whole pickle"),
        (lambda name, data: (data[:-4] if name.endswith("data/0") else data,), "does not hold 24 numbers"),
        (lambda name, data: (data, zipfile.ZIP_DEFLATED) if name.endswith("data/0") else (data,), "or is compressed"),
        (lambda name, data: (b"big" if name.endswith("byteorder") else data,), "was saved on a big-endian machine"),
        (
            lambda name, data: (data.replace(b"K\x18", b"J\0\0\0\x7f") if name.endswith("data.pkl") else data,),
            "claims 2130706432 numbers, which the file does not have",
        ),
    ],
)
def test_a_damaged_archive_is_one_line(tmp_path, change, message):
    torch.save({"audio": VALUES.float()}, tmp_path / "x.pt")
    rewrite(tmp_path / "x.pt", change)
    with pytest.raises(UserError, match=message):
        load_archive(tmp_path / "x.pt")


def test_what_is_no_archive_is_one_line(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04" + b"x" * 50)
    with pytest.raises(UserError, match=r"x\.pt is a damaged archive"):
        load_archive(tmp_path / "x.pt")
