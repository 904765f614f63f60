"""Which face is taken of several."""

from __future__ import annotations

import numpy as np
import pytest

from mmsa_lightning.media.vision import speaker

NAN = np.nan


def faces(*rows: list[float]) -> np.ndarray:
    return np.array(rows, float)


def test_the_largest_and_longest_seen_is_taken() -> None:
    size = faces([0.1] * 10, [0.3] * 10, [0.9] * 2 + [NAN] * 8)
    taken, (line,) = speaker.choose(size, size, None)
    assert taken == [1]
    assert line == "up to 3 faces at once, in 10 frames; one is taken: the largest and longest seen"


def test_faces_that_never_meet_are_taken_together() -> None:
    size = faces([0.3] * 4 + [NAN] * 4, [NAN] * 6 + [0.2] * 2, [NAN] * 3 + [0.2] * 2 + [NAN] * 3)
    taken, lines = speaker.choose(size, size, None)
    assert taken == [0, 1]  # 2 was seen with 0
    assert lines[1] == "2 stretches with a face, never two at once, are taken to be of one person"


def test_one_face_needs_no_word() -> None:
    assert speaker.choose(faces([0.3, NAN]), faces([0.1, NAN]), None) == ([0], ())


def test_no_face() -> None:
    assert speaker.choose(np.zeros((0, 5)), np.zeros((0, 5)), np.zeros(5)) == ([], ())


@pytest.fixture
def talking() -> tuple[np.ndarray, np.ndarray]:
    """How far two mouths are open in 60 frames, and the sound: the second one speaks in two of four stretches."""
    rng = np.random.default_rng(0)
    loud = np.repeat([0.0, 1.0, 0.0, 1.0], 15)
    mouth = np.stack([rng.uniform(size=60) * 0.1, loud * (np.arange(60) % 2) * 0.5])
    return mouth, loud + rng.uniform(size=60) * 0.1


def test_the_sound_takes_the_smaller_face(talking: tuple[np.ndarray, np.ndarray]) -> None:
    mouth, energy = talking
    size = np.stack([np.full(60, 0.3), np.full(60, 0.2)])
    assert speaker.choose(size, mouth, None)[0] == [0]
    taken, (line,) = speaker.choose(size, mouth, energy)
    assert taken == [1]
    assert "its mouth moves with the sound (r 0.9" in line
    assert speaker.choose(size, mouth[::-1], energy)[0] == [0]
    assert speaker.choose(size, mouth, np.zeros(60))[0] == [0]


def test_a_face_seen_for_a_moment_does_not_win_by_the_sound(talking: tuple[np.ndarray, np.ndarray]) -> None:
    mouth, energy = talking
    mouth[1, 25:] = NAN
    size = np.stack([np.full(60, 0.3), np.where(np.isnan(mouth[1]), NAN, 0.2)])
    assert speaker.choose(size, mouth, energy)[0] == [0]


def test_agreement_against_numpy() -> None:
    rng = np.random.default_rng(0)
    mouth, energy = rng.uniform(size=(2, 30))
    moved, loud = np.abs(mouth[1:] - mouth[:-1]), energy[1:]

    def averaged(x: np.ndarray) -> list[float]:
        return [sum(x[j] for j in range(i - 2, i + 3) if 0 <= j < len(x)) / 5 for i in range(len(x))]

    expected = np.corrcoef(averaged(moved), averaged(loud))[0, 1]
    assert speaker.agreement(mouth, energy) == pytest.approx(expected)
    assert speaker.agreement(mouth[:15], energy[:15]) == 0  # 14 movements are too few


def test_energy_by_frame() -> None:
    sound = np.concatenate([np.full(1600, 0.5), np.zeros(1600), np.full(800, -1.0)]).astype(np.float32)
    times = np.array([[0.0, 0.1], [0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])
    np.testing.assert_allclose(speaker.energies(sound, times), [0.5, 0, 1, 0])
    # The first picture may come later than the sound, and the last one, too.
    np.testing.assert_allclose(speaker.energies(sound, times[2:]), [1, 0])
