"""PocketSphinx (https://github.com/cmusphinx/pocketsphinx) and the English models in its package."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from mmsa_lightning.errors import UserError

if TYPE_CHECKING:
    from pocketsphinx import Decoder

RATE = 16_000  # samples a second
FRAMES = 100  # a second, of a decoder's answers


@functools.cache
def decoder(*, language_model: bool) -> Decoder:
    """A decoder with the acoustic model and CMUdict; with a language model, for sound whose words are not known.

    Raises:
        UserError: PocketSphinx is not installed.
    """
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise UserError(f"word times need PocketSphinx ({error}): pip install 'mmsa-lightning[media]'") from error
    if language_model:
        return Decoder(loglevel="FATAL")
    # At its own 0.005 a word takes in the pause behind it; between words of a given text a pause is as likely as none.
    return Decoder(loglevel="FATAL", lm=None, silprob=0.5)


def decode(decoder: Decoder, sound: np.ndarray) -> list[tuple[str, float, float]]:
    """The words that a decoder hears, with start and end in seconds; none where it cannot follow.

    Args:
        decoder: of :func:`decoder`.
        sound: (samples,) float in [-1, 1], 16 kHz.
    """
    data = _pcm(sound)
    decoder.reinit_feat()  # the sound before has no part in what is heard in this one
    decoder.start_utt()
    try:
        if data:
            decoder.process_raw(data, full_utt=True)
    finally:
        decoder.end_utt()  # or it takes no other sound
    if decoder.hyp() is None:
        return []
    found = [(s.word.partition("(")[0], s.start_frame / FRAMES, (s.end_frame + 1) / FRAMES) for s in decoder.seg()]
    return [(word, start, min(end, len(sound) / RATE)) for word, start, end in found if word and word[0] not in "<["]


def _pcm(sound: np.ndarray) -> bytes:
    """16-bit samples."""
    if sound.ndim != 1:
        raise ValueError(f"sound of shape {sound.shape}: give one channel, (samples,)")
    return (np.clip(np.nan_to_num(sound), -1, 1) * 32767).astype("<i2").tobytes()
