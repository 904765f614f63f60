import copyreg
import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hostile_pickles import MIB, attacks, calls_again, claims, lines, repeats, text

from mmsa_lightning.data.formats.unpickle import load, load_stream
from mmsa_lightning.errors import UserError

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    np.array(["ab", "c"]),
    np.array([b"ab", b"c"]),
    np.array(["video$_$1", None, [1]], dtype=object),
    np.zeros((0, 3), np.float32),
    np.asfortranarray(np.arange(24, dtype=np.float16).reshape(2, 3, 4)),
    np.asfortranarray(np.array([["a", 1], [None, 2.5]], dtype=object)),
    np.arange(6.0)[::-2],
    np.arange(24.0).reshape(2, 3, 4).transpose(0, 2, 1),
    np.array(True),
    np.array([-np.inf, np.nan], np.float16),
]
PLAIN = [
    {"a": {1, 2}, "b": (None, 1.5)},
    OrderedDict(x=1),
    frozenset([1]),
    b"",
    b"\xff\x00",
    "ü",
    np.float32(3),
    np.str_("hi"),
]


def read(data: bytes):
    return load_stream(io.BytesIO(data), "x.pkl", len(data))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: str(a.dtype))
def test_arrays_come_back_bit_for_bit(array, protocol):
    found = np.asarray(read(pickle.dumps(array, protocol)))
    assert type(found) is np.ndarray
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


# What Python 2.7 with numpy 1.11 writes for {'id': 'v', 'x': np.array([1.5, -2.], '<f8')}, protocols 2 and 0.
PYTHON_2 = (
    b"\x80\x02}q\x00(U\x02idq\x01U\x01vq\x02U\x01xq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05"
    b"K\x00\x85q\x06U\x01bq\x07\x87q\x08Rq\t(K\x01K\x02\x85q\ncnumpy\ndtype\nq\x0bU\x02f8q\x0cK\x00K\x01\x87q\rRq\x0e"
    b"(K\x03U\x01<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89U\x10"
    + struct.pack("<2d", 1.5, -2.0)
    + b"q\x11tq\x12bu."
)
PYTHON_2_TEXT = (
    b"(dp0\nS'id'\np1\nS'v'\np2\nsS'x'\np3\ncnumpy.core.multiarray\n_reconstruct\np4\n(cnumpy\nndarray\np5\n(I0\ntp6\nS'b'\n"
    b"p7\ntp8\nRp9\n(I1\n(I2\ntp10\ncnumpy\ndtype\np11\n(S'f8'\np12\nI0\nI1\ntp13\nRp14\n(I3\nS'<'\np15\nNNNI-1\nI-1\nI0\n"
    b"tp16\nbI00\nS'\\x00\\x00\\x00\\x00\\x00\\x00\\xf8?\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xc0'\np17\ntp18\nbs."
)


@pytest.mark.parametrize("data", [PYTHON_2, PYTHON_2_TEXT], ids=["protocol 2", "protocol 0"])
def test_python_2_pickles_load(data):
    found = read(data)
    assert found["id"] == "v"
    np.testing.assert_array_equal(found["x"], [1.5, -2.0])


@pytest.mark.parametrize("core", ["core", "_core"])
def test_names_of_numpy_1_and_2_load(core):
    data = pickle.dumps(np.arange(3.0), 2).replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode())
    np.testing.assert_array_equal(read(data), [0, 1, 2])


@pytest.mark.parametrize("name", attacks(Path("x")))
def test_attacks_are_refused_and_nothing_runs(name, tmp_path):
    trap = tmp_path / "ran"
    os_system_code = 240
    copyreg.add_extension("os", "system", os_system_code)
    try:
        # An ordinary load fills the cache of extension codes, which does not ask find_class.
        assert pickle.loads(b"\x80\x02\x82\xf0.") is os.system
        with pytest.raises(UserError, match=r"x\.pkl"):
            read(attacks(trap)[name])
    finally:
        copyreg.remove_extension("os", "system", os_system_code)
        copyreg.clear_extension_cache()
    assert not trap.exists()


def test_the_refused_name_is_named():
    with pytest.raises(UserError, match=r"asks for os\.system .* refused"):
        read(lines("cos", "system", "(S'true'", "tR."))


def array_pickle(dtype_code: bytes, dtype_state: bytes, data: bytes, shape: bytes = b"K\x01\x85") -> bytes:
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nU"
        + bytes([len(dtype_code)])
        + dtype_code
        + b"K\x00K\x01\x87R"
        + dtype_state
        + b"b\x89"
        + data
        + b"tb."
    )


NO_FLAGS = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"


@pytest.mark.parametrize(
    "data",
    [
        array_pickle(b"O8", NO_FLAGS, b"U\x08AAAAAAAA"),  # an array of pointers made of bytes
        array_pickle(b"O8", NO_FLAGS, b"]K\x01a", shape=b"J\x00\x00\x01\x00\x85"),  # more objects than the list has
        array_pickle(b"f8", NO_FLAGS, b"U\x08AAAAAAAA", shape=b"J\x00\x00\x01\x00\x85"),  # more numbers than bytes
        array_pickle(b"V8", b"(K\x03U\x01|N(U\x01atU\x01a}K\x08K\x01K\x00t", b"U\x08AAAAAAAA"),  # fields
        array_pickle(b"f8", b"(K\x03U\x01<(I1\nI2\ntNNK\x10K\x08K\x00t", b"U\x08AAAAAAAA"),  # a sub-array
        array_pickle(b"f8", NO_FLAGS, b"U\x08AAAAAAAA", shape=b"J\xff\xff\xff\xff\x85"),  # a negative size
    ],
)
def test_states_that_would_corrupt_memory_are_refused(data):
    with pytest.raises(UserError):
        read(data)


WHOLE = pickle.dumps({"train": {"audio": np.arange(12.0).reshape(2, 2, 3), "id": ["a", "b"]}})


@pytest.mark.parametrize(
    "data",
    [WHOLE[:cut] for cut in (0, 1, 10, 40, len(WHOLE) // 2, len(WHOLE) - 1)]
    + [b"garbage", b"\x80\x63.", b"PK\x03\x04", b"((((."],
)
def test_a_damaged_pickle_is_one_line(data):
    with pytest.raises(UserError, match=r"not a whole pickle of arrays|could run code"):
        read(data)


@pytest.mark.parametrize("name", claims())
def test_a_length_that_the_file_does_not_have_is_not_believed(name):
    """Of bytes, text, a bytearray and a frame; nothing is set aside for it."""
    with pytest.raises(UserError, match=r"it claims 1125899906842624 more bytes, and has 2\)"):
        read(claims()[name])


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        load(tmp_path / "none.pkl")


def test_what_pandas_has_for_nothing_is_none():
    """pandas.NA names itself in its module; pandas need not be there."""
    assert read(b"\x80\x02cpandas._libs.missing\nNA\n.") is None


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(2, complex), "x.pkl holds an array of dtype 'c16'; numbers, text and objects are read"),
        (np.zeros(2, "M8[s]"), "x.pkl holds an array of dtype 'M8'"),
        (np.zeros(2, [("a", "f8")]), "x.pkl holds an array of dtype 'V8'"),
    ],
)
def test_other_dtypes_are_named(array, message):
    with pytest.raises(UserError, match=message):
        read(pickle.dumps({"audio": array}, 2))


def test_other_libraries_come_with_advice():
    frame = lines("cpandas.core.frame", "DataFrame", ".")
    with pytest.raises(UserError, match=r"pandas\.core\.frame\.DataFrame .*with \.to_numpy\(dtype=object\), or as CSV"):
        read(frame)


@pytest.mark.parametrize("name", repeats())
def test_what_would_unfold_to_more_than_memory_is_refused(name):
    with pytest.raises(UserError, match="they unfold to more than 268435456 bytes"):
        read(repeats()[name])


@pytest.mark.parametrize(
    "call",
    [
        b"c_codecs\nencode\nq\x01h\x00",
        b"cbuiltins\nset\n]q\x01(" + b"K\x01" * 1000 + b"e",
    ],
    ids=["bytes of one text", "sets"],
)
def test_calls_that_make_the_same_again_and_again_are_refused(call):
    """A megabyte of text that is encoded a thousand times; a set is only counted, as it is small."""
    many = calls_again(text("x" * MIB), call, 1000)
    if b"encode" in call:
        with pytest.raises(UserError, match="it makes far more than it holds"):
            read(many)
    else:
        assert len(read(many)) == MIB
