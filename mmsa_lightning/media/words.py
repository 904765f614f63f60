"""A word and when it is said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word of an utterance.

    Attributes:
        text: as written.
        start, end: in seconds from the start of the video.
    """

    text: str
    start: float
    end: float
