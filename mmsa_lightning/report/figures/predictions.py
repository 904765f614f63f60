"""Figures of predictions: against labels, or of two sides against each other."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmsa_lightning.report.figures.style import INK, PALE
from mmsa_lightning.report.rows import Row


def predictions_figure(row: Row, title: str) -> Figure:
    """Predicted against true on test, mean prediction over the seeds."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axis = figure.subplots()
    predictions = row.predictions.mean(axis=0)
    ends = [min(row.labels.min(), predictions.min()), max(row.labels.max(), predictions.max())]
    axis.plot(ends, ends, color="0.6", lw=1)
    axis.plot(row.labels, predictions, ".", color=INK, ms=4, alpha=0.5)
    axis.set_xlabel("label")
    axis.set_ylabel("mean prediction")
    axis.set_aspect("equal")
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.set_title(textwrap.fill(title, 60), fontsize=11)
    return figure


def against_figure(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> Figure:
    """The predictions of one side over another's: darker for lower labels, and a shape for each sign.

    Args:
        a: float64 (utterances,), across.
        b: likewise, up.
        labels: likewise; crosses where it is NaN.
    """
    figure = Figure(figsize=(6.2, 5.2), layout="constrained")
    axis = figure.subplots()
    ends = [min(a.min(), b.min()), max(a.max(), b.max())]
    axis.plot(ends, ends, color="0.4", lw=1)
    known = labels[~np.isnan(labels)]
    shown: dict[str, Any] = {"cmap": "cividis", "s": 22, "lw": 0.4, "edgecolors": "0.25", "alpha": 0.8}
    if len(known):
        shown |= {"vmin": known.min(), "vmax": known.max()}
    for marker, name, group in (
        ("v", "label below 0", labels < 0),
        ("o", "label 0", labels == 0),
        ("^", "label above 0", labels > 0),
    ):
        if group.any():
            drawn = axis.scatter(a[group], b[group], c=labels[group], marker=marker, label=name, **shown)
    if (unknown := np.isnan(labels)).any():
        axis.plot(a[unknown], b[unknown], "x", color=PALE, ms=4, label="no label")
    if len(known):
        figure.colorbar(drawn, label="label")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    axis.set_xlabel("prediction of A")
    axis.set_ylabel("prediction of B")
    axis.set_aspect("equal")
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    return figure


def signs_figure(values: np.ndarray, xlabel: str, names: tuple[str, str]) -> Figure:
    """How differences are distributed, on both sides of zero.

    Args:
        values: float64 (utterances,).
        xlabel: what they are.
        names: of what is below zero and of what is above.
    """
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axis = figure.subplots()
    limit = np.abs(values).max() or 1.0
    edges = np.linspace(-limit, limit, 41).tolist()  # with one at zero
    for name, side, style in (
        (names[0], values[values < 0], {"color": "0.8", "hatch": "///"}),
        (names[1], values[values > 0], {"color": INK, "alpha": 0.6}),
    ):
        axis.hist(side, edges, edgecolor="white", lw=0.3, label=f"{name}: {len(side)}", **style)
    axis.axvline(0, color="0.2", lw=1)
    axis.axvline(values.mean(), color="black", lw=1.4, ls="--", label=f"mean: {values.mean():+.3f}")
    axis.set_xlabel(xlabel)
    axis.set_ylabel("utterances")
    axis.legend(frameon=False, fontsize=9)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
