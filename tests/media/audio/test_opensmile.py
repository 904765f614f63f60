"""eGeMAPS of a tone."""

from __future__ import annotations

import numpy as np
import pytest
import videos

from mmsa_lightning.media.audio import extractor

pytest.importorskip("opensmile", reason="opensmile, an extra of its own, is not installed")


def test_a_tone_has_its_pitch() -> None:
    smile = extractor("opensmile")
    assert len(smile.names) == 25
    found = smile(videos.tone(1.0, 220.0, 16_000))
    assert found.values.shape == (len(found.times), 25)
    assert len(found.times) == pytest.approx(smile.rate, abs=6)
    pitch = found.values[:, smile.names.index("F0semitoneFrom27.5Hz_sma3nz")]
    np.testing.assert_allclose(pitch[20:-20], 36, atol=0.5)  # three octaves above 27.5 Hz


def test_a_very_short_sound_has_finite_frames() -> None:
    found = extractor("opensmile")(np.zeros(10, np.float32))
    assert len(found.values)
    assert np.isfinite(found.values).all()
