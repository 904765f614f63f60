"""Missing modalities: which steps of an utterance a model does not get to see.

A mask is a pure function of the mask seed, the split, the utterance's id, the modality and, in training, the epoch. So
it is the same for every model, batch size, order, number of processes and of workers, and in a run that is continued.
Each step has a uniform number that is compared with the rate: what is missing at one rate is missing at every higher.

============  =======================================================================================================
mode          what is missing at the rate r
============  =======================================================================================================
``frames``    each step with probability r, of each modality by itself: TFR-Net (Yuan et al., ACM MM 2021), EMT-DLFR
              (Sun et al., IEEE TAFFC 2023), LNLN (Zhang et al., NeurIPS 2024)
``block``     one run of round(r · steps) steps; where the sequences have the same steps, the same in all: CIDer
``modality``  each modality with probability r, but never all: the one with the largest number stays (as GCNet, Lian et
              al., IEEE TPAMI 2023, at least one; there their number is fixed)
============  =======================================================================================================

The first and the last step of text that comes as tokens, [CLS] and [SEP], always stay.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import numpy as np

from mmsa_lightning.annotations import describe, fits
from mmsa_lightning.modalities import MODALITIES

MODES = ("frames", "block", "modality")
TRAIN = ("none", "same", "uniform", "uniform_half")
DRAWS = ("keyed", "reference")
ABSENT = ("zeros", "learnt")
LONGEST = 100_000  # steps of a grid; published data are padded to a thousandth of it
REFERENCE_SEEDS = {"text": 111, "audio": 1111, "vision": 11111}  # thuiar/TFR-Net config_regression.py, missing_seed


@dataclass(frozen=True)
class Missing:
    """What is missing, and where.

    Attributes:
        mode: one of :data:`MODES`; see the module.
        rate: of valid and test, in [0, 1].
        train: ``none``: train is complete. ``same``: it misses as much as test. ``uniform``: of each utterance and
            modality a rate is drawn from U(0, 1) in each epoch. ``uniform_half``: the same, but with probability 1/2
            the rate is 0 (LNLN: ``core/dataset.py``, where it is exactly half of the utterances).
        seed: of the masks.
        draw: ``keyed``: see the module. ``reference``: TFR-Net's own masks, see :func:`reference`; one draw for all
            epochs.
        grid: of ``reference``: the padded length of the source by modality; None for the longest of the store.
        absent: what stands for a dropped modality: ``zeros``, or a ``learnt`` vector. Of text as tokens it is always
            [CLS], unknown tokens and [SEP].
        present: these modalities and no others, in valid and test; None: what ``rate`` says.

    Raises:
        ValueError: a value that is none of those above, or two that do not go together.
    """

    mode: str = "frames"
    rate: float = 0.0
    train: str = "none"
    seed: int = 1
    draw: str = "keyed"
    grid: dict[str, int] | None = None
    absent: str = "zeros"
    present: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, choices in (("mode", MODES), ("train", TRAIN), ("draw", DRAWS), ("absent", ABSENT)):
            if getattr(self, name) not in choices:
                raise ValueError(f"missing.{name}={getattr(self, name)}: choose one of {', '.join(choices)}")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"missing.rate={self.rate}: give a number from 0 to 1")
        if self.seed < 0:
            raise ValueError(f"missing.seed={self.seed}: give a whole number from 0")
        if self.draw == "reference" and (self.mode != "frames" or self.train not in ("none", "same") or self.seed != 1):
            raise ValueError(
                "missing.draw=reference has TFR-Net's masks and seeds: it goes with missing.mode=frames, missing.train="
                "none or same, and no missing.seed"
            )
        if self.grid is not None and self.draw != "reference":
            raise ValueError("missing.grid is the padded length of missing.draw=reference: leave it out")
        if self.grid is not None and (not set(self.grid) <= set(MODALITIES) or min(self.grid.values(), default=1) < 1):
            raise ValueError(f"missing.grid={self.grid}: give a number of steps for some of {', '.join(MODALITIES)}")
        if self.grid is not None and max(self.grid.values(), default=1) > LONGEST:
            raise ValueError(f"missing.grid={self.grid}: give {LONGEST} steps at most")
        if self.absent == "learnt" and (self.mode != "modality" or self.train == "none"):
            raise ValueError(
                "missing.absent=learnt: the vector is learnt from dropped modalities: it goes with missing.mode="
                "modality and a missing.train other than none"
            )

    def applies(self, split: str) -> bool:
        """Whether anything can be missing in a split."""
        if split == "train" and self.train != "same":
            return self.train != "none"
        return self.rate > 0 or (split != "train" and self.present is not None)


OPTIONS = {f.name: get_type_hints(Missing)[f.name] for f in fields(Missing) if f.name != "present"}


def read(options: Mapping[str, Any]) -> Missing:
    """The ``missing`` part of a config.

    Raises:
        ValueError: what is wrong with it.
    """
    if set(options) != set(OPTIONS):
        raise ValueError(f"missing holds {', '.join(options)}: give {', '.join(OPTIONS)}")
    for name, hint in OPTIONS.items():
        if not fits(options[name], hint):
            raise ValueError(f"missing.{name}={options[name]}: give {describe(hint)}")
    return Missing(**options)


@dataclass(frozen=True)
class Masks:
    """The masks of one split of a store.

    Args:
        missing: what is missing.
        split: train, valid or test.
        aligned: the sequences of the store, read or not, have the same steps in every utterance.
        marked: the modalities on the steps of the store's tokens: their first and last step, of marks, are in no block.
        framed: those whose marks always stay: text as tokens.
        grid: (utterances, padded length) by modality, for ``draw: reference``.
    """

    missing: Missing
    split: str
    aligned: bool
    marked: tuple[str, ...]
    framed: tuple[str, ...]
    grid: Mapping[str, tuple[int, int]]

    def kept(self, i: int, id: str, epoch: int, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Which steps of an utterance stay.

        Args:
            i: its position in the split.
            id: of it.
            epoch: of training, from 0; 0 in evaluation.
            lengths: its steps by modality, each at least 1.

        Returns:
            by modality, bool (steps,).
        """
        if self.missing.mode == "modality":
            stays = self._modalities(id, epoch, list(lengths))
            kept = {m: np.full(length, stays[m]) for m, length in lengths.items()}
        elif self.missing.draw == "reference":
            kept = {m: reference(m, *self.grid[m], self.missing.rate)[i, :length] for m, length in lengths.items()}
        elif self.missing.mode == "block":
            kept = {m: self._block(id, m, epoch, length) for m, length in lengths.items()}
        else:
            kept = {m: self._frames(id, m, epoch, length) for m, length in lengths.items()}
        for m in self.framed:
            if m in kept:
                kept[m] = kept[m].copy()
                kept[m][[0, -1]] = True
        return kept

    def dropped(self, id: str, epoch: int, modalities: list[str]) -> list[bool]:
        """Of each of :data:`MODALITIES`, whether an utterance lacks it as a whole; never where ``mode`` is another."""
        if self.missing.mode != "modality":
            return [False] * len(MODALITIES)
        stays = self._modalities(id, epoch, modalities)
        return [not stays.get(m, True) for m in MODALITIES]

    def _modalities(self, id: str, epoch: int, modalities: list[str]) -> dict[str, bool]:
        if self.missing.present is not None and self.split != "train":
            return {m: m in self.missing.present for m in modalities}
        drawn = {m: self._uniform(id, m, epoch, 3) for m in modalities}
        stays = {m: bool(u[2] >= self._rate(u)) for m, u in drawn.items()}
        if not any(stays.values()):
            stays[max(modalities, key=lambda m: drawn[m][2])] = True
        return stays

    def _frames(self, id: str, modality: str, epoch: int, length: int) -> np.ndarray:
        u = self._uniform(id, modality, epoch, 2 + length)
        return u[2:] >= self._rate(u)

    def _block(self, id: str, modality: str, epoch: int, length: int) -> np.ndarray:
        # Where the block lies goes by one number for all rates, so that a longer block contains a shorter one.
        u = self._uniform(id, "all" if self.aligned else modality, epoch, 3)
        marks = modality in self.marked
        inner = max(0, length - 2 * marks)
        size = round(inner * self._rate(u))
        start = marks + int(u[2] * (inner - size + 1))
        kept = np.ones(length, dtype=bool)
        kept[start : start + size] = False
        return kept

    def _rate(self, u: np.ndarray) -> float:
        """The rate of an utterance and modality, drawn from the first two of its numbers where it is not fixed."""
        if self.split != "train" or self.missing.train == "same":
            return self.missing.rate
        return 0.0 if self.missing.train == "uniform_half" and u[0] < 0.5 else float(u[1])

    def _uniform(self, id: str, modality: str, epoch: int, count: int) -> np.ndarray:
        """float64 (count,) in [0, 1); more of them begin with the same."""
        key = json.dumps([self.missing.seed, self.split, id, modality, epoch if self.split == "train" else 0])
        digest = hashlib.sha256(key.encode()).digest()
        # Raw words: NumPy keeps a bit generator's stream for ever, but not what its Generator makes of it (NEP 19).
        words = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)
        return (words >> np.uint64(11)) * 2.0**-53


@functools.lru_cache(maxsize=9)  # three modalities of three splits
def reference(modality: str, utterances: int, width: int, rate: float) -> np.ndarray:
    """TFR-Net's mask of a split, bit for bit: ``data/load_data.py``, ``generate_m``, before it restores its marks.

    It draws over the padded grid, in the order of the file, from the same seed in every split. So the mask of an
    utterance depends on its position, and on ``width``: the padded length of the file that was read (50 for text, 375
    for audio and 500 for vision in MMSA's unaligned MOSI), padded on the right.

    Returns:
        bool (utterances, width), True where a step stays.
    """
    drawn = np.random.RandomState(REFERENCE_SEEDS[modality]).uniform(size=(utterances, width))
    kept = drawn > rate
    kept.flags.writeable = False
    return kept
