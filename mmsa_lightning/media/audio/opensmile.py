"""openSMILE's eGeMAPS: 25 features a frame. Its licence is for research alone."""

from __future__ import annotations

import numpy as np
import opensmile

from mmsa_lightning.media.audio import Frames

SHORTEST = 1600  # samples, a tenth of a second; a shorter sound is followed by silence


class OpenSmile:
    """Low-level descriptors of eGeMAPS v02, a hundred frames a second.

    Reference:
        Eyben et al., *The Geneva Minimalistic Acoustic Parameter Set*, IEEE TAFFC 2016.
    """

    sample_rate = 16_000
    rate = 100.0

    def __init__(self) -> None:
        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.LowLevelDescriptors
        )
        self.names = list(self.smile.feature_names)
        self.versions = {"opensmile": opensmile.__version__}

    def __call__(self, sound: np.ndarray) -> Frames:
        """Of float32 (samples,) in [-1, 1]."""
        padded = np.pad(sound, (0, max(0, SHORTEST - len(sound))))
        found = self.smile.process_signal(padded, self.sample_rate)
        times = np.stack([found.index.get_level_values(name).total_seconds() for name in ("start", "end")], axis=1)
        return Frames(times.astype(np.float64), found.to_numpy(np.float32))
