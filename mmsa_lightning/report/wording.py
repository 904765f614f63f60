"""How figures, differences and tests are written, and what sentences say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mmsa_lightning.report.comparison import MODEL, Figure, Test
from mmsa_lightning.report.resampling import RESAMPLES
from mmsa_lightning.report.significance import Estimate


def spread(figure: Figure) -> str:
    """Mean ± standard deviation, as far as they are defined."""
    if math.isnan(figure.mean):
        return "undefined"
    mean = _minus(f"{figure.mean:.2f}")
    return mean if math.isnan(figure.std) else f"{mean} ± {figure.std:.2f}"


def signed(value: float) -> str:
    """To two places, with its sign."""
    return _minus(f"{value:+.2f}")


def interval(found: Estimate, form: str = "+.2f") -> str:
    """The 95 % interval, as far as it is defined; by default that of a difference, with signs and to two places."""
    return "undefined" if math.isnan(found.low) else _minus(f"{found.low:{form}} to {found.high:{form}}")


def _minus(text: str) -> str:
    """Numbers with the sign that is as wide as a plus."""
    return text.replace("-", "−")


def shown_p(value: float) -> str:
    """To four places."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def short_p(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")


def rounded(value: float) -> float | None:
    """To four places; None where it is undefined."""
    return None if math.isnan(value) else round(value, 4)


def in_words(row: str | None) -> str:
    """What a sentence calls a row that is tested."""
    return "the paper's model" if row in MODEL else f"{row}"


def resampled(fewest: int) -> str:
    """What intervals and tests are over, in words.

    Args:
        fewest: seeds of a row.
    """
    if fewest > 1:
        return f"seeds and utterances ({RESAMPLES} resamples of the utterances)"
    return (
        f"seeds and utterances ({RESAMPLES} resamples of the utterances); where a row has one seed, over utterances "
        "alone, which leaves out what another seed would change"
    )


def said_of(found: dict[str, Test]) -> str:
    """How p is corrected, and what the tests could have shown, in words."""
    return f"p by Holm over {len(found)} comparisons. {power([test.difference for test in found.values()])}"


def power(found: Sequence[Estimate]) -> str:
    """The smallest differences that tests could have shown, in words."""
    values = sorted(estimate.detectable for estimate in found)
    spread = f" (median; {values[0]:.2f} to {values[-1]:.2f})" if len(values) > 1 else ""
    return (
        "Smallest difference that could have been shown, with 80 % power at p < .05 before Holm's correction: "
        f"{np.median(values):.2f}{spread}."
    )
