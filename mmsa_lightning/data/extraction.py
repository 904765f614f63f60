"""How features were made of videos, as a store and a package keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from mmsa_lightning.annotations import describe, fits


@dataclass(frozen=True)
class Extraction:
    """By what and how; see :mod:`mmsa_lightning.media.tools`.

    Attributes:
        audio, vision, words: names of the extractors.
        aligned: features are averaged within words.
        rates: frames a second, by modality.
        versions: of the packages and weights that features depend on.
    """

    audio: str
    vision: str
    words: str
    aligned: bool
    rates: dict[str, float]
    versions: dict[str, str]

    def __str__(self) -> str:
        made = [f"{m} by {getattr(self, m)}, {rate:.4g} frames a second" for m, rate in self.rates.items()]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{'; '.join(made)}; words by {self.words} where no text was given; {versions}"


def read(value: Any) -> Extraction:
    """From the plain values that it became.

    Raises:
        ValueError: something is missing, of another type, or not known.
    """
    hints = get_type_hints(Extraction)
    if not isinstance(value, Mapping) or set(value) != {field.name for field in fields(Extraction)}:
        raise ValueError("its extraction has not the fields that it should have")
    for name, hint in hints.items():
        if not fits(value[name], hint):
            raise ValueError(f"its extraction's {name} is not {describe(hint)}")
    return Extraction(**value)
