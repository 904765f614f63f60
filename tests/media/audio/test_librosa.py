"""CH-SIMS's recipe, against what is known of a tone."""

from __future__ import annotations

import numpy as np
import pytest
import videos

from mmsa_lightning.media.audio import extractor

RATE = 22_050


def test_a_tone_has_its_crossings_and_its_chroma() -> None:
    librosa = extractor("librosa")
    assert (librosa.sample_rate, len(librosa.names)) == (RATE, 33)
    found = librosa(videos.tone(2.0, 440.0, RATE))  # an A
    assert found.values.shape == (len(found.times), 33)
    assert found.values.dtype == np.float32
    assert len(found.times) / 2.0 == pytest.approx(librosa.rate, abs=1)
    middle = found.values[20:-20]
    np.testing.assert_allclose(middle[:, 0], 2 * 440 / RATE, rtol=0.05)
    loudest = middle[:, 21:].argmax(axis=1)
    assert {librosa.names[21 + i] for i in loudest} == {"chroma_A"}


def test_a_frame_is_where_its_sound_is() -> None:
    """A click at 1 s makes the frame around it louder than all others."""
    sound = np.zeros(2 * RATE, np.float32)
    sound[RATE : RATE + 30] = 1.0
    found = extractor("librosa")(sound)
    loudest = found.times[found.values[:, 1].argmax()]
    assert loudest[0] - 0.03 < 1.0 < loudest[1] + 0.03
    np.testing.assert_allclose(np.diff(found.times, axis=1), 512 / RATE)
    np.testing.assert_allclose(found.times[1:, 0], found.times[:-1, 1])


@pytest.mark.parametrize("samples", [1, 100, 2048])
def test_a_very_short_sound_has_a_frame(samples: int) -> None:
    found = extractor("librosa")(np.full(samples, 0.1, np.float32))
    assert len(found.values) == 1 + (samples - 1) // 512
    assert np.isfinite(found.values).all()
