"""A table of text cells as Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmsa_lightning import files

_LATEX = str.maketrans(
    {
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "<": "$<$",
        ">": "$>$",
        "±": r"$\pm$",
        "−": "$-$",
        "Δ": r"$\Delta$",
        "†": r"$^\dagger$",
    }
)


@dataclass
class Grid:
    """Cells under headings.

    Attributes:
        title: what it is, a sentence or two.
        header: of the columns; the first is the row's name, set to the left, the others to the right.
        rows: as many cells each as there are headings.
        bold: (row, column) of the cells to stand out.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    bold: set[tuple[int, int]] = field(default_factory=set)

    def markdown(self) -> str:
        """A GitHub table below its title."""
        rules = ["---", *["---:"] * (len(self.header) - 1)]
        rows = [
            [f"**{c}**" if (i, j) in self.bold else c for j, c in enumerate(row)] for i, row in enumerate(self.rows)
        ]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.header, rules, *rows)]
        return "\n".join([self.title, "", *lines]) + "\n"

    def latex(self) -> str:
        r"""A ``table`` with booktabs' rules; needs ``\usepackage{booktabs}``."""

        def line(cells: list[str]) -> str:
            return " & ".join(cells) + r" \\"

        cells = [[c.translate(_LATEX) for c in row] for row in self.rows]
        for i, j in self.bold:
            cells[i][j] = rf"\textbf{{{cells[i][j]}}}"
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{self.title.translate(_LATEX)}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
                r"\toprule",
                line([h.translate(_LATEX) for h in self.header]),
                r"\midrule",
                *[line(row) for row in cells],
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def write_grids(grids: Sequence[Grid], stem: Path) -> str:
    """Write tables one below the other, as .md and .tex.

    Args:
        grids: the tables.
        stem: of the files' names, without a suffix.

    Returns:
        the Markdown.
    """
    markdown = "\n".join(grid.markdown() for grid in grids)
    files.write_text(stem.with_suffix(".md"), markdown)
    files.write_text(stem.with_suffix(".tex"), "\n".join(grid.latex() for grid in grids))
    return markdown
