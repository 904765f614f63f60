"""Figures as parts of the input are missing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mmsa_lightning.report.figures.style import LINES, MARKERS, legend_below, plain
from mmsa_lightning.training.protocols import LOWER_IS_BETTER


def robustness_figure(curves: Sequence[Any], title: str) -> Figure:
    """Three metrics over what is missing, a line a row: mean over seeds and mask seeds, and one deviation.

    Rows that differ in what was missing in training have one colour and shape, filled for training on complete data.

    Args:
        curves: of one mode, :class:`mmsa_lightning.report.curves.Curve`.
    """
    figure = Figure(figsize=(11, 4.2 + 0.2 * -(-len(curves) // 3)), layout="constrained")
    protocol = curves[0].protocol
    shown = protocol.drawn
    models: dict[str, list[str]] = {}  # the rows of each, the one of complete data first
    for curve in curves:
        rows = models.setdefault(curve.model, [curve.model])
        if curve.row != curve.model:
            rows.append(curve.row)
    shades = dict(zip(models, mpl.colormaps["viridis"](np.linspace(0, 0.85, len(models))), strict=True))
    markers = dict(zip(models, itertools.cycle(MARKERS), strict=False))
    for axis, metric in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for i, curve in enumerate(curves):
            values = 100 * curve.values[metric]
            subsets = curve.mode == "modality"
            x = np.arange(values.shape[1]) + (0.6 * ((i + 0.5) / len(curves) - 0.5) if subsets else 0)  # side by side
            known = ~np.isnan(values).all(axis=0)  # of one model a rate, some may not be there yet
            if not known.any():
                continue
            mean, shade = np.nanmean(values[:, known], axis=0), shades[curve.model]
            training = models[curve.model].index(curve.row)
            style = {"color": shade, "marker": markers[curve.model], "ms": 4, "mfc": "white" if training else shade}
            line = "" if subsets else LINES[training % len(LINES)]
            axis.plot(x[known], mean, linestyle=line, label=curve.row, **style)
            if len(values) > 1:
                std = values[:, known].std(axis=0, ddof=1)
                if subsets:
                    axis.errorbar(x[known], mean, yerr=std, fmt="none", ecolor=shade, capsize=2)
                else:
                    axis.fill_between(x[known], mean - std, mean + std, color=shade, alpha=0.08, lw=0)
        if curves[0].mode == "modality":
            axis.set_xticks(range(len(curves[0].at)), [at.replace("+", "\n") for at in curves[0].at], fontsize=7)
            axis.set_xlabel("modalities that are there")
        else:
            axis.set_xticks(range(len(curves[0].at)), [f"{100 * float(at):g}" for at in curves[0].at])
            axis.set_xlabel("missing, %")
        better = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        axis.set_ylabel(f"{protocol.headings[metric]} × 100{better}")
        plain(axis)
    legend_below(figure, 3)
    figure.suptitle(title, fontsize=11)
    return figure
