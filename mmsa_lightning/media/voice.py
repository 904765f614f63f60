"""Where in a sound somebody speaks: Silero's voice activity detector, from its package."""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.media.decode import SPEECH_RATE

PACKAGE = "silero_vad"
CHUNK = 512  # samples that it judges at once, 32 ms
LIKELY = 0.5  # probability of voice from which a chunk counts, the detector's own
HOLD = 5  # chunks: a pause shorter than this, 160 ms, belongs to the speech around it
MODEL = "silero_vad.jit"
SHA256 = {MODEL: "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720"}  # of version 6.2.3


@cache
def _detector() -> Any:
    """TorchScript, which executes no Python; only a file that is known is read."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError("silero-vad is not installed; install it with: pip install 'mmsa-lightning[media]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    files.check_published(folder, SHA256, "install it with: pip install silero-vad==6.2.3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its authors publish no other form that needs torch alone
        return torch.jit.load(folder / MODEL).eval()


def versions() -> dict[str, str]:
    """Of what voice is found with."""
    return {"silero-vad": version("silero-vad")}


@torch.inference_mode()
def probabilities(sound: np.ndarray) -> np.ndarray:
    """Of voice in each chunk of 32 ms: float32 (samples,) at 16 kHz -> float32 (chunks,)."""
    detector = _detector()
    detector.reset_states()
    chunks = torch.from_numpy(np.pad(sound, (0, -len(sound) % CHUNK))).view(-1, CHUNK)
    return np.array([detector(chunk[None], SPEECH_RATE).item() for chunk in chunks], np.float32)


def voiced(sound: np.ndarray) -> np.ndarray:
    """Whether there is voice in each chunk of 32 ms, short pauses included: -> bool (chunks,)."""
    found = probabilities(sound) >= LIKELY
    places = np.flatnonzero(found)
    for before, after in itertools.pairwise(places):
        if after - before <= HOLD:
            found[before:after] = True
    return found


def share(voice: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The share of each frame in which there is voice.

    Args:
        voice: bool (chunks,), of :func:`voiced`.
        times: float (t, 2), in seconds from the start of the sound.

    Returns:
        float64 (t,).
    """
    summed = np.concatenate([[0.0], np.cumsum(voice)])
    edges = np.clip(times * SPEECH_RATE / CHUNK, 0, len(voice))
    reached = np.interp(edges, np.arange(len(summed)), summed)
    return (reached[:, 1] - reached[:, 0]) / np.maximum(edges[:, 1] - edges[:, 0], 1e-9)
