"""CH-SIMS's own recipe: 33 features a frame by librosa, at 22 050 Hz."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import librosa
import numpy as np

from mmsa_lightning.media.audio import Frames

HOP = 512  # samples from frame to frame, librosa's usual
MFCC = 20
SHORTEST = 2048  # samples: a window of the transform; a shorter sound is followed by silence


class Librosa:
    """Zero-crossing rate, 20 mel-frequency cepstral coefficients and 12 constant-Q chroma bins.

    Reference:
        Yu et al., *CH-SIMS*, ACL 2020, section 3.3: 33 features a frame of sound at 22 050 Hz.
    """

    sample_rate = 22_050
    rate = sample_rate / HOP

    def __init__(self) -> None:
        tones = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
        self.names = ["zero_crossing_rate", *(f"mfcc_{i + 1}" for i in range(MFCC)), *(f"chroma_{t}" for t in tones)]
        self.versions = {"librosa": version("librosa")}

    def __call__(self, sound: np.ndarray) -> Frames:
        """Of float32 (samples,) in [-1, 1]; times of a frame are of its hop, around which its window lies."""
        count = 1 + max(0, len(sound) - 1) // HOP
        padded = np.pad(sound, (0, max(0, SHORTEST - len(sound))))
        given = {"y": padded, "hop_length": HOP}
        with warnings.catch_warnings():
            for harmless in ("n_fft=", "Trying to estimate tuning"):  # of a sound that is short, or silent
                warnings.filterwarnings("ignore", harmless)
            features = self._features(given)
        values = np.concatenate([found[:, :count] for found in features]).T
        start = (np.arange(len(values)) - 0.5) * HOP / self.sample_rate
        return Frames(np.stack([start, start + HOP / self.sample_rate], axis=1), values.astype(np.float32))

    def _features(self, given: dict[str, Any]) -> list[np.ndarray]:
        return [
            librosa.feature.zero_crossing_rate(**given),
            librosa.feature.mfcc(sr=self.sample_rate, n_mfcc=MFCC, **given),
            librosa.feature.chroma_cqt(sr=self.sample_rate, **given),
        ]
