"""Figures as parts of the input are missing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmsa_lightning.report.figures.style import INK, LINES, MARKERS, legend_below, plain
from mmsa_lightning.training.protocols import LOWER_IS_BETTER

TOGETHER = 4  # models whose curves one panel can hold
CONTEXT = "0.82"  # grey of the other models' curves
TRAININGS = (INK, "#d35400", "#27ae60", "#8e44ad")  # colours of the ways of training one model


def robustness_figure(curves: Sequence[Any], title: str) -> Figure:
    """Three metrics over what is missing, a line a row: mean over seeds and mask seeds, and one deviation.

    Rows that differ in what was missing in training have one colour and shape, filled for training on complete data. Of
    more models than :data:`TOGETHER` each has a column of panels of its own, before those of the others in grey.

    Args:
        curves: of one mode, :class:`mmsa_lightning.report.curves.Curve`.
    """
    models: dict[str, list[Any]] = {curve.model: [] for curve in curves}
    for curve in sorted(curves, key=lambda curve: curve.complete is not None):  # that of complete data first
        models[curve.model].append(curve)
    figure = _apart(models) if len(models) > TOGETHER else _together(models)
    legend_below(figure, 3)
    figure.suptitle(title, fontsize=11)
    return figure


def _together(models: dict[str, list[Any]]) -> Figure:
    """A panel a metric."""
    curves = [curve for own in models.values() for curve in own]
    figure = Figure(figsize=(11, 4.2 + 0.2 * -(-len(curves) // 3)), layout="constrained")
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(models)))
    shown = curves[0].protocol.drawn
    for axis, metric in zip(figure.subplots(1, len(shown)), shown, strict=True):
        places = iter(_places(len(curves)))
        for own, shade, marker in zip(models.values(), shades, itertools.cycle(MARKERS), strict=False):
            for training, curve in enumerate(own):
                _draw(axis, curve, metric, next(places), shade, marker, training, curve.row)
        _name_values(axis, curves[0], metric)
        _name_missing(axis, curves[0], upright=False)
        axis.set_xlabel(_missing(curves[0]))
    return figure


def _apart(models: dict[str, list[Any]]) -> Figure:
    """A column of panels a model, a row a metric; all panels of a row have one scale."""
    curves = [curve for own in models.values() for curve in own]
    shown = curves[0].protocol.drawn
    figure = Figure(figsize=(max(11, 1.45 * len(models)), 2.1 * len(shown) + 1.5), layout="constrained")
    grid = figure.subplots(len(shown), len(models), sharex=True, sharey="row")
    for axes, metric in zip(grid, shown, strict=True):
        for axis, (name, own) in zip(axes, models.items(), strict=True):
            for other in models.values():
                if other is not own:
                    _draw(axis, other[0], metric, 0.0, CONTEXT, "", 0, "the other models")
            first = "as named above" if len(own) == 1 else "trained on complete data"
            for training, (curve, place) in enumerate(zip(own, _places(len(own)), strict=True)):
                gaps = curve.row.removeprefix(name).strip(" []")
                trained = f"trained with parts missing: {gaps}" if gaps else first
                shade, marker = TRAININGS[training % len(TRAININGS)], MARKERS[training % len(MARKERS)]
                _draw(axis, curve, metric, place, shade, marker, training, trained)
            plain(axis)
        _name_values(axes[0], curves[0], metric)
    for axis, name in zip(grid[0], models, strict=True):
        axis.set_title(name.replace(" ", "\n"), fontsize=8)
    for axis in grid[-1]:
        _name_missing(axis, curves[0], upright=True)
    grid[-1][len(models) // 2].set_xlabel(_missing(curves[0]))
    return figure


def _places(rows: int) -> list[float]:
    """Where the rows of a panel lie beside one another, in steps of the axis."""
    return [0.6 * ((i + 0.5) / rows - 0.5) for i in range(rows)]


def _draw(
    axis: Axes, curve: Any, metric: str, place: float, shade: Any, marker: str, training: int, label: str
) -> None:
    """Mean and deviation of a row, filled if ``training`` is 0; without a marker, only a line or dots for context."""
    values = 100 * curve.values[metric]
    subsets = curve.mode == "modality"
    x = np.arange(values.shape[1]) + (place if subsets else 0)  # subsets lie side by side
    known = ~np.isnan(values).all(axis=0)  # of one model a rate, some may not be there yet
    if not known.any():
        return
    mean = np.nanmean(values[:, known], axis=0)
    context = not marker
    style = {"color": shade, "marker": marker or ("_" if subsets else ""), "ms": 8 if context else 4}
    style |= {"lw": 0.8, "zorder": 1} if context else {"mfc": "white" if training else shade}
    axis.plot(x[known], mean, linestyle="" if subsets else LINES[training % len(LINES)], label=label, **style)
    if len(values) < 2 or context:
        return
    std = values[:, known].std(axis=0, ddof=1)
    if subsets:
        axis.errorbar(x[known], mean, yerr=std, fmt="none", ecolor=shade, capsize=2)
    else:
        axis.fill_between(x[known], mean - std, mean + std, color=shade, alpha=0.08, lw=0)


def _missing(curve: Any) -> str:
    return "modalities that are there" if curve.mode == "modality" else "missing, %"


def _name_missing(axis: Axes, curve: Any, *, upright: bool) -> None:
    """Where there is little room, names stand upright and only every fifth rate has its number."""
    if curve.mode == "modality":
        names = curve.at if upright else [at.replace("+", "\n") for at in curve.at]
        axis.set_xticks(range(len(names)), names, fontsize=7, rotation=90 if upright else 0)
    else:
        rates = [f"{100 * float(at):g}" for at in curve.at]
        axis.set_xticks(range(len(rates)), [r if not upright or i % 5 == 0 else "" for i, r in enumerate(rates)])


def _name_values(axis: Axes, curve: Any, metric: str) -> None:
    better = " (lower is better)" if metric in LOWER_IS_BETTER else ""
    axis.set_ylabel(f"{curve.protocol.headings[metric]} × 100{better}")
    plain(axis)
