"""Words and their times where there is no transcript: PocketSphinx's packaged model, or a Whisper of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import sphinx, voice
from mmsa_lightning.media.words import Word, spread
from mmsa_lightning.models.layers import pretrained

PACKAGED = "pocketsphinx"
PIECE = 60  # seconds of sound that PocketSphinx hears at once


class Recogniser(Protocol):
    """From a sound, (samples,) float32 in [-1, 1] at 16 kHz, to its words, in seconds from its start.

    Attributes:
        quality: a line for whoever uses the words, on how far to trust them.
        versions: of packages and weights that decide what is heard.
    """

    quality: str
    versions: dict[str, str]

    def __call__(self, sound: np.ndarray) -> list[Word]: ...


def recogniser(name: str) -> Recogniser:
    """The recogniser of that name.

    Args:
        name: ``pocketsphinx``, English, whose models are in its package; or a Whisper in the form of transformers: a
            local directory, or a name on the Hugging Face hub.

    Raises:
        UserError: it is not installed, not there, or no Whisper that can tell when a word is said.
    """
    return PocketSphinx() if name == PACKAGED else Whisper(name)


class PocketSphinx:
    """English, with the acoustic and the language model that PocketSphinx brings."""

    quality = (
        "the words were recognised by PocketSphinx's packaged English model, which gets many of them wrong: a "
        "transcript of your own, or a Whisper, makes better ones"
    )

    def __init__(self) -> None:
        self.versions = {"pocketsphinx": version("pocketsphinx")}
        self.decoder = sphinx.decoder(language_model=True)

    def __call__(self, sound: np.ndarray) -> list[Word]:
        """The words; long sound is cut where nobody speaks."""
        words = []
        for first, last in _pieces(sound):
            start, piece = first / sphinx.RATE, sound[first:last]
            if voice.voiced(piece).any():  # it hears words in silence, too
                found = sphinx.decode(self.decoder, piece)
                words += [Word(text, start + begin, start + end) for text, begin, end in found]
        return words


def _pieces(sound: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cuts of at most :data:`PIECE` seconds, in the middle of the longest pause of their second half, in samples."""
    longest = PIECE * sphinx.RATE // voice.CHUNK  # frames
    voiced = voice.voiced(sound)
    first = 0
    while len(voiced) - first > longest:
        half = first + longest // 2
        edges = np.flatnonzero(np.diff(np.r_[True, voiced[half : first + longest], True].astype(int)))
        pauses = edges.reshape(-1, 2)  # where each begins, and the frame after it
        last = first + longest
        if len(pauses):
            begin, end = pauses[np.argmax(pauses[:, 1] - pauses[:, 0])]
            last = half + int(begin + end + 1) // 2
        yield first * voice.CHUNK, last * voice.CHUNK
        first = last
    yield first * voice.CHUNK, len(sound)


class Whisper:
    """Whisper (Radford et al., 2023) as transformers has it, with the times that its attention gives to words.

    Args:
        name: a local directory, or a name on the hub.

    Raises:
        UserError: see :func:`recogniser`.
    """

    def __init__(self, name: str) -> None:
        self.quality = f"the words were recognised by {name}"
        self.pipeline = _pipeline(name)
        self.versions = {
            "transformers": version("transformers"),
            "recogniser": " ".join(filter(None, (name, pretrained.encoder_hash(name)))),
        }

    def __call__(self, sound: np.ndarray) -> list[Word]:
        """The words."""
        if not len(sound):
            return []
        length = len(sound) / sphinx.RATE
        heard = {"raw": sound.astype(np.float32), "sampling_rate": sphinx.RATE}
        chunks = self.pipeline(heard, return_timestamps="word")["chunks"]
        return [word for chunk in chunks for word in _words(chunk, length)]


def _pipeline(name: str) -> Any:
    try:
        pretrained.check_files(name)
        from transformers import AutoConfig, WhisperForConditionalGeneration, WhisperProcessor, pipeline

        options: dict[str, Any] = {"local_files_only": Path(name).is_dir()}
        kind = AutoConfig.from_pretrained(name, trust_remote_code=False, **options).model_type
        if kind != "whisper":
            raise UserError(f"it is a {kind} model, and no Whisper")
        model = WhisperForConditionalGeneration.from_pretrained(name, **options)
        processor = WhisperProcessor.from_pretrained(name, **options)
        if not getattr(model.generation_config, "alignment_heads", None):
            raise UserError("its generation_config.json has no alignment_heads, which tell when a word is said")
    except Exception as error:  # for a hub or config problem, transformers and torch raise nearly anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"no Whisper {name!r} can be loaded ({reason}); give a local directory of one in the form of transformers, "
            f"a name on the hub such as openai/whisper-small.en, or {PACKAGED}"
        ) from error
    return pipeline(
        "automatic-speech-recognition",
        model=model,
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
    )


def _words(chunk: dict[str, Any], length: float) -> list[Word]:
    """A word; the last one may lack an end, and then lasts as long as the sound."""
    start, end = chunk["timestamp"]
    start = min(start, length)
    return spread(chunk["text"].split(), start, length if end is None else max(start, min(end, length)))
