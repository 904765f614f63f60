"""Real recordings, where they are beside the repository: voice, words and face of an utterance together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.media import decode, voice
from mmsa_lightning.media.clips import Clip
from mmsa_lightning.media.tools import Settings, Tools

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CLIPS.is_dir(), reason="there are no recordings in ../shared/data/clips"),
]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("retalking_4.mp4", 0.8, 1.0),
        ("latentsync_demo1.mp4", 0.8, 1.0),
        ("retalking_1.mp4", 0.5, 0.7),
        ("pyfeat_face_noface.mov", 0.0, 0.0),
        ("pyfeat_single_face.mp4", 0.0, 0.0),
    ],
)
def test_where_there_is_voice(name: str, least: float, most: float) -> None:
    sound = decode.sound(CLIPS / name, 0.0, None)
    assert sound is not None
    assert least <= voice.voiced(sound).mean() <= most


def test_an_utterance_of_a_video() -> None:
    """Its text is given; she pauses from 2.4 to 3.5 s."""
    text = "My biggest weakness is asking for help when needed."
    found = Tools(Settings())(Clip("a", CLIPS / "retalking_1.mp4", 0.0, 3.4, text))
    assert [word.text for word in found.words] == text.split()
    assert found.words[-1].end == pytest.approx(2.4, abs=0.15)
    assert found.values["vision"].any(axis=1).all()
    heard = found.values["audio"].any(axis=1)
    assert heard[found.times["audio"][:, 1] < 2.2].mean() > 0.9
    assert not heard[(found.times["audio"][:, 0] > 2.7) & (found.times["audio"][:, 1] < 3.3)].any()
    for m, width in (("audio", 33), ("vision", 40)):
        on_words = found.by_words(m)
        assert on_words.shape == (9, width)
        assert np.isfinite(on_words).all()
        assert on_words.any(axis=1).all()


def test_a_face_that_leaves() -> None:
    found = Tools(Settings(audio="none", words="none"))(Clip("a", CLIPS / "pyfeat_face_noface.mov"))
    there = found.values["vision"].any(axis=1)
    assert there[:30].all()
    assert not there[45:].any()
    assert found.words == []
