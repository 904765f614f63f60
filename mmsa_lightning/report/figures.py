"""Figures, drawn with matplotlib. They can be read in grey: shapes and line styles repeat what colour says."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmsa_lightning import files
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.report import ranks
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.history import FOLLOWED, together
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.report.wording import in_words
from mmsa_lightning.training.protocols import LOWER_IS_BETTER

mpl.rcParams["svg.hashsalt"] = "mmsa-lightning"  # the same figure is the same file
mpl.rcParams["text.parse_math"] = False  # an id such as video$_$3 is no formula

# One for each row of a figure of curves, as far as they go.
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (7, 2)), (0, (3, 1, 1, 1)))
MARKERS = "osD^v<>PX*"

INK, PALE = "#1b4f72", "#7f8c8d"


def rows_figure(compared: Comparison, title: str) -> Figure:
    """Three metrics of every row: each seed a dot, mean and standard deviation a bar, the paper's figure a diamond."""
    rows = compared.rows
    protocol = rows[0].protocol
    names = _names(compared.names, compared.paper)
    figure = Figure(figsize=(9, 1.4 + _room(0.42, names)), layout="constrained")
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
        axis.grid(axis="x", color="0.9")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(height, names)
    axes[0].set_ylim(len(rows) - 0.6, -0.5)  # the first row above, and room for the dots of each
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
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
    names = _names([rows[i] for i in order], paper)
    figure = Figure(figsize=(3.2 + 0.62 * len(rows), 1.2 + _room(0.42, names)), layout="constrained")
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
    axis.set_xlabel("rank (1: lowest MAE), % of resamples")
    figure.suptitle(textwrap.fill(title, int(12 * figure.get_figwidth())), fontsize=11)
    return figure


def _names(rows: Sequence[str], paper: dict[str, Printed]) -> list[str]:
    """As the paper calls them, else as they are, in lines that leave room for the figure."""
    return [textwrap.fill(paper[row].name if row in paper else row, 40) for row in rows]


def _room(inches: float, names: Sequence[str]) -> float:
    """Inches for so many rows: as many for each as are given, more where a name takes several lines."""
    return len(names) * max(inches, 0.18 * max(1 + name.count("\n") for name in names))


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
        if name not in histories[0]:
            continue
        _band(axis, [*together(histories, name).T], line, str(0.15 * i), label)
    _epochs(axis)
    axis.set_ylabel("training loss")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    axis.set_title(textwrap.fill(title, 80), fontsize=11)
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
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def labels_figure(histories: Sequence[dict[str, np.ndarray]], title: str) -> Figure | None:
    """How generated labels drift by epoch, and how they agree with true ones where the data has these: mean over the
    seeds, as far as all were trained, and one deviation. None for runs that generate none, or are of an older version.

    Args:
        histories: as for :func:`losses_figure`.
    """
    tasks = [task for task in MODALITIES if f"ulgm/corr_{task}" in histories[0]]
    known = [name for name in FOLLOWED if any(f"ulgm/{name}_{task}" in histories[0] for task in tasks)]
    if not known:
        return None
    figure = Figure(figsize=(3.2 * len(known), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        for task in tasks:
            label, line = LOSSES[f"train/loss_{task}"]
            if f"ulgm/{name}_{task}" not in histories[0]:
                continue
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
    handles = {
        label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)
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


def differences_figure(compared: Comparison, title: str) -> Figure:
    """MAE of the row that is tested minus each other row's, with 95 % intervals; filled where Holm's p is below .05."""
    found, whose = compared.tests, in_words(compared.tested)
    names = _names(list(found), compared.paper)
    figure = Figure(figsize=(6.5, 1.2 + _room(0.34, names)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="0.4", lw=1)
    for y, test in enumerate(found.values()):
        d = test.difference
        axis.plot([d.low, d.high], [y, y], color=INK, lw=1.6)
        axis.plot([d.value], [y], "o", color=INK, mfc=INK if test.corrected < 0.05 else "white", ms=6)
    axis.set_yticks(range(len(found)), names)
    axis.invert_yaxis()
    axis.set_xlabel(textwrap.fill(f"Δ MAE × 100, negative: {whose} is better (filled: p < .05 after Holm)", 80))
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title, fontsize=11)
    return figure


def attention_figure(record: dict[str, Any], title: str) -> Figure:
    """Attention weights in one utterance, one panel per map: a row for each step of the target, black for the largest.

    Args:
        record: of a run's ``attention.json``, see :func:`mmsa_lightning.experiment.attention.attention_maps`.
    """
    weights, steps = record["weights"], record["steps"]
    columns = min(3, len(weights))
    lines = -(-len(weights) // columns)
    side = min(9.0, 1.3 + 0.14 * max(map(len, steps.values())))  # inches of a panel
    figure = Figure(figsize=(columns * side, lines * side), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, (name, rows) in zip(panels, weights.items(), strict=False):
        target, _, source = name.partition("<-")
        largest = max(map(max, rows))
        axis.imshow(rows, cmap="Greys", vmin=0, vmax=largest, aspect="auto", interpolation="nearest")
        axis.set_yticks(range(len(steps[target])), steps[target], fontsize=7)
        axis.set_xticks(range(len(steps[source or target])), steps[source or target], fontsize=7, rotation=90)
        axis.set_title(f"{name.replace('<-', ' ← ')}, 0 to {largest:.2f}", fontsize=9)
    for axis in panels[len(weights) :]:
        axis.set_axis_off()
    figure.suptitle(textwrap.fill(title, max(40, int(11 * figure.get_figwidth()))), fontsize=11)
    return figure


def robustness_figure(curves: Sequence[Any], title: str) -> Figure:
    """Three metrics over what is missing, a line a row: mean over seeds and mask seeds, and one deviation.

    Args:
        curves: of one mode, :class:`mmsa_lightning.report.robustness.Curve`.
    """
    figure = Figure(figsize=(11, 4.2 + 0.2 * -(-len(curves) // 3)), layout="constrained")
    protocol = curves[0].protocol
    shown = protocol.drawn
    for axis, metric in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for i, curve in enumerate(curves):
            values = 100 * curve.values[metric]
            subsets = curve.mode == "modality"
            x = np.arange(values.shape[1]) + (0.6 * ((i + 0.5) / len(curves) - 0.5) if subsets else 0)  # side by side
            known = ~np.isnan(values).all(axis=0)  # of one model a rate, some may not be there yet
            if not known.any():
                continue
            mean, shade = np.nanmean(values[:, known], axis=0), str(0.6 * i / max(1, len(curves) - 1))
            style = {"color": shade, "marker": MARKERS[i % len(MARKERS)], "ms": 4, "label": curve.row}
            axis.plot(x[known], mean, linestyle="" if subsets else LINES[i % len(LINES)], **style)
            if len(values) > 1:
                std = values[:, known].std(axis=0, ddof=1)
                if subsets:
                    axis.errorbar(x[known], mean, yerr=std, fmt="none", ecolor=shade, capsize=2)
                else:
                    axis.fill_between(x[known], mean - std, mean + std, color=shade, alpha=0.12, lw=0)
        if curves[0].mode == "modality":
            axis.set_xticks(range(len(curves[0].at)), [at.replace("+", "\n") for at in curves[0].at], fontsize=7)
            axis.set_xlabel("modalities that are there")
        else:
            axis.set_xticks(range(len(curves[0].at)), [f"{100 * float(at):g}" for at in curves[0].at])
            axis.set_xlabel("missing, %")
        better = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        axis.set_ylabel(f"{protocol.headings[metric]} × 100{better}")
        axis.grid(color="0.92")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title, fontsize=11)
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


def save_figure(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.png`` and ``<stem>.svg``."""
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        with files.aside(stem.with_name(stem.name + suffix)) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=metadata)
