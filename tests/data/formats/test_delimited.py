"""Tables in the encodings and with the separators that spreadsheets write."""

import codecs
import csv
import io
import zipfile

import numpy as np
import pytest

from mmsa_lightning.data.formats import read
from mmsa_lightning.data.formats.delimited import stream
from mmsa_lightning.errors import UserError

ROWS = [
    ["id", "text", "label", "split"],
    ["a$_$0", "我不想嫁给李茶; so, \"it\" is | said\ttwice", "2.5", "train"],
    ["b$_$0", "two\nlines", "-1", "valid"],
    ["c$_$0", "über", "0", "test"],
]  # fmt: skip


def as_csv(separator=",", rows=ROWS, end="\r\n"):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, lineterminator=end).writerows(rows)
    return file.getvalue()


def save(tmp_path, data, name="u.csv"):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def check(source):
    found = [
        [i, text, label, name]
        for name, split in source.splits.items()
        for i, text, label in zip(split.ids, split.raw_text, split.label, strict=True)
    ]
    assert found == [[i, text, float(label), split] for i, text, label, split in ROWS[1:]]
    assert source.report == []


@pytest.mark.parametrize("name", ["u.csv", "u.tsv", "u.TXT"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_seen_in_the_header(tmp_path, separator, end, name):
    check(read(save(tmp_path, as_csv(separator, end=end).encode(), name)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_an_encoding_that_the_file_tells_is_known(tmp_path, encoding):
    data = as_csv("\t").encode(encoding)
    check(read(save(tmp_path, data)))


def test_utf_16_of_the_other_byte_order(tmp_path):
    check(read(save(tmp_path, codecs.BOM_UTF16_BE + as_csv(";").encode("utf-16-be"))))


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16-le", "utf-16-be"])
def test_any_other_encoding_is_asked_for(tmp_path, encoding):
    path = save(tmp_path, as_csv().encode(encoding))
    with pytest.raises(UserError, match=r"u\.csv is not in utf-8.*--encoding"):
        read(path)
    check(read(path, encoding=encoding))


def test_utf_16_without_a_mark_is_told_from_ascii(tmp_path):
    """Every byte of it is a character of UTF-8, the one of 0 among them."""
    path = save(tmp_path, "id,text,label,split\na,so,1,test\n".encode("utf-16-le"))
    with pytest.raises(
        UserError, match="it holds the character 0, as UTF-16 without a byte order mark does; give --encoding utf-16-le"
    ):
        read(path)
    assert read(path, encoding="utf-16-le").splits["test"].raw_text == ["so"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_mark_is_no_part_of_the_first_column_where_the_encoding_is_said(tmp_path, encoding):
    check(read(save(tmp_path, ("\ufeff" + as_csv()).encode(encoding)), encoding=encoding))


def test_gbk_names_the_line(tmp_path):
    path = save(tmp_path, "id,text,label,split\na,so,1,train\nb,你好,1,test\n".encode("gbk"))
    with pytest.raises(
        UserError, match=r"is not in utf-8 \(line 3\); give .* --encoding gbk \(Chinese Windows\), cp1252"
    ):
        read(path)
    with pytest.raises(UserError, match=r"is not in ascii \(line 3\)"):
        read(path, encoding="ascii")
    assert read(path, encoding="gbk").splits["test"].raw_text == ["你好"]


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13"])
def test_an_encoding_that_there_is_not(tmp_path, encoding):
    with pytest.raises(UserError, match=f"--encoding {encoding}: no such encoding"):
        read(save(tmp_path, as_csv().encode()), encoding=encoding)


@pytest.mark.parametrize("said", ["tab", "\\t", "\t"])
def test_a_separator_that_is_said(tmp_path, said):
    check(read(save(tmp_path, as_csv("\t").encode()), separator=said))


def test_any_one_character_may_separate(tmp_path):
    path = save(tmp_path, as_csv("#").encode())
    with pytest.raises(UserError, match="lacks the columns id, text, label; it has id#text#label#split; wanted"):
        read(path)
    check(read(path, separator="#"))


@pytest.mark.parametrize("said", ["", ";;", '"', "\n"])
def test_a_separator_that_cannot_be(tmp_path, said):
    with pytest.raises(UserError, match=r"--separator .* give one character, or tab"):
        read(save(tmp_path, as_csv().encode()), separator=said)


def test_two_separators_that_fit_are_asked_for(tmp_path):
    header = "id,text,label,split,;id;text;label;split"
    with pytest.raises(UserError, match="can be read with the separators ',' and ';': give --separator"):
        read(save(tmp_path, f"{header}\n".encode()))


def test_features_are_told_from_a_table(tmp_path):
    np.savez(tmp_path / "a.npz", id=["a"], features=[[1.0]])
    with pytest.raises(UserError, match=r"a\.npz is an \.npz of features; give a CSV"):
        stream(tmp_path / "a.npz", encoding=None, separator=None, usable=lambda columns: True)


@pytest.mark.parametrize("name", ["u.xlsx", "u.csv"])
def test_a_spreadsheet_is_told_from_a_table(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(UserError, match=r"is a spreadsheet; save it as CSV UTF-8"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "body, message",
    [
        ('a\t"Hello" he said\t1\ttrain\n', r"row 2: cannot be read \(.* expected after .*\): if a text holds"),
        ('a\t"Hello\t1\ttrain\n', r"row 2: cannot be read \(unexpected end of data\): if a text holds"),
        ("a\tso\tit\tis\t1\ttrain\n", "row 2: it has 6 columns, not 4"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, body, message):
    with pytest.raises(UserError, match=message):
        read(save(tmp_path, f"id\ttext\tlabel\tsplit\n{body}".encode()))


def test_the_options_are_of_tables(tmp_path):
    for option in ({"separator": ";"}, {"encoding": "gbk"}):
        with pytest.raises(UserError, match="--separator and --encoding are for a CSV"):
            read(save(tmp_path, b"x", "x.pkl"), **option)


@pytest.mark.parametrize("encoding", [None, "utf-8"])
def test_a_stream_has_no_mark_and_may_have_one_column(tmp_path, encoding):
    path = save(tmp_path, codecs.BOM_UTF8 + b'"id","text"\n"a","x"\n')
    columns, rows = stream(path, encoding=encoding, separator=None, usable=lambda c: "id" in c)
    assert (columns, list(rows)) == (["id", "text"], [(2, ["a", "x"])])
    columns, rows = stream(save(tmp_path, b"id\na\n"), encoding=None, separator=None, usable=lambda c: "id" in c)
    assert (columns, list(rows)) == (["id"], [(2, ["a"])])
