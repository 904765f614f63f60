"""The rows of a delimited text file. Encoding and separator are guessed only where there is no doubt."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from mmsa_lightning.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
SEPARATORS = (",", ";", "\t", "|")
MARKS = (  # UTF-32's before UTF-16's, because it begins with that
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # first bytes of an .xlsx or .ods, and of an .xls
_HEAD = 1 << 16  # characters in which the header must end
_LINE = 1 << 22  # characters of a line, with all its cells


def read(
    path: Path, *, encoding: str | None, separator: str | None, usable: Callable[[list[str]], bool]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read ``path``.

    Args:
        path: the file.
        encoding: any that Python knows; None: that of the byte order mark, else UTF-8.
        separator: one character, or ``tab``; None: the only one with which the header is ``usable``. If there is no
            such separator, the one that gives most columns.
        usable: tells whether columns are those that the caller needs.

    Returns:
        the columns; and for each row that is not blank, its last line's number and its cells.

    Raises:
        UserError: it is a spreadsheet or an .npz, is not in that encoding, or a row's quotation marks are not in order.
    """
    text = _text(path, encoding)
    delimiter = _delimiter(separator) if separator is not None else _guess(path, text, usable)
    rows = _rows(path, io.StringIO(text, newline=""), delimiter)
    return next(rows, (0, []))[1], list(rows)


def stream(
    path: Path, *, encoding: str | None, separator: str | None, usable: Callable[[list[str]], bool]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The same, row by row: memory does not grow with the file.

    Args, Returns, Raises: as :func:`read`; what is wrong with a row is said when the row comes.
    """
    chosen = encoding or _encoding(path)
    try:
        with path.open(encoding=chosen, newline="") as file:
            head = file.read(_HEAD)
    except (LookupError, UnicodeError):
        head = "\0"
    if "\0" in head:
        _text(path, encoding)  # says what is wrong, and in which line
    delimiter = _delimiter(separator) if separator is not None else _guess(path, head.removeprefix("\ufeff"), usable)

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            with path.open(encoding=chosen, newline="") as file:
                yield from _rows(path, _lines(path, file), delimiter)
        except UnicodeError:
            _text(path, encoding)
            raise

    found = rows()
    return next(found, (0, []))[1], found


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines, without a byte order mark."""
    number = 0
    while line := file.readline(_LINE):
        number += 1
        if len(line) == _LINE:
            raise UserError(f"{path}, line {number}: it has more than {_LINE} characters, which is no row")
        yield line.removeprefix("\ufeff") if number == 1 else line


def _rows(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The header and each row that is not blank, with its last line's number."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for row, cells in enumerate(reader):
            if row == 0:
                yield reader.line_num, [name.strip() for name in cells]
            elif cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(
            f"{path}, row {reader.line_num}: cannot be read ({error}): if a text holds the separator, a "
            "line break or a quotation mark, put it in quotation marks and double those inside it"
        ) from error


def _encoding(path: Path) -> str:
    """That of the byte order mark, else UTF-8; a spreadsheet and an .npz are refused."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix.lower() == ".npz":
        raise UserError(
            f"{path} is an .npz of features; give a CSV of utterances, and this file with --audio or the like"
        )
    if path.suffix.lower() in SPREADSHEETS or start.startswith(_WORKBOOKS):
        raise UserError(f"{path} is a spreadsheet; save it as CSV UTF-8 (in Excel: File, Save As) and import that")
    return next((name for mark, name in MARKS if start.startswith(mark)), "utf-8")


def _text(path: Path, encoding: str | None) -> str:
    marked = _encoding(path)
    data = path.read_bytes()
    chosen = encoding or marked
    try:
        text = data.decode(chosen).removeprefix("\ufeff")
    except LookupError as error:
        raise UserError(f"--encoding {encoding}: no such encoding; choose utf-8, utf-16, gbk, cp1252 …") from error
    except UnicodeError as error:
        line = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        raise UserError(
            f"{path} is not in {chosen} (line {line}); give its encoding, such as --encoding gbk (Chinese Windows), "
            "cp1252 (Western Windows) or utf-16"
        ) from error
    if "\0" in text:
        raise UserError(
            f"{path} is not in {chosen}: it holds the character 0, as UTF-16 without a byte order mark does; give "
            "--encoding utf-16-le or utf-16-be"
        )
    return text


def _delimiter(separator: str) -> str:
    delimiter = "\t" if separator in ("tab", "\\t") else separator
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(f"--separator {separator!r}: give one character, or tab")
    return delimiter


def _guess(path: Path, text: str, usable: Callable[[list[str]], bool]) -> str:
    found = [separator for separator in SEPARATORS if usable(_header(text, separator))]
    if len({tuple(_header(text, separator)) for separator in found}) > 1:  # a single column holds none of them
        raise UserError(f"{path} can be read with the separators {' and '.join(map(repr, found))}: give --separator")
    # If none is usable, the caller reports which columns are missing and which there are.
    return found[0] if found else max(SEPARATORS, key=lambda separator: len(_header(text, separator)))


def _header(text: str, separator: str) -> list[str]:
    try:
        first = next(csv.reader(io.StringIO(text[:_HEAD], newline=""), delimiter=separator, strict=True), [])
    except csv.Error:
        return []
    return [name.strip() for name in first]
