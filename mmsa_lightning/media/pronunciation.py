"""How a written word is said: phones of CMUdict, looked up, spelled out or guessed from the letters.

English words are looked up. What is written in another script is said as its Latin letters suggest, those of AnyAscii
(https://github.com/anyascii/anyascii).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from anyascii import anyascii

# From a word in lower case to its phones with blanks between; None: it is not in the dictionary.
Lookup = Callable[[str], str | None]

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_LARGE = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"} | {ten: ten[:-1] + "ieth" for ten in _TENS[2:]}
_SIGNS = {
    "%": "percent",
    "&": "and",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "€": "euros",
    "£": "pounds",
    "$": "dollars",
}
_PARTS = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?(?:st|nd|rd|th|'?s)?(?![a-z])|[0-9]+|[a-z']+|[%&@+=€£$]")

# Letters and their most frequent phones in CMUdict, the longest that fits first; ^ and $ are the word's ends.
_LETTERS = {
    "^kn": "N", "^wr": "R", "^ps": "S", "^x": "Z", "^y": "Y", "^gh": "G", "^wh": "W", "^mc": "M AH K",
    "tion": "SH AH N", "sion": "ZH AH N", "cian": "SH AH N", "tious": "SH AH S", "cious": "SH AH S", "ture": "CH ER",
    "ight": "AY T", "ough": "AO", "augh": "AO", "eigh": "EY", "tch": "CH", "dge": "JH", "sch": "SH", "ing$": "IH NG",
    "er$": "ER", "or$": "ER", "ar$": "ER", "le$": "AH L", "mb$": "M", "ed$": "D", "es$": "Z", "ous$": "AH S", "e$": "",
    "y$": "IY", "a$": "AH", "s$": "S", "sh": "SH", "ch": "CH", "th": "TH", "ph": "F", "gh": "", "ck": "K", "qu": "K W",
    "ng$": "NG", "nk": "NG K", "oo": "UW", "ee": "IY", "ea": "IY", "ai": "EY", "ay": "EY", "oa": "OW", "ow": "OW",
    "ou": "AW", "oi": "OY", "oy": "OY", "au": "AO", "aw": "AO", "ie": "IY", "ei": "AY", "ey": "IY", "eu": "UW",
    "ew": "UW", "ue": "UW", "ui": "UW", "ar": "AA R", "er": "ER", "ir": "ER", "ur": "ER", "or": "AO R",
    "ce": "S EH", "ci": "S IH", "cy": "S IY", "ge": "JH EH", "gi": "JH IH", "gy": "JH IY", "a": "AE", "b": "B",
    "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M",
    "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S",
    "y": "IH", "z": "Z",
}  # fmt: skip
_LONG = {"a": "EY", "i": "AY", "o": "OW", "u": "UW"}  # before one consonant and a silent e


class Pronunciation(NamedTuple):
    """What is said for a written word.

    Attributes:
        entry: the word in the dictionary, which may list several ways to say it; None: it is not there.
        phones: ways to say it, each as phones with blanks between; empty where nothing is said, as for a dash.
        guessed: a part of it was not in the dictionary, is in another script than the Latin, or is a figure, which may
            be read in several ways.
    """

    entry: str | None
    phones: tuple[str, ...]
    guessed: bool


def pronounce(written: str, lookup: Lookup) -> Pronunciation:
    """How to say a word as it stands in a text, with capitals, punctuation and all.

    Args:
        written: a word without blanks.
        lookup: the dictionary.

    Raises:
        ValueError: it has letters, but none that are known.
    """
    plain = plain_of(written)
    foreign = _is_foreign(written)
    bare = re.sub(r"^[^a-z0-9']+|[^a-z0-9']+$", "", plain)
    for entry in (f"{bare}." if "." in bare else bare, bare, bare.strip("'")):  # u.s., 'cause, 'tis'
        if entry and not foreign and (phones := lookup(entry)):
            return Pronunciation(entry, (phones,), guessed=False)
    parts = _PARTS.findall(re.sub(r"([$€£])([0-9][0-9.,]*)", r"\2\1", plain))
    if not parts and any(map(str.isalnum, written)):
        raise ValueError(f"{written!r} has no Latin letters")
    # Not looked up: in Russian, my is no English word, and v is no letter's name.
    said = [
        (letters_to_phones(part.replace("'", "")), True)
        if foreign and re.match("[a-z']", part)
        else _part(part, lookup)
        for part in parts
    ]
    ways = [" ".join(phones for phones, _ in said)]
    if year := re.fullmatch(r"(1[1-9]|20)([1-9][0-9](?:'?s)?)", bare):
        ways.append(" ".join(_word(word, lookup)[0] for half in year.groups() for word in _figure(half)))
    return Pronunciation(None, tuple(filter(None, ways)), any(guessed for _, guessed in said))


def plain_of(written: str) -> str:
    """Lower case, in Latin letters without accents, with straight apostrophes."""
    straight = written.translate({ord(c): "'" for c in "’‘ʼ`´"})
    composed = unicodedata.normalize("NFKC", straight)
    # Letters, marks and numbers; for a sign, AnyAscii has a name (an emoji's) or a likeness, which is not said.
    return "".join(anyascii(c) if unicodedata.category(c)[0] in "LMN" else c for c in composed).lower()


def cardinal(number: int) -> list[str]:
    """The words of a number below a million millions.

    >>> cardinal(1042)
    ['one', 'thousand', 'forty', 'two']
    """
    for size, name in _LARGE:
        if number >= size:
            rest = number % size
            return [*cardinal(number // size), name, *(cardinal(rest) if rest else [])]
    if number < 20:
        return [_ONES[number]]
    return [_TENS[number // 10], *(cardinal(number % 10) if number % 10 else [])]


def letters_to_phones(word: str) -> str:
    """A guess from the letters a to z, good enough to find the word in a sound."""
    phones: list[str] = []
    single = re.sub(r"([b-df-hj-np-tv-z])\1", r"\1", word)
    rest = "^" + single + ("" if re.fullmatch("[^aeiouy]*e", single) else "$")  # an only vowel is not silent
    while rest not in ("$", ""):
        vowel = _LONG.get(rest[0]) if re.match(r"[aiou][b-df-hj-np-tv-z]e\$", rest) else None
        if vowel:
            phones.append(vowel)
            rest = rest[1:]
            continue
        for size in range(min(6, len(rest)), 0, -1):
            if (found := _LETTERS.get(rest[:size])) is not None:
                phones += found.split()
                rest = "$" if rest[:size].endswith("$") else rest[size:]
                break
        else:
            rest = rest[1:]  # ^, or an apostrophe
    return " ".join(phones)


def _is_foreign(written: str) -> bool:
    """Whether it has a letter of another script than the Latin."""
    return any(c.isalpha() and "LATIN" not in unicodedata.name(c, "") for c in unicodedata.normalize("NFKC", written))


def _part(part: str, lookup: Lookup) -> tuple[str, bool]:
    """The phones of letters, a figure or a sign, and whether they are a guess."""
    if part[0].isdigit():
        return " ".join(_word(word, lookup)[0] for word in _figure(part)), True
    return _word(_SIGNS.get(part, part), lookup)


def _word(word: str, lookup: Lookup) -> tuple[str, bool]:
    bare = word.strip("'")
    if phones := lookup(word) or lookup(bare):
        return phones, False
    letters = bare.replace("'", "")
    if not re.search("[aeiouy]", letters):  # said letter by letter: BBC
        return " ".join(lookup(letter) or "" for letter in letters), True
    return letters_to_phones(letters), True


def _figure(part: str) -> list[str]:
    match = re.fullmatch(r"([0-9,]+)(?:\.([0-9]+))?(st|nd|rd|th|'?s)?", part)
    assert match
    whole, fraction, ending = match[1].replace(",", ""), match[2], match[3]
    digits = len(whole) > 12 or (len(whole) > 1 and whole[0] == "0")
    words = [_ONES[int(digit)] for digit in whole] if digits else cardinal(int(whole))
    if fraction:
        words += ["point", *(_ONES[int(digit)] for digit in fraction)]
    if ending in ("st", "nd", "rd", "th"):
        words[-1] = _ORDINALS.get(words[-1], words[-1] + "th")
    elif ending:  # the 90s
        words[-1] = words[-1][:-1] + "ies" if words[-1].endswith("y") else words[-1] + "s"
    return words
