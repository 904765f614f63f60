"""Inputs of ``mmsa predict`` that are broken or mean harm, each with a part of the line in which it ends."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from hostile_pickles import Calls, objects

IDS = np.array(["a", "b"])
TABLE = "id,text,label\na,it was good,1\nb,it was dull,-1\n"


@dataclass
class Command:
    """What ``mmsa predict`` is given.

    Attributes:
        folder: to write to, in which it runs.
        store: a sound one.
        model: words or three, the modalities of the package.
        source: INPUT.
        stdin: what is piped in, or ``endless``.
        out: the file to be written.
        more: what follows.
        size: bytes that a file may have, as on a full disk; 0: any.
    """

    folder: Path
    store: Path
    model: str = "words"
    source: str = "x.csv"
    stdin: bytes | str = b""
    out: str = "out/p.csv"
    more: list[str] = field(default_factory=list)
    size: int = 0

    def table(self, content: str | bytes) -> None:
        (self.folder / "x.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    def features(self, vision: object = 1.0, **changes: object) -> None:
        """A table with audio (5) and vision (20) beside it; of audio some arrays are others."""
        self.table(TABLE)
        self.model = "three"
        arrays = {"id": IDS, "features": np.ones((2, 3, 5))} | changes
        np.savez(self.folder / "a.npz", **{name: value for name, value in arrays.items() if value is not None})  # type: ignore[arg-type]
        np.savez(self.folder / "v.npz", id=IDS, features=np.full((2, 3, 20), vision))
        self.more = ["--audio", "a.npz", "--vision", "v.npz"]

    def changed(self, change: Callable[[h5py.File], object]) -> None:
        """A store that was changed, for a model of three modalities."""
        self.model, self.source = "three", "x.h5"
        (self.folder / "x.h5").write_bytes(self.store.read_bytes())
        with h5py.File(self.folder / "x.h5", "r+") as file:
            change(file)


Case = Callable[[Command], object]
CASES: dict[str, tuple[str, Case]] = {}


def cases(words: str, **changes: Case) -> None:
    CASES.update({name: (words, change) for name, change in changes.items()})


def table(content: str | bytes) -> Case:
    return lambda c: c.table(content)


def piped(content: bytes | str) -> Case:
    return lambda c: c.__dict__.update(source="-", stdin=content)


def audio(**changes: object) -> Case:
    return lambda c: c.features(**changes)


# Tables.

cases("cannot be read", a_quote_that_does_not_end=table(TABLE + 'c,"it was'),
      a_quote_that_runs_on=table('id,text\na,"' + "it was\n" * 50_000))  # fmt: skip
cases("is not in utf-8 (line 1)", mixed_encodings=table(b"id,text\xe9\n" + "a,fin\u00e9\n".encode()))
cases("is not in utf-8 (line 3)", latin1_later=table(b"id,text\na,fine\nb,fin\xe9\n" + b"c,fine\n" * 20_000))
cases(
    "it holds the character 0",
    a_nul=table("id,text\na,fi\0ne\n"),
    utf16_without_a_mark=table("id,text".encode("utf-16-le")),
)
cases("characters, which is no row", a_long_line=lambda c: c.table(b"id,text\na," + b"x" * (200 << 20)))
cases("lacks the columns id, text", no_header=table("a,it was good\n"))
cases("has the column text twice", a_column_twice=table("id,text,text\na,b,c\n"))
cases("label is 'good', not a number", a_label_of_text=table("id,text,label\na,fine,good\n"))
cases("label is 'nan', not a number", a_label_of_nan=table("id,text,label\na,fine,nan\n"))
cases("it has 4 columns, not 3", a_comma_too_many=table("id,text,label\na,fine,and,1\n"))
cases("is empty", an_empty_table=table(""))
cases("there are no utterances in the input", a_header_alone=table("id,text\n"), no_lines=piped(b""))
cases("a has none of text", a_blank_text=table("id,text\na, \nb,fine\n"))
cases("the id is empty", an_empty_id=table("id,text\n,fine\n"))
cases("is a spreadsheet", a_spreadsheet=table(b"PK\x03\x04"))
cases("no such encoding", no_encoding=lambda c: (c.table(TABLE), c.more.extend(["--encoding", "none"])))
cases("half a character", half_a_character=lambda c: (c.table("id,text\na,fine \\ud800\n"),
                                                     c.more.extend(["--encoding", "unicode_escape"])))  # fmt: skip
cases("holds no video or sound", a_folder=lambda c: (c.folder / "x.csv").mkdir())
cases("there is no file", no_input=lambda c: None,
      a_fifo_for_a_table=lambda c: os.mkfifo(c.folder / "x.csv"),
      a_device=lambda c: (c.folder / "x.csv").symlink_to("/dev/zero"))  # fmt: skip
cases(
    "is written, but cannot be measured: the label 9 lies outside [-3, 3]",
    labels_of_another_scale=table("id,text,label\na,fine,9\n"),
)

# Lines of text.

cases("line 2 is not in UTF-8", a_line_of_latin1=piped(b"fine\nfin\xe9\n"))
cases("line 1 is blank", a_blank_line=piped(b"\nfine\n"))
cases("field larger than field limit", a_cell_of_a_million_letters=table(b"id,text\na," + b"x" * (1 << 20)))
cases("characters, which is no utterance", a_million_letters=piped(b"fine " * (1 << 19)))  # fmt: skip
cases("line 1 is longer than any utterance", a_line_without_end=piped("endless"), ten_million=piped(b"x" * 10**7))

# Features.

cases("a.npz", objects_in_features=lambda c: c.features(
    features=objects(Calls(os.system, "touch ran"), np.ones((1, 5)))))  # fmt: skip
cases("infinite or not a number", features_of_nan=audio(features=np.full((2, 3, 5), np.nan)),
      features_that_float32_lacks=audio(features=np.full((2, 3, 5), 1e300)))  # fmt: skip
cases("the prediction for a is infinite or not a number", features_that_overflow=audio(
    features=np.full((2, 3, 5), 3e38), vision=3e38))  # fmt: skip
cases("this model reads (steps, 5)", another_width=audio(features=np.ones((2, 4))))
cases("are none of x.csv", other_ids=audio(id=np.array(["c", "d"])))
cases("the id a occurs twice", an_id_twice=audio(id=np.array(["a", "a"])))
cases("has no array 'id'", no_ids=audio(id=None))
cases("has 2 steps: this model was trained with", steps_that_do_not_fit=audio(features=np.ones((2, 2, 5))))
cases("a.npz", features_of_text=audio(features=np.full((2, 5), "x")))
cases("but its length is 9", lengths_that_do_not_fit=audio(lengths=np.array([9, 9])))
cases("cannot read a.npz as .npz", features_cut_off=lambda c: (c.features(), _cut(c.folder / "a.npz")))
cases("a.npz is empty", empty_features=lambda c: (c.features(), (c.folder / "a.npz").write_bytes(b"")))
cases("is no file", a_fifo_of_features=lambda c: (c.features(), (c.folder / "a.npz").unlink(),
                                                 os.mkfifo(c.folder / "a.npz")))  # fmt: skip
cases("reads no features of text", features_of_words=lambda c: (c.features(), c.more.extend(["--text", "a.npz"])))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _claims(c: Command) -> None:
    """An array that claims more numbers than it has."""
    c.features()
    with zipfile.ZipFile(c.folder / "a.npz", "a") as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    names["features.npy"] = names["features.npy"].replace(b"(2, 3, 5)", b"(2, 3, 5000000000)").replace(b" " * 9, b"", 1)
    with zipfile.ZipFile(c.folder / "a.npz", "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)


cases("claims", features_of_gigabytes=_claims)

# Stores.

cases("is not a usable store", a_store_cut_off=lambda c: (c.changed(lambda f: None), _cut(c.folder / "x.h5")),
      a_store_without_test=lambda c: c.changed(lambda f: f.pop("test")),
      a_store_of_nan=lambda c: c.changed(lambda f: f["test/label"].__setitem__(0, np.nan)))  # fmt: skip
cases("has word pieces of other", a_store_of_another_vocabulary=lambda c: c.changed(
    lambda f: f.attrs.update(meta=json.dumps(json.loads(f.attrs["meta"]) | {"vocabulary": "other",
                                                                           "vocabulary_sha256": "0"}))))  # fmt: skip
cases("and the text encoder knows", a_store_of_unknown_pieces=lambda c: c.changed(
    lambda f: f["test/tokens/values"].__setitem__(0, 1 << 30)))  # fmt: skip
cases("infinite or not a number", a_store_of_infinite_features=lambda c: c.changed(
    lambda f: f["test/audio/values"].__setitem__(0, np.inf)))  # fmt: skip
cases(
    "choose one of train, valid, test", no_split=lambda c: (c.changed(lambda f: None), c.more.extend(["--split", "x"]))
)
cases("has audio of width", a_store_of_another_width=lambda c: c.changed(_wider))


def _wider(file: h5py.File) -> None:
    for split in ("train", "valid", "test"):
        values = file[f"{split}/audio/values"][:]
        del file[f"{split}/audio/values"]
        file[f"{split}/audio/values"] = np.hstack([values, values])


# What is written.


def written(out: str, *, content: str = TABLE, **more: object) -> Case:
    def make(c: Command) -> None:
        c.table(content)
        c.out = out
        c.__dict__.update(more)

    return make


cases("give a name that ends in .csv or .jsonl", another_suffix=written("out/p.txt"), no_suffix=written("out/p"))
cases("and is no folder", out_is_a_folder=lambda c: (c.table(TABLE), (c.folder / "p.csv").mkdir(),
                                                   c.__dict__.update(out="p.csv")))  # fmt: skip
cases("is the input", out_is_the_input=written("x.csv"), out_is_the_input_by_a_link=lambda c: (
    c.table(TABLE), (c.folder / "y.csv").symlink_to("x.csv"), c.__dict__.update(out="y.csv")))  # fmt: skip
cases("File exists", out_below_a_file=written("x.csv/p.csv"))
cases("No such file", out_where_nothing_can_be=written(
    "/proc/none/p.csv"))  # fmt: skip
cases("error: out/.p.csv.partial: File too large", a_full_disk=written("out/p.csv", size=50))
cases("nonsense", no_device=lambda c: (c.table(TABLE), c.more.extend(["--device", "nonsense"])))
cases("has no attention weights", attention_of_none=lambda c: (c.table(TABLE), c.more.append("--attention")))


SOUND: dict[str, tuple[str, Case]] = {
    "ten_thousand_words": ("warning: 1 of 1 utterances are longer than 512 word pieces", piped(b"it was " * 5000)),
    "a_text_that_csv_finds_too_long": ("are longer than 512 word pieces", piped(b"it was " * 20_000)),
    "columns_without_a_name": ("", table("id,text,,\na,fine,,\n")),
    "a_mark_of_utf8": ("", piped("\ufefffine\n".encode())),
}
"""Inputs that are read, with a part of a warning."""
