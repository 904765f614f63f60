"""Figures of a table's rows: their metrics, their ranks, and how they differ."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mmsa_lightning.report import ranks
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.figures.style import INK, PALE, legend_below, names_of, plain, room
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.wording import in_words
from mmsa_lightning.training.protocols import LOWER_IS_BETTER


def rows_figure(compared: Comparison, title: str) -> Figure:
    """Three metrics of every row: each seed a dot, mean and standard deviation a bar, the paper's figure a diamond."""
    rows = compared.rows
    protocol = rows[0].protocol
    names = names_of(compared.names, compared.paper)
    figure = Figure(figsize=(9, 1.4 + room(0.42, names)), layout="constrained")
    axes = figure.subplots(1, len(protocol.drawn), sharey=True)
    height = np.arange(len(rows))
    for axis, metric in zip(axes, protocol.drawn, strict=True):
        found = [compared.figures[name][metric] for name in compared.names]
        for y, row in zip(height, rows, strict=True):
            axis.plot(
                100 * row.test(metric), np.full(len(row.results), y - 0.22), ".", color=PALE, ms=4, label="a seed"
            )
        axis.errorbar(
            [f.mean for f in found],
            height,
            xerr=[f.std for f in found],
            fmt="o",
            ms=5,
            color=INK,
            capsize=3,
            label="mean ± std",
        )
        known = [(f.printed, y) for f, y in zip(found, height, strict=True) if f.printed is not None]
        if known:
            axis.plot(*zip(*known, strict=True), "D", ms=6, mfc="none", mec="black", label="paper")
        axis.set_xlabel(
            f"{protocol.headings[metric]} × 100" + (" (lower is better)" if metric in LOWER_IS_BETTER else "")
        )
        plain(axis, "x")
    axes[0].set_yticks(height, names)
    axes[0].set_ylim(len(rows) - 0.6, -0.5)  # the first row above, and room for the dots of each
    legend_below(figure, 3)
    figure.suptitle(title, fontsize=11)
    return figure


def ranks_figure(rows: Sequence[str], ranked: np.ndarray, paper: dict[str, Printed], title: str) -> Figure:
    """How often each row has each rank, in %, the row that is highest in the mean above; darker is more often.

    Args:
        rows: their names.
        ranked: :func:`mmsa_lightning.report.ranks.ranks` of them.
        paper: what it calls them.
        title: above it.
    """
    order = np.argsort(ranks.mean_rank(ranked), kind="stable")
    shares = 100 * ranks.rank_shares(ranked)[order]
    names = names_of([rows[i] for i in order], paper)
    figure = Figure(figsize=(3.2 + 0.62 * len(rows), 1.2 + room(0.42, names)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(shares, cmap="Greys", vmin=0, vmax=100, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        if share:
            text = f"{share:.0f}" if share >= 1 else "<1"
            axis.text(j, i, text, ha="center", va="center", color="white" if share > 55 else "black", fontsize=9)
    axis.set_yticks(range(len(rows)), names)
    axis.set_xticks(range(len(rows)), [str(rank + 1) for rank in range(len(rows))])
    axis.set_xticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="0.85", lw=0.8)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_color("0.85")
    figure.supxlabel("rank (1: lowest MAE), % of resamples", fontsize=10)  # wider than the axis of few rows
    figure.suptitle(textwrap.fill(title, int(12 * figure.get_figwidth())), fontsize=11)
    return figure


def differences_figure(compared: Comparison, title: str) -> Figure:
    """MAE of the row that is tested minus each other row's, with 95 % intervals; filled where Holm's p is below .05."""
    found, whose = compared.tests, in_words(compared.tested)
    names = names_of(list(found), compared.paper)
    figure = Figure(figsize=(6.5, 1.2 + room(0.34, names)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="0.4", lw=1)
    for y, test in enumerate(found.values()):
        d = test.difference
        axis.plot([d.low, d.high], [y, y], color=INK, lw=1.6)
        axis.plot([d.value], [y], "o", color=INK, mfc=INK if test.corrected < 0.05 else "white", ms=6)
    axis.set_yticks(range(len(found)), names)
    axis.invert_yaxis()
    axis.set_xlabel(textwrap.fill(f"Δ MAE × 100, negative: {whose} is better (filled: p < .05 after Holm)", 80))
    plain(axis, "x")
    axis.set_title(title, fontsize=11)
    return figure
