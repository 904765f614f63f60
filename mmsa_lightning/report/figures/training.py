"""Figures over epochs: losses, and the labels that are generated."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.report.figures.style import INK, LINES, MARKERS, legend_below, plain
from mmsa_lightning.report.history import FOLLOWED, together

LOSSES = {  # name in metrics.csv: label, line
    "train/loss": ("total", "-"),
    "train/loss_multimodal": ("multimodal", "--"),
    "train/loss_text": ("text", "-."),
    "train/loss_audio": ("audio", ":"),
    "train/loss_vision": ("vision", (0, (5, 1, 1, 1, 1, 1))),
}


def losses_figure(histories: Sequence[dict[str, np.ndarray]], title: str) -> Figure:
    """Training loss by epoch, total and per task: mean over the seeds, as far as all were trained, and one deviation.

    Args:
        histories: of each seed, :func:`mmsa_lightning.report.history.read_history`.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axis = figure.subplots()
    for i, (name, (label, line)) in enumerate(LOSSES.items()):
        if any(name in history for history in histories):
            _band(axis, [*together(histories, name).T], line, str(0.15 * i), label)
    _epochs(axis)
    axis.set_ylabel("training loss")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    axis.set_title(textwrap.fill(title, 80), fontsize=11)
    return figure


def labels_figure(histories: Sequence[dict[str, np.ndarray]], title: str) -> Figure | None:
    """How generated labels drift by epoch, and how they agree with true ones where the data has these: mean over the
    seeds, as far as all were trained, and one deviation. None for runs that generate none, or are of an older version.

    Args:
        histories: as for :func:`losses_figure`.
    """
    logged = set().union(*histories)
    tasks = [task for task in MODALITIES if f"ulgm/corr_{task}" in logged]
    known = [name for name in FOLLOWED if any(f"ulgm/{name}_{task}" in logged for task in tasks)]
    if not known:
        return None
    figure = Figure(figsize=(3.2 * len(known), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        for task in tasks:
            label, line = LOSSES[f"train/loss_{task}"]
            if f"ulgm/{name}_{task}" in logged:
                _band(axis, [*together(histories, f"ulgm/{name}_{task}").T], line, INK, label)
        _epochs(axis)
        axis.set_title(FOLLOWED[name], fontsize=10)
    figure.axes[0].legend(frameon=False)
    figure.suptitle(textwrap.fill(title, 80), fontsize=11)
    return figure


def agreement_figure(courses: Sequence[Any], title: str) -> Figure:
    """How generated labels correlate with true ones by epoch: a panel a modality, a line a row.

    An epoch's mean and deviation are over the seeds that were trained so long. The utterances' own label is a dashed
    line.

    Args:
        courses: :class:`mmsa_lightning.report.agreement.Course`, known by epoch.
    """
    rows = list(dict.fromkeys(course.row for course in courses))
    modalities = list(dict.fromkeys(course.modality for course in courses))
    lines = [line for line in LINES if line != "--"]
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(rows)))  # from dark to light in grey, too
    figure = Figure(figsize=(1 + 4.2 * len(modalities), 4.2 + 0.2 * -(-len(rows) // 2)), layout="constrained")
    for axis, modality in zip(
        figure.subplots(1, len(modalities), sharey=True, squeeze=False)[0], modalities, strict=True
    ):
        own = [course for course in courses if course.modality == modality]
        for course in own:
            i = rows.index(course.row)
            values = [course.after("corr", epoch + 1) for epoch in range(max(map(len, course.epochs["corr"])))]
            style = {"marker": MARKERS[i % len(MARKERS)], "ms": 4}
            _band(axis, values, lines[i % len(lines)], shades[i], course.row, **style)
        axis.axhline(own[0].label["corr"], color="black", linestyle="--", lw=1.2, label="the label itself")
        _epochs(axis)
        axis.set_title(modality, fontsize=10)
    figure.axes[0].set_ylabel("correlation with true labels")
    legend_below(figure, 2)
    figure.suptitle(textwrap.fill(title, 40 * len(modalities)), fontsize=11)
    return figure


def label_histograms_figure(rows: Sequence[dict[str, str]], title: str) -> Figure:
    """The distribution of each task's generated labels: one row of the picture per epoch, darker for more labels.

    Args:
        rows: of a run's ``label_histograms.csv``.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = Figure(figsize=(3.2 * len(tasks), 3.4), layout="constrained")
    for axis, task in zip(figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True):
        own = [row for row in rows if row["task"] == task]
        bins = list(own[0])[2:]
        counts = np.array([[int(row[name]) for name in bins] for row in own])  # (epochs, bins)
        epochs = [int(row["epoch"]) for row in own]
        extent = (float(bins[0]), -float(bins[0]), epochs[-1] + 0.5, epochs[0] - 0.5)
        axis.imshow(counts, aspect="auto", extent=extent, cmap="Greys", interpolation="nearest", norm="log", vmin=0.5)
        axis.set_title(task, fontsize=10)
        axis.set_xlabel("generated label")
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.axes[0].set_ylabel("epoch")
    figure.suptitle(textwrap.fill(title, 32 * len(tasks)), fontsize=11)
    return figure


def _band(axis: Axes, values: Sequence[np.ndarray], line: Any, color: Any, label: str, **style: Any) -> None:
    """Of each epoch float64 (runs,): their mean, and one deviation where there are several runs."""
    epochs, mean = np.arange(1, len(values) + 1), np.array([own.mean() for own in values])
    axis.plot(epochs, mean, linestyle=line, color=color, lw=1.6, label=label, **style)
    std = np.array([own.std(ddof=1) if len(own) > 1 else np.nan for own in values])
    if not np.isnan(std).all():
        axis.fill_between(epochs, mean - std, mean + std, color=color, alpha=0.12, lw=0)


def _epochs(axis: Axes) -> None:
    """Whole epochs below, a grid behind."""
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axis)
