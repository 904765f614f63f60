"""From a sound to features of its frames: one file and one line here an extractor."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np

from mmsa_lightning.errors import UserError

# A name, the module here that holds its class, and whether NAME:PATH says which weights.
EXTRACTORS = {
    "librosa": ("librosa", "Librosa", False),
    "opensmile": ("opensmile", "OpenSmile", False),
    "wav2vec2": ("wav2vec2", "Wav2Vec2", True),
}


@dataclass(frozen=True)
class Frames:
    """What is heard, frame by frame.

    Attributes:
        times: float64 (t, 2), start and end of each frame in seconds.
        values: float32 (t, width).
    """

    times: np.ndarray
    values: np.ndarray


class Extractor(Protocol):
    """Makes features of sounds.

    Attributes:
        names: of its features.
        rate: frames a second.
        sample_rate: of the sound that it reads, in Hz.
        versions: of the packages and weights that its features depend on.
    """

    names: list[str]
    rate: float
    sample_rate: int
    versions: dict[str, str]

    def __call__(self, sound: np.ndarray) -> Frames:
        """Of float32 (samples,) in [-1, 1]."""


def extractor(name: str) -> Extractor:
    """The extractor of a name, such as ``librosa`` or ``wav2vec2:PATH``.

    Raises:
        UserError: there is none of that name, or a package or weights that it needs are missing.
    """
    kind, _, path = name.partition(":")
    if kind not in EXTRACTORS:
        raise UserError(f"audio features are of {', '.join(EXTRACTORS)}, not {kind!r}")
    module, class_name, takes_path = EXTRACTORS[kind]
    if bool(path) != takes_path:
        raise UserError(f"{kind}:NAME names its weights" if takes_path else f"{kind} takes no {path!r}")
    try:
        made = getattr(import_module(f"{__name__}.{module}"), class_name)
    except ImportError as error:
        extra = "opensmile" if kind == "opensmile" else "media"
        raise UserError(
            f"{kind} needs the package {error.name}; install it with: pip install 'mmsa-lightning[{extra}]'"
        ) from error
    return made(path) if takes_path else made()
