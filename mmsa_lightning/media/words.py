"""Words with their times, and pieces of a transcript."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Word:
    """A word as it is written, and when it is said, in seconds from the start of the video."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Cue:
    """A piece of a transcript, and when it is said, in seconds from the start of the video.

    Attributes:
        words: those of the text, in order; None where only the times of the piece are known.
    """

    text: str
    start: float
    end: float
    words: tuple[Word, ...] | None


def cues_of(pieces: Iterable[Word]) -> Iterator[Cue]:
    """Pieces of text with times as cues: single words that follow each other become one; others are cues without words.

    Args:
        pieces: texts that are not blank, in order; each may hold several words.
    """
    for single, group in groupby(pieces, lambda piece: len(piece.text.split()) == 1):
        found = tuple(group)
        if single:
            yield cue_of(found)
        else:
            yield from (Cue(" ".join(piece.text.split()), piece.start, piece.end, None) for piece in found)


def cue_of(words: tuple[Word, ...]) -> Cue:
    """One cue of one or more words."""
    start, end = min(word.start for word in words), max(word.end for word in words)
    return Cue(" ".join(word.text for word in words), start, end, words)


def spread(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """Words that share out a stretch of time by their numbers of letters and digits; a lone sign has no duration.

    Args:
        texts: the words, in order.
        start, end: the stretch, in seconds.
    """
    sizes = [sum(map(str.isalnum, text)) for text in texts]
    total = max(1, sum(sizes))
    times = [start + (end - start) * sum(sizes[:i]) / total for i in range(len(sizes) + 1)]
    return [Word(text, times[i], times[i + 1]) for i, text in enumerate(texts)]
