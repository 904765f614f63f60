"""When the words of a given text are said: forced alignment with PocketSphinx.

Its acoustic model is English. A word that CMUdict lacks, or in another script, is said as its letters suggest, and a
text that does not fit the sound is shared out over the stretch with a voice; both are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import sphinx, voice
from mmsa_lightning.media.pronunciation import Pronunciation, pronounce
from mmsa_lightning.media.words import Cue, Word, spread

LONGEST = 600  # seconds of sound that are aligned as one; the search slows down as they grow
QUIET = 0.3  # seconds of faint noise in which a word that the sound's end cuts can end; 0.1 s is too short


@dataclass(frozen=True)
class Alignment:
    """Words with their times, and how far these can be trusted.

    Attributes:
        words: every word of the text, in order, as it is written. One that is not said, such as a dash, has no
            duration.
        spread: how many of them could not be found in the sound, and have their share of the stretch with a voice.
        guessed: those whose pronunciation is a guess.
    """

    words: tuple[Word, ...]
    spread: int
    guessed: tuple[str, ...]


def align(text: str, sound: np.ndarray, start: float = 0.0) -> Alignment:
    """Find the words of a text in the sound in which it is said.

    Args:
        text: all that is said, as it is written.
        sound: (samples,) float32 in [-1, 1], 16 kHz.
        start: of the sound, in seconds from the start of the video; added to the times.

    Raises:
        UserError: the sound is longer than :data:`LONGEST`, or PocketSphinx is not installed.
        ValueError: the sound has several channels.
    """
    if len(sound) > LONGEST * sphinx.RATE:
        raise UserError(
            f"a text that takes {len(sound) / sphinx.RATE:.0f} s is too long to be aligned as one: give a transcript "
            f"with times, such as .srt, in pieces of at most {LONGEST} s"
        )
    decoder = sphinx.decoder(language_model=False)
    texts = text.split()
    try:
        said = [pronounce(word, decoder.lookup_word) for word in texts]
    except ValueError:  # letters that nobody knows
        said = []
    found = _search(decoder, texts, said, sound) if said else []
    left = texts[len(found) :]
    words = found + _spread(left, sound, after=found[-1].end if found else 0.0)
    return Alignment(
        words=tuple(Word(word.text, start + word.start, start + word.end) for word in words),
        spread=len(left),
        guessed=tuple(word for word, way in zip(texts, said, strict=False) if way.guessed),
    )


def times(cues: Sequence[Cue], sound: np.ndarray) -> Alignment:
    """The words of a whole transcript: those without times are found within the sound of their cue.

    Args:
        cues: with times in seconds from the start of the sound.
        sound: of the whole video, as :func:`align`.

    Raises:
        UserError: as :func:`align`, or a cue begins after the sound's end.
    """
    words: list[Word] = []
    guessed: list[str] = []
    spread = 0
    length = len(sound) / sphinx.RATE
    for cue in cues:
        if cue.start > length:
            raise UserError(
                f"a transcript says {cue.text[:40]!r} at {cue.start:.1f} s, but the sound ends at {length:.1f} s: is "
                "it of another video?"
            )
        if cue.words is not None:
            words += cue.words
            continue
        first, last = (round(second * sphinx.RATE) for second in (cue.start, cue.end))
        found = align(cue.text, sound[first:last], cue.start)
        words += found.words
        spread += found.spread
        guessed += found.guessed
    return Alignment(tuple(words), spread, tuple(dict.fromkeys(guessed)))


def _search(decoder: Any, texts: Sequence[str], said: Sequence[Pronunciation], sound: np.ndarray) -> list[Word]:
    """The words with their times, without the last one where the sound's end cuts it; none where they are not found."""
    entries = []
    for way in filter(lambda way: way.phones, said):
        entry = way.entry or "_" + "_".join(way.phones).replace(" ", "_")
        if decoder.lookup_word(entry) is None:
            for i, phones in enumerate(way.phones):
                decoder.add_word(f"{entry}({i + 1})" if i else entry, phones, update=False)
        entries.append(entry)
    if not entries:
        return []
    decoder.set_align_text(" ".join(entries))
    found = sphinx.decode(decoder, sound)
    if [entry for entry, _, _ in found] != entries:
        found = _search_beyond(decoder, sound)
    if not found or [entry for entry, _, _ in found] not in (entries, entries[:-1]):
        return []
    words: list[Word] = []
    left = iter(found)
    for text, way in zip(texts, said, strict=True):
        if way.phones:
            at = next(left, None)
            if at is None:
                break
            _, start, end = at
        else:
            start = end = words[-1].end if words else found[0][1]
        words.append(Word(text, start, end))
    return words


def _search_beyond(decoder: Any, sound: np.ndarray) -> list[tuple[str, float, float]]:
    """What is found if the sound goes on a little, so that a word that is cut can end.

    No word begins behind the sound itself.
    """
    noise = np.random.default_rng(0).normal(0, 0.001, round(QUIET * sphinx.RATE))
    length = len(sound) / sphinx.RATE
    heard = sphinx.decode(decoder, np.concatenate([sound, noise]))
    return [(entry, start, min(end, length)) for entry, start, end in heard if start < length]


def _spread(texts: Sequence[str], sound: np.ndarray, after: float) -> list[Word]:
    """The words from where a voice begins to where it ends, later than ``after``; over all of that without a voice."""
    if not texts:
        return []
    end = len(sound) / sphinx.RATE
    voiced = np.flatnonzero(voice.voiced(sound)) * voice.CHUNK / sphinx.RATE
    voiced = voiced[voiced + voice.CHUNK / sphinx.RATE > after]
    if not len(voiced):
        return spread(texts, after, end)
    return spread(texts, max(after, float(voiced[0])), min(float(voiced[-1]) + voice.CHUNK / sphinx.RATE, end))
