"""Where there is voice. Speech itself is in the recordings of `tests/media/test_recordings.py`."""

from __future__ import annotations

import numpy as np
import pytest
import videos

from mmsa_lightning.media import voice


@pytest.mark.parametrize("name", ["silence", "tone", "noise", "nothing"])
def test_what_is_no_voice(name: str) -> None:
    sounds = {
        "silence": np.zeros(16_000, np.float32),
        "tone": videos.tone(1.0, rate=16_000),
        "noise": np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32),
        "nothing": np.zeros(0, np.float32),
    }
    found = voice.voiced(sounds[name])
    assert len(found) == -(-len(sounds[name]) // 512)
    assert not found.any()


def test_short_pauses_belong_to_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    given = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0], np.float32)
    monkeypatch.setattr(voice, "probabilities", lambda sound: given)
    assert voice.voiced(np.zeros(1)).astype(int).tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0]


def test_the_share_of_a_frame() -> None:
    chunk = 512 / 16_000
    voiced = np.array([False, True, True, False])
    times = np.array([[0, 1], [0.5, 1.5], [1, 3], [2.75, 3.25], [3, 9], [-1, 0]]) * chunk
    np.testing.assert_allclose(voice.share(voiced, times), [0, 0.5, 1, 0.5, 0, 0], atol=1e-9)
