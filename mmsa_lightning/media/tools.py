"""From one utterance of a video to its words, sound and face, by the extractors that were asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_lightning.data.extraction import Extraction
from mmsa_lightning.errors import UserError
from mmsa_lightning.media import alignment, audio, beside, decode, recognition, transcript, vision, voice
from mmsa_lightning.media.clips import LONGEST, Clip
from mmsa_lightning.media.pooling import by_words
from mmsa_lightning.media.words import Cue, Word, spread

NONE = "none"  # of a modality that is left out
BEYOND = 0.5  # seconds that an utterance may end behind its video: lists are rounded
SPOKEN = 1 / 3  # of a frame must lie in voice for it to count
UNSAID = "?"  # stands for the words of an utterance that has none


@dataclass(frozen=True)
class Settings:
    """Which extractors make which modality; :data:`NONE` leaves one out.

    Attributes:
        audio: see :func:`mmsa_lightning.media.audio.extractor`.
        vision: see :func:`mmsa_lightning.media.vision.extractor`.
        words: what recognises the words of an utterance that comes without text; see
            :func:`mmsa_lightning.media.recognition.recogniser`.
    """

    audio: str = "librosa"
    vision: str = "face_mesh"
    words: str = "pocketsphinx"


@dataclass
class Extracted:
    """What was found in an utterance. All times are in seconds from its start.

    Attributes:
        words: what is said; none where nobody speaks.
        times: by modality float (t, 2), start and end of each frame.
        values: by modality float32 (t, width); a missing frame is zero throughout.
        row: what a report says of it.
        notes: what its user should know.
    """

    words: list[Word]
    times: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def said(self) -> list[Word]:
        """Its words, or one that is as long as the utterance."""
        return self.words or [Word(UNSAID, 0.0, float(self.row["seconds"]))]

    def by_words(self, m: str) -> np.ndarray:
        """Features of a modality within the words: float32 (words, width)."""
        return by_words(self.times[m], self.values[m], self.said)


class Tools:
    """The extractors of some settings; models are loaded when the first utterance needs them.

    Raises:
        UserError: an extractor is not known, or a package or weights that it needs are missing.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.audio = None if settings.audio == NONE else audio.extractor(settings.audio)
        self.vision = None if settings.vision == NONE else vision.extractor(settings.vision)
        self.recognise = None if settings.words == NONE else recognition.recogniser(settings.words)

    @property
    def names(self) -> dict[str, list[str]]:
        """Of the features, by modality."""
        return {m: list(tool.names) for m, tool in self._tools().items()}

    def extraction(self, *, aligned: bool) -> Extraction:
        """What made the features."""
        versions = {"av": version("av"), **voice.versions(), "pocketsphinx": version("pocketsphinx")}
        for tool in (*self._tools().values(), *filter(None, [self.recognise])):
            versions |= tool.versions
        rates = {m: float(tool.rate) for m, tool in self._tools().items()}
        return Extraction(**asdict(self.settings), aligned=aligned, rates=rates, versions=versions)

    def _tools(self) -> dict[str, Any]:
        return {m: tool for m, tool in (("audio", self.audio), ("vision", self.vision)) if tool is not None}

    def __call__(self, clip: Clip) -> Extracted:
        """Extract an utterance.

        Raises:
            UserError: its video is not readable, or ends before the utterance does.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "decode"):
            described = decode.describe(clip.video)
            speech = decode.sound(clip.video, clip.start, clip.end, most=LONGEST + 1)
        length = self._length(clip, described, speech)
        found = Extracted([], notes=[])
        with _timed(seconds, "voice"):
            voiced = None if speech is None else voice.voiced(speech)
        with _timed(seconds, "words"):
            found.words, how = self._words(clip, speech, voiced, length, described.seconds, found.notes)
        if self.audio is not None:
            with _timed(seconds, "audio"):
                self._hear(clip, voiced, length, found)
        if self.vision is not None:
            with _timed(seconds, "vision"):
                self._look(clip, speech, length, found, described.picture)
        shares = {m: round(float(values.any(axis=1).mean()), 3) for m, values in found.values.items() if len(values)}
        found.row = {
            "id": clip.id,
            "video": clip.video.name,
            "start": clip.start,
            "seconds": round(length, 3),
            "words": len(found.words),
            "words_from": how,
            "voice": "" if voiced is None or not len(voiced) else round(float(voiced.mean()), 3),
            **{f"{m}_frames": len(values) for m, values in found.values.items()},
            **{f"{m}_found": share for m, share in shares.items()},
            "notes": "; ".join(found.notes),
            **{f"{step}_s": round(taken, 3) for step, taken in seconds.items()},
        }
        return found

    def _length(self, clip: Clip, described: decode.Described, speech: np.ndarray | None) -> float:
        """Of the utterance, in seconds; what a file says of its length is not believed where it can be seen."""
        if clip.end is not None:
            length = clip.end - clip.start
        elif speech is not None:
            length = len(speech) / decode.SPEECH_RATE
        else:
            length = (described.seconds or 0.0) - clip.start
        last = described.seconds
        if last is not None and (clip.start >= last or (clip.end or 0.0) > last + BEYOND):
            stated = f"{clip.start:g} s" if clip.end is None else f"{clip.start:g} to {clip.end:g} s"
            raise UserError(f"{clip.id} is {stated} of {clip.video}, which lasts {last:.2f} s")
        _check_length(clip, length)
        return length

    def _words(
        self,
        clip: Clip,
        speech: np.ndarray | None,
        voiced: np.ndarray | None,
        length: float,
        last: float | None,
        notes: list[str],
    ) -> tuple[list[Word], str]:
        """Its words by time, and where they come from; ``last`` is when its video ends."""
        made = beside.transcript(clip.video) if clip.text is None else None
        if clip.text is not None or made is not None:
            if made is None:
                cues, how = [Cue(clip.text or "", 0.0, length, None)], "text"
            else:
                whole = _cues(made, made.stat().st_mtime_ns)
                late = max(whole, key=lambda cue: cue.start)
                if last is not None and late.start > last + BEYOND:
                    raise UserError(
                        f"{made} says {late.text[:40]!r} at {late.start:.1f} s, but {clip.video.name} ends at "
                        f"{last:.1f} s: is it of another video?"
                    )
                said = transcript.between(whole, clip.start, clip.start + length)
                cues, how = [_moved(cue, clip.start, length) for cue in said], made.suffix.lstrip(".").lower()
            if speech is None or not len(speech):
                notes.append("no sound: its words are spread over its time")
                return [word for cue in cues for word in cue.words or spread(cue.text.split(), cue.start, cue.end)], how
            found = alignment.times(cues, speech)
            if found.spread:
                notes.append(f"{found.spread} words were not found in the sound: they are spread over the voice")
            if found.guessed:
                notes.append(f"pronunciation was guessed of {', '.join(found.guessed)}")
            return list(found.words), how
        if speech is None or voiced is None or not voiced.any():
            notes.append("no words: " + ("no sound" if speech is None else "no voice in its sound"))
            return [], NONE
        if self.recognise is None:
            notes.append("no words: none were given, and none were to be recognised")
            return [], NONE
        return self.recognise(speech), self.settings.words

    def _hear(self, clip: Clip, voiced: np.ndarray | None, length: float, found: Extracted) -> None:
        assert self.audio is not None
        heard = decode.sound(clip.video, clip.start, clip.end, self.audio.sample_rate)
        if voiced is None or heard is None or not len(heard):
            self._nothing("audio", self.audio, length, found)
            found.notes.append("no audio: the file has no sound track")
            return
        frames = self.audio(heard)
        spoken = voice.share(voiced, frames.times) >= SPOKEN
        found.times["audio"] = frames.times
        found.values["audio"] = np.where(spoken[:, None], frames.values, np.float32(0))
        if not spoken.any():
            found.notes.append("no audio: no voice in its sound")

    def _look(self, clip: Clip, speech: np.ndarray | None, length: float, found: Extracted, picture: bool) -> None:
        assert self.vision is not None
        if not picture:
            self._nothing("vision", self.vision, length, found)
            found.notes.append("no vision: the file has no pictures")
            return
        end = clip.start + LONGEST + 1 if clip.end is None else clip.end  # sound and header may say less than there is
        track = self.vision.of_video(clip.video, clip.start, end, speech)
        if clip.end is None:
            _check_length(clip, float(track.times[:, 0].max(initial=0.0)))
        found.times["vision"], found.values["vision"] = track.times, track.values
        found.notes += track.report
        if not len(track.values):
            self._nothing("vision", self.vision, length, found)

    def _nothing(self, m: str, tool: Any, length: float, found: Extracted) -> None:
        """One missing step: a modality that is absent throughout."""
        found.times[m] = np.array([[0.0, length]])
        found.values[m] = np.zeros((1, len(tool.names)), np.float32)


def _check_length(clip: Clip, length: float) -> None:
    if length > LONGEST:
        raise UserError(
            f"{clip.video} lasts {length:.0f} s, and an utterance {LONGEST:g} s at most: list its utterances with "
            "start and end in a CSV"
        )


@lru_cache(maxsize=1)  # the utterances of one video come one after another
def _cues(path: Path, changed: int) -> Sequence[Cue]:
    """A transcript, read once as long as its file does not change."""
    return transcript.read(path)


def _moved(cue: Cue, start: float, length: float) -> Cue:
    """A cue of a video as one of an utterance, which lasts ``length`` seconds from ``start``."""

    def moved(second: float) -> float:
        return min(max(second - start, 0.0), length)

    words = cue.words and tuple(Word(word.text, moved(word.start), moved(word.end)) for word in cue.words)
    return Cue(cue.text, moved(cue.start), moved(cue.end), words)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - begun
