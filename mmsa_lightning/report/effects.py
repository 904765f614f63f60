"""What each part of the paper's model changes, over all rows of an ablation that differ in it alone.

In Tables 5 and 6 each of three parts is on or off, in all eight ways. The mean over four pairs of rows uses every run
for every part, and tells more than the one pair of a row and the whole model (main effects of a factorial design: Box,
Hunter & Hunter, Statistics for Experimenters, 2005, chapter 5).
"""

from __future__ import annotations

from collections.abc import Iterable

from mmsa_lightning.report.comparison import Comparison, Test, tests
from mmsa_lightning.report.significance import contrast

PARTS = {"bi": "attention between modalities", "uni": "attention within each", "weight": "weights of losses"}
_ROWS = {"none": frozenset[str](), "full": frozenset(PARTS)}


def pairs(rows: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """By part the rows of Tables 5 and 6 that differ in it alone, the one with it first; no part that has no pair."""
    known = {own: row for row in rows if (own := _parts(row)) is not None}
    found = {
        part: [(row, known[own - {part}]) for own, row in known.items() if part in own and own - {part} in known]
        for part in PARTS
    }
    return {part: own for part, own in found.items() if own}


def effects(found: Comparison) -> dict[str, Test]:
    """By part, MAE times 100 of the rows with it minus that of those without; empty where no part has two pairs.

    With one pair each, tests of the rows themselves say the same.
    """
    maes = {row: own["mae"] for row, own in found.samples.items()}
    compared = pairs(maes)
    if max(map(len, compared.values()), default=0) < 2:
        return {}
    return tests(
        {
            part: contrast(
                [(sign / len(own), maes[row]) for pair in own for sign, row in zip((1, -1), pair, strict=True)]
            )
            for part, own in compared.items()
        }
    )


def _parts(row: str) -> frozenset[str] | None:
    """Those that a row has; None for a row of another table."""
    own = _ROWS.get(row, frozenset(row.split("_")))
    return own if own <= PARTS.keys() else None
