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
    mean = _minus(f"{figure.mean:z.2f}")
    return mean if math.isnan(figure.std) else f"{mean} ± {figure.std:.2f}"


def signed(value: float) -> str:
    """To two places, with its sign, as far as it is defined."""
    return "undefined" if math.isnan(value) else _minus(f"{value:+z.2f}")


def interval(found: Estimate, form: str = "+z.2f") -> str:
    """The 95 % interval, as far as it is defined; by default that of a difference, with signs and to two places."""
    return "undefined" if math.isnan(found.low) else _minus(f"{found.low:{form}} to {found.high:{form}}")


def _minus(text: str) -> str:
    """Numbers with the sign that is as wide as a plus."""
    return text.replace("-", "−")


def shown_p(value: float) -> str:
    """To four places, as far as it is defined."""
    if math.isnan(value):
        return "undefined"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def short_p(value: float) -> float | None:
    """To four significant digits; None where it is undefined."""
    return None if math.isnan(value) else float(f"{value:.4g}")


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
        f"seeds and utterances ({RESAMPLES} resamples of the utterances); where a row has one seed, what another would "
        "change is left out"
    )


def ranked(seeds: Sequence[int]) -> str:
    """What ranks are over, in words.

    Args:
        seeds: of each row.
    """
    if max(seeds) == 1:
        return "ranks by MAE over resampled utterances, of one seed a row"
    alone = "; rows with one seed keep it" if min(seeds) == 1 else ""
    return f"ranks by MAE over resampled seeds and utterances{alone}"


def said_of(found: dict[str, Test], fewest: int) -> str:
    """How p is corrected, and what the tests could have shown, in words; of those that are defined.

    Args:
        found: by row.
        fewest: seeds of a row.
    """
    defined = [test.difference for test in found.values() if not math.isnan(test.difference.p)]
    if not defined:
        return "no comparison is defined."
    return f"p by Holm over {len(defined)} comparisons. {power(defined, fewest)}"


def power(found: Sequence[Estimate], fewest: int) -> str:
    """The smallest differences that tests could have shown, in words.

    Args:
        found: what was tested.
        fewest: seeds of a row; of two the variance is so uncertain that ``experiments/benchmarks/intervals.py`` finds
            less power than was promised.
    """
    values = sorted(estimate.detectable for estimate in found)
    spread = f" (median; {values[0]:.2f} to {values[-1]:.2f})" if len(values) > 1 else ""
    share = "80 % power (with two seeds 59 to 68 %)" if fewest == 2 else "80 % power"
    return (
        f"Smallest difference that could have been shown, with {share} at p < .05 before Holm's correction: "
        f"{np.median(values):.2f}{spread}."
    )
