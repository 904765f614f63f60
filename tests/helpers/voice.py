"""A voice that is made up: vowels as resonances of a pulse, with times that are known to the sample."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

RATE = 16_000
# The first three resonances in Hz of a man's vowels (Peterson and Barney, 1952), and how broad they are.
VOWELS = {"ah": (730, 1090, 2440), "e": (270, 2290, 3010), "oh": (500, 800, 2400)}
BREADTHS = (60, 90, 150)


def say(*spoken: tuple[str, float, float]) -> np.ndarray:
    """(samples,) float32, 16 kHz: words of :data:`VOWELS`, each with its start and end in seconds, in faint noise."""
    sound = np.random.default_rng(0).normal(0, 0.001, round((spoken[-1][2] + 0.5) * RATE))
    for word, start, end in spoken:
        first, last = round(start * RATE), round(end * RATE)
        sound[first:last] += _vowel(VOWELS[word], last - first)
    return sound.astype(np.float32)


def _vowel(resonances: tuple[int, ...], samples: int) -> np.ndarray:
    pitch = np.linspace(125, 105, samples)
    sound = lfilter([1], [1, -0.95], np.diff(np.floor(np.cumsum(pitch / RATE)), prepend=0))
    for resonance, breadth in zip(resonances, BREADTHS, strict=True):
        r = np.exp(-np.pi * breadth / RATE)
        sound = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * resonance / RATE), r * r], sound)
    ends = np.minimum(np.arange(samples), np.arange(samples)[::-1]) / 400
    sound *= np.minimum(1, ends)
    return 0.3 * sound / np.abs(sound).max()
