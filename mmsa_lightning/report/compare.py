"""``mmsa compare``: two rows, or two CSV of predictions, on the same utterances, as one page of HTML."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from mmsa_lightning import files
from mmsa_lightning.data.inspect import label_bins
from mmsa_lightning.report import comparison, html, tables, wording
from mmsa_lightning.report.figures.predictions import against_figure, signs_figure
from mmsa_lightning.report.grid import Grid
from mmsa_lightning.report.page import SHOWN, settings_of
from mmsa_lightning.report.resampling import sampled_means
from mmsa_lightning.report.sides import Pair, Side, differing, pair, read_settings, read_side
from mmsa_lightning.report.significance import estimate
from mmsa_lightning.training.protocols import corr

FEW = 12  # settings; more of them are folded


def write_comparison(a: Path, b: Path, out: Path) -> None:
    """Write the page.

    Args:
        a: a run, a folder with the seeds of one row, or a CSV of predictions.
        b: the same.
        out: the HTML file.

    Raises:
        UserError: as :func:`mmsa_lightning.report.sides.read_side` and :func:`mmsa_lightning.report.sides.pair`;
            ``out`` is a file that one of them reads.
    """
    both = pair(read_side(a), read_side(b))
    files.check_apart([out], [*both.a.sources, *both.b.sources])
    measured = bool(both.known.any())
    html.write(
        out,
        "compare.html",
        title=f"A: {both.a.name}, B: {both.b.name}",
        subtitle=_subtitle(both),
        what=_what(both, a, b),
        changed=settings_grid(both),
        few=FEW,
        results=[*([metrics_grid(both), difference_grid(both)] if measured else []), predictions_grid(both)],
        bins=bins_grid(both) if measured else None,
        figures=[(alt, html.image(figure), False) for alt, figure in _figures(both)],
        moved=moved(both),
        measured=measured,
        settings=[(f"{side}: {name}", yaml, where) for side, (name, yaml, where) in _settings(both).items()],
    )


def _subtitle(both: Pair) -> str:
    n, known = len(both.labels), int(both.known.sum())
    sentences = [f"{n} utterances for which both have a prediction"]
    if any(both.left_out):
        sentences.append(
            f"{both.left_out[0]} of A and {both.left_out[1]} of B are left out: the other has none for them"
        )
    if not known:
        sentences.append("Their labels are not known, so that predictions alone are compared")
    else:
        if known < n:
            sentences.append(f"Of {known} the label is known; errors are of these alone")
        low, high = both.label_range
        sentences.append(f"Measured by the protocol {both.protocol.name}, of labels in [{low:g}, {high:g}]")
        sentences += [both.protocol.note] if both.protocol.note else []
    return " ".join(f"{sentence}." for sentence in sentences)


def _what(both: Pair, a: Path, b: Path) -> Grid:
    """What the two sides are."""
    columns = [_facts(side, path) for side, path in ((both.a, a), (both.b, b))]
    names = list(dict.fromkeys(name for facts in columns for name in facts))
    return Grid("What is compared.", ["", "A", "B"], [[name, *(c.get(name, "") for c in columns)] for name in names])


def _facts(side: Side, path: Path) -> dict[str, str]:
    facts = {"name": side.name, "from": str(path)}
    if side.row is None:
        return facts
    first = next(iter(side.row.results.values()))
    return facts | {
        "data": first["data"],
        "seeds": ", ".join(map(str, side.row.results)),
        "modalities": ", ".join(first["modalities"]),
        "text": side.row.text,
        "parameters": f"{first['parameters']:,}",
        "commit": first["git_commit"] or "",
    }


def settings_grid(both: Pair) -> Grid | None:
    """The settings in which the first seeds differ; None where a side is no run, and so tells none."""
    if not (both.a.row and both.b.row):
        return None
    one, other = (read_settings(next(iter(row.run_dirs.values()))) for row in (both.a.row, both.b.row))
    title = "Settings that differ, apart from the seed and from what changes no figure."
    return Grid(title, ["setting", "A", "B"], [[*line] for line in differing(one, other)])


def _measures(both: Pair, side: Side) -> dict[str, comparison.Figure]:
    """Every metric that tables show, on the utterances whose label is known."""
    truth = torch.from_numpy(both.protocol.clipped(both.labels[both.known]))
    members = torch.from_numpy(both.protocol.clipped(side.predictions[:, both.known]))
    return {
        metric: comparison.over_seeds(np.array([float(both.protocol.metrics[metric](own, truth)) for own in members]))
        for metric in both.protocol.headings
    }


def metrics_grid(both: Pair) -> Grid:
    """Every metric of both, and the difference of their means."""
    a, b = (_measures(both, side) for side in (both.a, both.b))
    headings = both.protocol.headings
    rows = [
        [name, str(len(side.predictions)), *(wording.spread(found[metric]) for metric in headings)]
        for name, side, found in (("A", both.a, a), ("B", both.b, b))
    ]
    differences = [a[metric].mean - b[metric].mean for metric in headings]
    rows.append(["A − B", "", *("" if np.isnan(value) else wording.signed(value) for value in differences)])
    return Grid(
        "Metrics times 100: mean ± sample standard deviation over n seeds; the better in bold.",
        ["", "n", *headings.values()],
        rows,
        tables.best([a, b], list(headings), column=2),
    )


def gains(both: Pair) -> np.ndarray:
    """|error of A| − |error of B|, each a mean over seeds, float64 (utterances whose label is known,)."""
    a, b = (both.errors(side)[:, both.known].mean(axis=0) for side in (both.a, both.b))
    return a - b


def difference_grid(both: Pair) -> Grid:
    """Whether MAE differs by more than chance, and how many utterances each side is nearer to."""
    errors = [100 * both.errors(side)[:, both.known] for side in (both.a, both.b)]
    found, gained = estimate(*sampled_means(errors)), gains(both)
    fewest = min(map(len, errors))
    return Grid(
        "MAE of A minus that of B, times 100 (negative: A is better): paired, over "
        f"{wording.resampled(fewest)}. {wording.power([found], fewest)} Then the utterances by whose "
        "error is smaller, mean over seeds.",
        ["", "Δ MAE", "95 % interval", "p", "A nearer", "B nearer", "equal"],
        [
            [
                "A − B",
                wording.signed(found.value),
                wording.interval(found),
                wording.shown_p(found.p),
                *(str(int(count)) for count in ((gained < 0).sum(), (gained > 0).sum(), (gained == 0).sum())),
            ]
        ],
    )


def predictions_grid(both: Pair) -> Grid:
    """How far the predictions themselves lie apart."""
    a, b = both.a.mean, both.b.mean
    return Grid(
        "Predictions, mean over seeds, in the unit of the labels.",
        ["", "mean A", "mean B", "mean A − B", "mean |A − B|", "largest |A − B|", "Corr of A and B", "same sign"],
        [
            [
                "predictions",
                wording.signed(a.mean()),
                wording.signed(b.mean()),
                wording.signed((a - b).mean()),
                f"{np.abs(a - b).mean():.2f}",
                f"{np.abs(a - b).max():.2f}",
                _corr(a, b),
                f"{100 * (np.sign(a) == np.sign(b)).mean():.1f} %",
            ]
        ],
    )


def bins_grid(both: Pair) -> Grid:
    """MAE of both by label."""
    a, b = (100 * both.errors(side)[:, both.known].mean(axis=0) for side in (both.a, both.b))
    names, nearest = label_bins(both.labels[both.known], *both.label_range)
    rows: list[list[str]] = []
    bold = set()
    for i, name in enumerate(names):
        own = nearest == i
        if not own.any():
            continue
        mean_a, mean_b = float(a[own].mean()), float(b[own].mean())
        bold |= {(len(rows), j) for j, mean in ((2, mean_a), (3, mean_b)) if mean == min(mean_a, mean_b)}
        nearer = int((b[own] < a[own]).sum())
        values = f"{mean_a:.2f}", f"{mean_b:.2f}", wording.signed(mean_a - mean_b), str(nearer)
        rows.append([name, str(int(own.sum())), *values])
    return Grid(
        "MAE times 100 of the utterances whose label is nearest to a value; the lower in bold. A positive A − B: B is "
        "better there.",
        ["label", "utterances", "MAE A", "MAE B", "A − B", "B nearer"],
        rows,
        bold,
    )


def moved(both: Pair) -> list[tuple[str, str, str, str, str, str]]:
    """The utterances whose predictions differ most: id, label, predictions of A and B, which is nearer, text."""
    a, b = both.a.mean, both.b.mean
    errors = [both.errors(side).mean(axis=0) for side in (both.a, both.b)]
    return [
        (
            both.a.ids[i],
            f"{both.labels[i]:+.1f}" if both.known[i] else "",
            f"{a[i]:+.2f}",
            f"{b[i]:+.2f}",
            _nearer(float(errors[0][i] - errors[1][i])) if both.known[i] else "",
            both.texts[i],
        )
        for i in np.argsort(-np.abs(a - b), kind="stable")[:SHOWN]
    ]


def _nearer(gain: float) -> str:
    return f"{'B' if gain > 0 else 'A'} by {abs(gain):.2f}" if gain else "equal"


def _figures(both: Pair) -> list[tuple[str, Figure]]:
    """Each behind what it shows, in words."""
    a, b = both.a.mean, both.b.mean
    labels = np.where(both.known, both.labels, np.nan)
    words = f"Prediction of A across and of B up, {len(a)} utterances, with the diagonal. Correlation {_corr(a, b)}."
    drawn = [(words, against_figure(a, b, labels))]
    if both.known.any():
        values, what, names = gains(both), "|error of A| − |error of B|", ("A is nearer", "B is nearer")
    else:
        values, what, names = a - b, "prediction of A − prediction of B", ("B is higher", "A is higher")
    below, above = int((values < 0).sum()), int((values > 0).sum())
    words = f"Distribution of {what}: {names[0]} for {below}, {names[1]} for {above}, mean {values.mean():+.3f}."
    return [*drawn, (words, signs_figure(values, what, names))]


def _settings(both: Pair) -> dict[str, tuple[str, str, str]]:
    """Of the sides that are runs."""
    return {name: settings_of(side.row) for name, side in (("A", both.a), ("B", both.b)) if side.row}


def _corr(a: np.ndarray, b: np.ndarray) -> str:
    value = float(corr(torch.from_numpy(a), torch.from_numpy(b)))
    return "undefined" if math.isnan(value) else f"{value:.3f}"
