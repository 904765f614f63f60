"""What the paper prints, from ``experiments/paper``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmsa_lightning import files
from mmsa_lightning.experiment.config import PACKAGE


@dataclass(frozen=True)
class Printed:
    """One row of a table in the paper.

    Attributes:
        name: as printed.
        figures: by column, as printed; empty where the paper prints none.
        errata: by column, what is wrong with it.
    """

    name: str
    figures: dict[str, str]
    errata: dict[str, str]

    def figure(self, column: str) -> float | None:
        """The figure to compare with; None where there is none, or none that can be right."""
        printed = self.figures.get(column, "")
        return None if not printed or column in self.errata else float(printed)


def printed(number: int) -> dict[str, Printed]:
    """The rows of a table, 1 to 6, by their names here."""
    rows = {}
    for record in files.read_rows(paper_dir() / f"table{number}.csv"):
        row, name, erratum = record.pop("row"), record.pop("name"), record.pop("erratum")
        errata = dict(part.split(": ", 1) for part in erratum.split("; ")) if erratum else {}
        rows[row] = Printed(name, record, errata)
    return rows


def published_auilc(data: str) -> list[dict[str, str]]:
    """EMT-DLFR's Table 6 on a data set, ``row``, ``name`` and metrics times 100; empty where it has none."""
    return [record for record in files.read_rows(paper_dir() / "auilc.csv") if record["data"] == data]


def paper_dir() -> Path:
    """``experiments/paper`` of the checkout, or of the wheel where there is no checkout."""
    inside = PACKAGE / "experiments" / "paper"
    return inside if inside.is_dir() else PACKAGE.parent / "experiments" / "paper"
