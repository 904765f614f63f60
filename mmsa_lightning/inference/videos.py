"""Utterances of videos, extracted as those were that a model was trained on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsa_lightning.data.formats import delimited
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import About
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.media import beside, clips
from mmsa_lightning.media.clips import Clip
from mmsa_lightning.media.install import required
from mmsa_lightning.models.layers.pretrained import encoder_hash

if TYPE_CHECKING:
    from mmsa_lightning.media.tools import Extracted, Settings


def are_named(source: Path, *, separator: str | None, encoding: str | None) -> bool:
    """Whether ``source`` is a video, a folder of videos, or a CSV with a column ``video``."""
    if source.is_dir() or source.suffix.lower() in clips.SUFFIXES:
        return True
    if source.suffix.lower() not in delimited.SUFFIXES:
        return False
    columns, _ = delimited.stream(source, encoding=encoding, separator=separator, usable=lambda c: "video" in c)
    return "video" in columns


def extracted(listed: Sequence[Clip], about: About) -> Iterator[tuple[Clip, Extracted, Utterance]]:
    """The utterances of videos, one after the other: where each lies, what was found, and what a model reads of it.

    Memory does not grow with them.

    Args:
        listed: the utterances, each with its video.
        about: of the model.

    Raises:
        UserError: as :class:`VideoReader`; a video is not sound.
    """
    reader = VideoReader(about)
    for clip in listed:
        yield clip, *reader(clip)


def reads_videos(about: About) -> bool:
    """Whether all features that a model reads were extracted from videos by mmsa data extract."""
    return all(_extractor(about, m) != "none" for m in _features(about))


def reads_a_video_alone(about: About) -> bool:
    """The same, and no table has to lie beside the video."""
    return reads_videos(about) and ("vision" not in _features(about) or _extractor(about, "vision") != beside.OPENFACE)


def sources(listed: Sequence[Clip], about: About) -> list[Path]:
    """All files that are read of some utterances for a model, which nothing may write over."""
    return beside.inputs(listed, _extractor(about, "vision"))


def _extractor(about: About, m: str) -> str:
    return getattr(about.extraction, m, "none")


def _features(about: About) -> list[str]:
    return [m for m, width in about.dims.items() if width is not None]


class VideoReader:
    """Reads clips as those were that a model was trained on.

    Args:
        about: of the model.

    Raises:
        UserError: the model was trained on other features; an extractor is not there.
    """

    def __init__(self, about: About) -> None:
        made = about.extraction
        self.read = _features(about)
        if not reads_videos(about):
            raise UserError(
                f"this model reads features of {' and '.join(self.read)} that were not extracted from videos by mmsa "
                "data extract: extract them as those of its training data were, and give a CSV, --audio and --vision"
            )
        with required():
            from mmsa_lightning.media.tools import NONE, Settings, Tools

            settings = Settings(**{m: getattr(made, m) if m in self.read else NONE for m in ("audio", "vision")})
            settings = settings if made is None else replace(settings, words=made.words)
            _check_weights(settings)
            self.tools = Tools(settings)
        self.aligned = made is not None and made.aligned
        self.told = False
        _compare(about, self.tools.extraction(aligned=self.aligned).versions)

    def __call__(self, clip: Clip) -> tuple[Extracted, Utterance]:
        """What is found in a clip, and what the model reads of it.

        Raises:
            UserError: the video is not readable.
        """
        found = self.tools(clip)
        recognise = self.tools.recognise
        if recognise is not None and found.row["words_from"] == self.tools.settings.words and not self.told:
            print(f"warning: {recognise.quality}", file=sys.stderr)
            self.told = True
        features: dict[str, np.ndarray] = {m: found.by_words(m) if self.aligned else found.values[m] for m in self.read}
        text = " ".join(word.text for word in found.said)
        return found, Utterance(clip.id, text, clip.label, features)


def _check_weights(settings: Settings) -> None:
    """A package that a stranger made has nothing fetched: weights that it names have to be here."""
    from mmsa_lightning.media.recognition import PACKAGED
    from mmsa_lightning.media.tools import NONE

    heard_by = "" if settings.words in (NONE, PACKAGED) else settings.words
    for name in filter(None, (settings.audio.partition(":")[2], heard_by)):
        if encoder_hash(name) is None:
            raise UserError(
                f"features of training were made with the weights {name!r}, which are not on this machine: if you "
                "trust them, put them there, or fetch them with: hf download NAME"
            )


def _compare(about: About, here: dict[str, str]) -> None:
    """Say which packages are not those that made the features of training."""
    known = about.extraction.versions if about.extraction else {}
    other = [
        f"{name} {known[name]} there and {here[name]} here"
        for name in known
        if here.get(name, known[name]) != known[name]
    ]
    if other:
        print(f"warning: features of training were made by {', '.join(other)}", file=sys.stderr)
