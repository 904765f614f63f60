"""Which stretches of which videos are utterances: a CSV, or a folder of videos, each of them one utterance."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmsa_lightning.data.formats import delimited
from mmsa_lightning.data.formats.fields import SPLIT_NAMES, finite, is_whole
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES

NEEDED = ("id", "video")
# Of videos and sounds.
SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"),
    *(".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus"),
)
LABELS = {m: f"label_{m}" for m in MODALITIES}
COLUMNS = (*NEEDED, "start", "end", "text", "label", *LABELS.values(), "split")
LONGEST = 600.0  # seconds of an utterance
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:(?![\\/]?$)")  # of a protocol; a single letter is a drive


@dataclass(frozen=True)
class Clip:
    """An utterance of a video.

    Attributes:
        id: ``video$_$clip``.
        video: the file.
        start, end: in seconds from the file's start; None: its end.
        text: what is said, where it is known.
        label: NaN where it is not known.
        unimodal: true labels of single modalities, NaN where one is blank.
        split: train, valid, test, or all: still to be divided.
    """

    id: str
    video: Path
    start: float = 0.0
    end: float | None = None
    text: str | None = None
    label: float = math.nan
    unimodal: Mapping[str, float] = field(default_factory=dict)
    split: str = "all"


def read(path: Path, *, separator: str | None = None, encoding: str | None = None) -> list[Clip]:
    """The utterances that a CSV lists, or of the videos in a folder, or the one of a video.

    A CSV has the columns ``id`` and ``video``, a path that is looked for in the CSV's folder; optionally ``start`` and
    ``end`` in seconds, ``text``, ``label``, ``label_text``, ``label_audio``, ``label_vision`` and ``split``, each of
    which may be blank in some rows.

    Args:
        path: of the CSV, the folder or the video.
        separator, encoding: of a CSV, see :mod:`mmsa_lightning.data.formats.delimited`.

    Raises:
        UserError: nothing is there; a column, a value or a video is missing or malformed; an id stands twice; two
            utterances of a video overlap by more than half of the shorter.
    """
    if path.suffix.lower() in (*delimited.SUFFIXES, *delimited.SPREADSHEETS) and not path.is_dir():
        if not path.is_file():
            raise UserError(f"there is no {path}")
        return _table(path, separator, encoding)
    if separator is not None or encoding is not None:
        raise UserError(f"--{'encoding' if separator is None else 'separator'} goes with a CSV, and {path} is none")
    if path.is_dir():
        return _folder(path)
    if _ADDRESS.match(str(path)):
        raise UserError(f"{path} is an address: download the video, and name the file")
    if not path.is_file():
        raise UserError(f"there is no {path}")
    return [_whole(path)]


def _folder(path: Path) -> list[Clip]:
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"the folder {path} holds no video or sound ({', '.join(SUFFIXES)})")
    twice = [stem for stem, n in Counter(file.stem for file in found).items() if n > 1]
    if twice:
        raise UserError(f"{path} holds two files called {twice[0]}: ids are made of these names")
    return [_whole(file) for file in found]


def _whole(path: Path) -> Clip:
    if not is_whole(path.stem):
        raise UserError(f"the name of {str(path)!a} is not in UTF-8, and ids are made of names: give it another")
    return Clip(f"{path.stem}$_$0", path)


def _table(path: Path, separator: str | None, encoding: str | None) -> list[Clip]:
    columns, rows = delimited.read(path, encoding=encoding, separator=separator, usable=lambda c: set(NEEDED) <= set(c))
    if missing := [name for name in NEEDED if name not in columns]:
        raise UserError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns) or 'none'}; a list of "
            f"utterances has {', '.join(COLUMNS)}, of which all but {' and '.join(NEEDED)} may be left out"
        )
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise UserError(f"{path} has the column {twice[0]} twice")
    if not rows:
        raise UserError(f"{path} has no rows")
    clips: dict[str, Clip] = {}
    numbers: dict[str, int] = {}
    for number, cells in rows:
        where = f"{path}, row {number}"
        if len(cells) != len(columns):
            raise UserError(f"{where}: it has {len(cells)} columns, not {len(columns)}")
        clip = _row({name: cells[columns.index(name)].strip() for name in COLUMNS if name in columns}, path, where)
        if clip.id in clips:
            raise UserError(f"{where}: the id {clip.id} is already in row {numbers[clip.id]}")
        clips[clip.id], numbers[clip.id] = clip, number
    _check_overlap(path, list(clips.values()), numbers)
    return list(clips.values())


def _row(cells: dict[str, str], path: Path, where: str) -> Clip:
    if not cells["id"]:
        raise UserError(f"{where}: the id is empty")
    if not is_whole(cells["id"] + cells.get("text", "")):
        raise UserError(f"{where}: the id or the text holds half a character: is it in another encoding?")
    start, end = _seconds(cells.get("start"), "start", where) or 0.0, _seconds(cells.get("end"), "end", where)
    if end is not None and end <= start:
        raise UserError(f"{where}: it ends at {end:g} s, and starts at {start:g} s")
    if end is not None and end - start > LONGEST:
        raise UserError(f"{where}: it lasts {end - start:g} s; an utterance lasts {LONGEST:g} s at most")
    split = cells.get("split", "").lower()
    if split and split not in SPLIT_NAMES:
        raise UserError(f"{where}: split is {cells['split']!r}, not train, valid or test")
    return Clip(
        cells["id"],
        _video(cells["video"], path.parent, where),
        start,
        end,
        cells.get("text") or None,
        _number(cells.get("label"), "label", where),
        {m: _number(cells[column], column, where) for m, column in LABELS.items() if column in cells},
        SPLIT_NAMES[split] if split else "all",
    )


def _video(name: str, folder: Path, where: str) -> Path:
    """A file of the CSV's folder: a list that somebody else made names nothing outside of it."""
    if not name:
        raise UserError(f"{where}: it names no video")
    if _ADDRESS.match(name):
        raise UserError(f"{where}: {name} is an address: download the video, and name the file")
    found = folder / name
    if not found.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{where}: {name} lies outside of {folder}, the folder of the CSV: move the CSV, or the video")
    if not found.is_file():
        raise UserError(f"{where}: there is no {found}")
    return found


def _number(cell: str | None, column: str, where: str) -> float:
    if cell is None or cell.lower() in ("", "nan"):
        return math.nan
    number = finite(cell)
    if math.isnan(number):
        raise UserError(f"{where}: {column} is {cell!r}, not a number")
    return number


def _seconds(cell: str | None, column: str, where: str) -> float | None:
    number = _number(cell, column, where)
    if number < 0:
        raise UserError(f"{where}: {column} is {cell}, before the video begins")
    return None if math.isnan(number) else number


def _check_overlap(path: Path, clips: list[Clip], numbers: dict[str, int]) -> None:
    """Two utterances of one video that are mostly the same stretch are a mistake in the list."""
    by_video: dict[Path, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: (clip.start, clip.end or math.inf)):
        earlier = by_video.setdefault(clip.video, [])
        if earlier:
            last = earlier[-1]
            shared = min(last.end or math.inf, clip.end or math.inf) - clip.start
            shorter = min((c.end or math.inf) - c.start for c in (last, clip))
            if shared > shorter / 2 or (shared == shorter == math.inf):
                raise UserError(
                    f"{path}, row {numbers[clip.id]}: {clip.id} overlaps with {last.id} in row {numbers[last.id]} of "
                    "the same video by more than half"
                )
        earlier.append(clip)
