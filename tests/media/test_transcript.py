"""Transcripts in every form, written by hand; and what is wrong with a file, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import transcript
from mmsa_lightning.media.transcript import Cue
from mmsa_lightning.media.words import Word, cue_of

SRT = """1
00:00:00,500 --> 00:00:02,000
- <i>I'd like</i>
{\\an8}to do <3 better &amp; more.

2
00:01:02,000 --> 01:00:03,250 X1:40 X2:600
[MUSIC] ♪ 20 ♪

[laughs]
20
3
100:00:00,000 --> 100:00:01
Well.
"""

VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE
this is --- no cue

greeting
00:00.500 --> 00:02.000 align:start position:0%
<v.loud Mary Ann>Hello <00:00:01.000><c.yellow>big</c> <00:01.500>world.

NOTE said later

01:00:00.000 --> 01:00:01.000
One <01:00:00.500>two three
"""

ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
\x20
hello<00:00:00.400><c> everyone</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
hello everyone
\x20

00:00:02.399 --> 00:00:04.550 align:start position:0%
hello everyone
we<00:00:02.560><c> go</c>

00:00:04.550 --> 00:00:04.560 align:start position:0%
we go
\x20
"""

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "Mary - phones"
        xmin = 0
        xmax = 2.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2.5
            text = "h"
    item [2]:
        class = "IntervalTier"
        name = "Mary - words"
        xmin = 0
        xmax = 2.5
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "sil"
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = "say"
        intervals [3]:
            xmin = 1
            xmax = 1.5
            text = " ""it"" "
        intervals [4]:
            xmin = 1.5
            xmax = 2.5
            text = "in New York"
    item [3]:
        class = "TextTier"
        name = "taps"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 1
            mark = "x"
"""

SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
3
"IntervalTier"
"phones"
0
2.5
1
0
2.5
"h"
"IntervalTier"
"words"
0
2.5
4
0
0.5
""
0.5
1
"say" ! a comment
1
1.5
\"""it""\"
1.5
2.5
"in New York"
"TextTier"
"taps"
0
2.5
1
1
"x"
"""


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def words(*timed: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*one) for one in timed)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_srt(tmp_path: Path, ends: str) -> None:
    assert transcript.read(write(tmp_path, "a.srt", SRT.replace("\n", ends))) == [
        Cue("I'd like to do <3 better & more.", 0.5, 2.0, None),
        Cue("20 20", 62.0, 3603.25, None),
        Cue("Well.", 360000.0, 360001.0, words(("Well.", 360000.0, 360001.0))),
    ]


def test_webvtt_with_words_that_have_times(tmp_path: Path) -> None:
    assert transcript.read(write(tmp_path, "a.vtt", VTT)) == [
        cue_of(words(("Hello", 0.5, 1.0), ("big", 1.0, 1.5), ("world.", 1.5, 2.0))),
        cue_of(words(("One", 3600.0, 3600.5))),
        Cue("two three", 3600.5, 3601.0, None),
    ]


def test_captions_that_roll_say_each_line_once(tmp_path: Path) -> None:
    cues = transcript.read(write(tmp_path, "a.en.vtt", ROLLING))
    assert [cue.words for cue in cues] == [
        words(("hello", 0.16, 0.4), ("everyone", 0.4, 2.389)),
        words(("we", 2.399, 2.56), ("go", 2.56, 4.55)),
    ]


def test_what_is_said_three_times_does_not_roll(tmp_path: Path) -> None:
    times = ("0,000 --> 00:00:00,900", "1,000 --> 00:00:01,900", "2,000 --> 00:00:02,900")
    text = "".join(f"{i + 1}\n00:00:0{time}\nNo.\n\n" for i, time in enumerate(times))
    assert [(cue.text, cue.start) for cue in transcript.read(write(tmp_path, "a.srt", text))] == [
        ("No.", 0.0),
        ("No.", 1.0),
        ("No.", 2.0),
    ]


@pytest.mark.parametrize(
    "data",
    [LONG.encode(), SHORT.encode(), LONG.encode("utf-16"), b"\xfe\xff" + SHORT.encode("utf-16-be")],
    ids=["long", "short", "utf-16", "utf-16 big-endian"],
)
def test_textgrid(tmp_path: Path, data: bytes) -> None:
    assert transcript.read(write(tmp_path, "a.TextGrid", data)) == [
        cue_of(words(("say", 0.5, 1.0), ('"it"', 1.0, 1.5))),
        Cue("in New York", 1.5, 2.5, None),
    ]


def test_a_textgrid_whose_only_tier_has_another_name(tmp_path: Path) -> None:
    one = LONG.replace("size = 3", "size = 1").replace("Mary - phones", "Mary").replace('"h"', '"so it goes"')
    assert transcript.read(write(tmp_path, "a.TextGrid", one)) == [Cue("so it goes", 0.0, 2.5, None)]


def test_json_of_whisper(tmp_path: Path) -> None:
    segments: list[dict[str, Any]] = [
        {"start": 0, "end": 2.0, "text": " A well-known one.", "words": [
            {"word": " A", "start": 0.0, "end": 0.2, "probability": 0.9},
            {"word": " well", "start": 0.2, "end": 0.5},
            {"word": "-known", "start": 0.5, "end": 0.9},
            {"word": " one.", "start": 1.0, "end": 2.0},
        ]},
        {"start": 2.0, "end": 3.0, "text": " In 2019", "words": [
            {"word": "In", "start": 2.0, "end": 2.2}, {"word": "2019"}
        ]},
        {"start": 3.0, "end": 4.0, "text": "Yes sir.", "words": [
            {"text": "Yes", "start": 3.0, "end": 3.5}, {"text": "sir.", "start": 3.5, "end": 4.0}
        ]},
        {"start": 4.0, "end": 5.0, "text": " So  be it."},
        {"start": 5.0, "end": 5.5, "text": " "},
    ]  # fmt: skip
    path = write(tmp_path, "a.json", json.dumps({"text": "", "segments": segments, "language": "en"}))
    assert transcript.read(path) == [
        cue_of(words(("A", 0.0, 0.2), ("well-known", 0.2, 0.9), ("one.", 1.0, 2.0))),
        Cue("In 2019", 2.0, 3.0, None),
        cue_of(words(("Yes", 3.0, 3.5), ("sir.", 3.5, 4.0))),
        Cue("So be it.", 4.0, 5.0, None),
    ]


def test_encodings(tmp_path: Path) -> None:
    said = "I’d like “it” …"
    text = f"1\n00:00:00,000 --> 00:00:01,000\n{said}\n"
    for data in (text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("cp1252")):
        assert transcript.read(write(tmp_path, "a.srt", data))[0].text == said


def cue(times: str, text: str = "hello") -> str:
    return f"1\n00:00:00,000 --> 00:00:01,000\nfirst\n\n2\n{times}\n{text}\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.srt", cue("00:00:03,000 --> 00:00:02,000"), "line 6: .* ends before it starts"),
        ("a.srt", cue("-00:00:03,000 --> 00:00:04,000"), "line 6: .* is not two times"),
        ("a.srt", cue("one --> two"), "line 6: .* is not two times"),
        ("a.srt", cue("00:00:01,000 --> 00:00:02,000", "a <00:00:05.000>b"), "line 6: .*not in order, or outside"),
        ("a.srt", "hello\n", "holds no words"),
        ("a.srt", "caf\xe9".encode("cp1252"), r"not in utf-8 \(line 1\)"),
        ("a.srt", "hello".encode("utf-16-le"), "character 0"),
        ("a.srt", bytes(range(256)), "not in utf-8"),
        ("a.srt", b"\xff\xfea", "not in utf-16"),
        ("a.srt", b"", "is empty"),
        ("a.doc", "hello", "no transcript that can be read"),
        ("a.TextGrid", "hello", "is not a TextGrid"),
        ("a.TextGrid", LONG[:800], r"cut off or damaged \(it ends too soon\)"),
        ("a.TextGrid", LONG.replace("xmax = 1.5", "xmax = 0.7"), "'\"it\"' is from 1 to 0.7 s"),
        ("a.TextGrid", LONG.replace("xmin = 0.5", "xmin = -1"), "'say' is from -1 to 1 s"),
        ("a.TextGrid", LONG.replace("xmin = 0.5", "xmin = 1e999"), "'inf' is no number"),
        ("a.TextGrid", LONG.replace("words", "lexemes").replace('"TextTier"', '"IntervalTier"'), "cut off or damaged"),
        ("a.TextGrid", LONG.replace("TextTier", "PointTier").replace("- words", "- lexemes"), "'Mary - lexemes'"),
        ("a.json", "[" * 10**6, "is not JSON"),
        ("a.json", "[1]", "holds no JSON object"),
        (
            "a.json",
            '{"segments": [{"text": "a", "start": 0, "end": 1' + "0" * 999 + "}]}",
            "segment 1: its start or end",
        ),
        ("a.json", '{"segments": 3}', "no list 'segments'"),
        ("a.json", '{"segments": [{"start": 0, "end": 1}]}', "segment 1: it has no text"),
        (
            "a.json",
            '{"segments": [{"text": "a b", "start": 0, "end": NaN}]}',
            "segment 1: its start or end is no number",
        ),
        (
            "a.json",
            '{"segments": [{"text": "a b", "start": 0, "end": true}]}',
            "segment 1: its start or end is no number",
        ),
        ("a.json", '{"segments": [{"text": "a b", "start": -1, "end": 1}]}', "segment 1: it is from -1 to 1 s"),
        ("a.json", '{"segments": [{"text": "a", "start": 0, "end": 1, "words": 3}]}', "no list of objects"),
        (
            "a.json",
            '{"segments": [{"text": "a", "start": 0, "end": 1, "words": [{"word": "a", "start": 2, "end": 1}]}]}',
            "segment 1, 'a': it is from 2 to 1 s",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(UserError, match=said) as error:
        transcript.read(path)
    assert str(path) in str(error.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.srt", SRT)
    with path.open("rb+") as file:
        file.truncate(1 << 30)  # sparse
    with pytest.raises(UserError, match="has 1024 MB"):
        transcript.read(path)


def test_what_is_said_between_two_times() -> None:
    spoken = cue_of(words(("one", 0, 1), ("two", 1, 2), ("three", 2, 3)))
    overlapping = Cue("meanwhile another", 0.0, 3.0, None)
    assert transcript.between([spoken, overlapping], 1.5, 2.5) == [cue_of(words(("two", 1, 2))), overlapping]
    assert transcript.between([spoken, overlapping], 0.0, 1.5) == [cue_of(words(("one", 0, 1)))]
    assert transcript.between([spoken, overlapping], 1.6, 2.6) == [cue_of(words(("three", 2, 3)))]
