"""Pronunciations: by hand on a small dictionary, and guesses against CMUdict itself."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from mmsa_lightning.media.pronunciation import cardinal, letters_to_phones, pronounce

SMALL = {
    "hello": "HH AH L OW", "i'd": "AY D", "'cause": "K AH Z", "cause": "K AA Z", "well": "W EH L", "known": "N OW N",
    "cafe": "K AH F EY", "u.s.": "Y UW EH S", "mr": "M IH S T ER", "percent": "P ER S EH N T", "b": "B IY", "c": "S IY",
    "dollars": "D AA L ER Z", "five": "F AY V", "twenty": "T W EH N T IY", "first": "F ER S T", "one": "W AH N",
    "nineties": "N AY N T IY Z", "nineteen": "N AY N T IY N", "thousand": "TH AW Z AH N D", "nine": "N AY N",
    "hundred": "HH AH N D R AH D", "ninety": "N AY N T IY", "point": "P OY N T", "zero": "Z IH R OW",
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        ("Hello,", "hello"), ("“HELLO”", "hello"), ("I’D", "i'd"), ("'cause", "'cause"), ("'hello'", "hello"),
        ("Café…", "cafe"), ("(U.S.)", "u.s."), ("Mr.", "mr"),
    ],
)  # fmt: skip
def test_a_word_of_the_dictionary_however_it_is_written(written: str, entry: str) -> None:
    said = pronounce(written, SMALL.get)
    assert (said.entry, said.phones, said.guessed) == (entry, (SMALL[entry],), False)


@pytest.mark.parametrize(
    ("written", "words", "guessed"),
    [
        ("well-known", "well known", False), ("well-'known'", "well known", False),
        ("5%", "five percent", True), ("$5", "five dollars", True),
        ("21st", "twenty first", True), ("90's", "nineties", True), ("BC", "b c", True),
        ("1,005.5", "one thousand five point five", True), ("05", "zero five", True),
    ],
)  # fmt: skip
def test_what_is_spelled_out(written: str, words: str, guessed: bool) -> None:
    said = pronounce(written, SMALL.get)
    assert (said.entry, said.phones, said.guessed) == (None, (" ".join(SMALL[w] for w in words.split()),), guessed)


def test_a_year_is_read_in_two_ways() -> None:
    ways = [
        " ".join(SMALL[w] for w in way.split())
        for way in ("one thousand nine hundred ninety five", "nineteen ninety five")
    ]
    assert list(pronounce("1995", SMALL.get).phones) == ways
    assert pronounce("1990s", SMALL.get).phones[1] == SMALL["nineteen"] + " " + SMALL["nineties"]


@pytest.mark.parametrize("sign", ["-", "—", "...", "♪", "😀", "'"])
def test_nothing_is_said_for_a_sign(sign: str) -> None:
    assert pronounce(sign, SMALL.get).phones == ()


@pytest.mark.parametrize(
    ("written", "phones"),
    [
        ("«Привет!»", "P R IH V EH T"), ("видеть", "V IH D EH T"), ("ОБЪЕКТ", "AA B EH K T"), ("край", "K R EY"),
        ("краи\u0306", "K R EY"), ("Καλημέρα;", "K AE L IH M ER AH"), ("नमस्ते", "N M S T EH"), ("你好", "N IH HH AE AA"),
        ("Łódź", "L AA D Z"), ("не", "N EH"), ("5-летний", "F AY V L EH T N IH IY"),
        ("٥", "F AY V"), ("мы", "M IY"), ("б", "B"), ("😀да", "D AH"),
    ],
)  # fmt: skip
def test_another_script_is_said_as_its_latin_letters_suggest(written: str, phones: str) -> None:
    """Not as an English word or the name of a letter."""
    said = pronounce(written, {**SMALL, "my": "M AY"}.get)
    assert said == (None, (phones,), True)


def test_letters_that_nobody_knows_are_no_silence() -> None:
    with pytest.raises(ValueError, match="no Latin letters"):
        pronounce("𒀀", SMALL.get)


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "zero"), (13, "thirteen"), (80, "eighty"), (1042, "one thousand forty two"), (2 * 10**6, "two million"),
     (999_100, "nine hundred ninety nine thousand one hundred")],
)  # fmt: skip
def test_cardinal(number: int, words: str) -> None:
    assert " ".join(cardinal(number)) == words


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("blate", "B L EY T"),
        ("knight", "N AY T"),
        ("phishing", "F IH SH IH NG"),
        ("zummer", "Z AH M ER"),
        ("gne", "G N EH"),
    ],
)
def test_a_guess(word: str, phones: str) -> None:
    assert letters_to_phones(word) == phones


def test_a_guess_is_near_what_cmudict_says() -> None:
    """Three phones of four are right, over words that are drawn from the whole dictionary."""
    pocketsphinx = pytest.importorskip("pocketsphinx")
    lines = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines()
    entries = [line.split() for line in lines if re.match("[a-z]{3,} ", line)]
    drawn = random.Random(0).sample(entries, 1000)
    wrong = sum(edits(letters_to_phones(word).split(), phones) for word, *phones in drawn)
    assert wrong / sum(len(phones) for _, *phones in drawn) < 0.26
    known = {phone for _, *phones in entries for phone in phones}
    assert {phone for word, *_ in drawn for phone in letters_to_phones(word).split()} <= known


def edits(a: list[str], b: list[str]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (x != y)))
    return row[-1]
