"""The rows of a delimited text file. Encoding and separator are guessed only where there is no doubt."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable
from pathlib import Path

from mmsa_lightning.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
SEPARATORS = (",", ";", "\t", "|")
_MARKS = (  # UTF-32's first: UTF-16's is the beginning of it
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # what an .xlsx or .ods, and an .xls begin with, whatever their name
_HEAD = 1 << 16  # characters in which the header ends


def read(
    path: Path, *, encoding: str | None, separator: str | None, usable: Callable[[list[str]], bool]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read ``path``.

    Args:
        path: the file.
        encoding: any that Python knows; None: what a byte order mark says, else UTF-8.
        separator: one character, or ``tab``; None: the only one with which the header is ``usable``, else the one that
            gives it most columns.
        usable: whether these columns are what the caller needs.

    Returns:
        the columns, and for each row that is not blank the line it ends in and its cells.

    Raises:
        UserError: it is a spreadsheet, is not in that encoding, or a row's quotation marks are not in order.
    """
    text = _text(path, encoding)
    delimiter = _delimiter(separator) if separator is not None else _guess(path, text, usable)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(
            f"{path}, row {reader.line_num}: cannot be read ({error}): a text that holds the separator, a "
            "line break or a quotation mark stands in quotation marks, and those inside it are doubled"
        ) from error
    return columns, rows


def _text(path: Path, encoding: str | None) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix.lower() in SPREADSHEETS or data.startswith(_WORKBOOKS):
        raise UserError(f"{path} is a spreadsheet; save it as CSV UTF-8 (in Excel: File, Save As) and import that")
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    try:
        text = data.decode(chosen).removeprefix("\ufeff")
    except LookupError as error:
        raise UserError(f"--encoding {encoding}: no such encoding; known are utf-8, utf-16, gbk, cp1252 …") from error
    except UnicodeError as error:
        line = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        raise UserError(
            f"{path} is not in {chosen} (line {line}); say what it is in, such as --encoding gbk (Chinese Windows), "
            "cp1252 (Western Windows) or utf-16"
        ) from error
    if "\0" in text:
        raise UserError(
            f"{path} is not in {chosen}: it holds the character 0, as UTF-16 without a mark does; say --encoding "
            "utf-16-le or utf-16-be"
        )
    return text


def _delimiter(separator: str) -> str:
    delimiter = "\t" if separator in ("tab", "\\t") else separator
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(f"--separator {separator!r}: give one character, or tab")
    return delimiter


def _guess(path: Path, text: str, usable: Callable[[list[str]], bool]) -> str:
    found = [separator for separator in SEPARATORS if usable(_header(text, separator))]
    if len(found) > 1:
        raise UserError(f"{path} can be read with the separators {' and '.join(map(repr, found))}: say --separator")
    # With none of them the caller names the columns that are missing, among those that there are.
    return found[0] if found else max(SEPARATORS, key=lambda separator: len(_header(text, separator)))


def _header(text: str, separator: str) -> list[str]:
    try:
        first = next(csv.reader(io.StringIO(text[:_HEAD], newline=""), delimiter=separator, strict=True), [])
    except csv.Error:
        return []
    return [name.strip() for name in first]
