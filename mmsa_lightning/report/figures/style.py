"""What figures have in common: colours, lines, markers, axes, legends and files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmsa_lightning import files
from mmsa_lightning.report.paper import Printed

mpl.rcParams["svg.hashsalt"] = "mmsa-lightning"  # the same figure is the same file
mpl.rcParams["text.parse_math"] = False  # an id such as video$_$3 is no formula

# One for each row of a figure of curves, as far as they go.
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (7, 2)), (0, (3, 1, 1, 1)))
MARKERS = "osD^v<>PX*"

INK, PALE = "#1b4f72", "#7f8c8d"


def names_of(rows: Sequence[str], paper: dict[str, Printed]) -> list[str]:
    """As the paper calls them, else as they are, in lines that leave room for the figure."""
    return [textwrap.fill(paper[row].name if row in paper else row, 40) for row in rows]


def room(inches: float, names: Sequence[str]) -> float:
    """Inches for so many rows: as many for each as are given, more where a name takes several lines."""
    return len(names) * max(inches, 0.18 * max(1 + name.count("\n") for name in names))


def plain(axis: Axes, grid: Literal["x", "both"] = "both") -> None:
    """A grid behind, and no box.

    Args:
        axis: that is changed.
        grid: along which axis: x or both.
    """
    axis.grid(axis=grid, color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, columns: int) -> None:
    """One legend of what all panels show, each label once."""
    handles = {
        label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)


def save_figure(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.png`` and ``<stem>.svg``."""
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        with files.aside(stem.with_name(stem.name + suffix)) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=metadata)
