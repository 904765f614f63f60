"""Tables 3 to 6 and those of the page: what was measured, its intervals and tests, and the paper's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mmsa_lightning.report import ranks
from mmsa_lightning.report.comparison import Comparison, Figure, Test, agreement
from mmsa_lightning.report.effects import PARTS, pairs
from mmsa_lightning.report.grid import Grid
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.report.significance import Estimate
from mmsa_lightning.report.wording import (
    in_words,
    interval,
    resampled,
    rounded,
    said_of,
    short_p,
    shown_p,
    signed,
    spread,
)
from mmsa_lightning.training.protocols import LOWER_IS_BETTER


def measured_grid(found: Comparison, caption: str) -> Grid:
    """What was measured: mean ± sample standard deviation, best in bold.

    Where labels are generated and true ones are known, further columns say how they agree, for each modality.
    """
    headings = found.rows[0].protocol.headings
    agreements = [agreement(row) for row in found.rows]
    modalities = list(dict.fromkeys(m for own in agreements for m in own))
    cells = [
        [
            _label(row.name, found.paper),
            row.text,
            str(len(row.results)),
            *(spread(found.figures[row.name][m]) for m in headings),
            *(spread(agreed[m]) if m in agreed else "" for m in modalities),
        ]
        for row, agreed in zip(found.rows, agreements, strict=True)
    ]
    bold = best([found.figures[name] for name in found.names], list(headings), column=3)
    if modalities:
        caption = f"{caption} {_explained(found.rows, modalities)}"
    return Grid(caption, ["", "text", "n", *headings.values(), *(f"gen. {m}" for m in modalities)], cells, bold)


def best(table: Sequence[dict[str, Figure]], metrics: Sequence[str], *, column: int) -> set[tuple[int, int]]:
    """The cells of a grid with the best mean of each metric.

    Args:
        table: of each row its figures.
        metrics: in the order of their columns.
        column: of the first of them.
    """
    cells = set()
    for j, metric in enumerate(metrics):
        means = np.array([figures[metric].mean for figures in table])
        if not np.isnan(means).all():
            extreme = np.nanmin(means) if metric in LOWER_IS_BETTER else np.nanmax(means)
            cells |= {(i, j + column) for i, mean in enumerate(means) if mean == extreme}
    return cells


def _explained(rows: Sequence[Row], modalities: Sequence[str]) -> str:
    """What the columns of :func:`agreement` are, and what the utterances' own label reaches without any model."""
    label = {m: row.agreement[m].label["corr"] for row in rows for m in row.agreement}
    own = ", ".join(f"{m} {100 * label[m]:.2f}" for m in modalities)
    return (
        "Under gen.: correlation of a modality's generated labels, of the best epoch, with its true ones over the "
        f"training utterances; the utterances' own label reaches {own}."
    )


def paper_grid(found: Comparison) -> Grid | None:
    """What the paper prints, and in brackets how far the mean measured here lies from it; None if it prints no row."""
    if not any(name in found.paper for name in found.names):
        return None
    headings = found.rows[0].protocol.headings
    cells = [
        [
            _label(name, found.paper),
            *(_beside(found.figures[name][metric], found.paper.get(name), metric) for metric in headings),
        ]
        for name in found.names
    ]
    errata = [
        f"{p.name}, {headings[column]}: {what}"
        for name in found.names
        if (p := found.paper.get(name))
        for column, what in p.errata.items()
    ]
    title = "The paper's figures and, in brackets, ours minus the paper's."
    return Grid(" ".join([title, *(f"† {e}." for e in errata)]), ["", *headings.values()], cells)


def intervals_grids(found: Comparison) -> list[Grid]:
    """The 95 % intervals of the means and, of several rows, of their differences to the best of each metric."""
    headings = found.rows[0].protocol.headings
    labels = {name: _label(name, found.paper) for name in found.names}
    means = [[label, *(interval(found.means[name][m], "z.1f") for m in headings)] for name, label in labels.items()]
    title = f"95 % intervals of the means, over {resampled(found.fewest)}."
    grids = [Grid(title, ["", *headings.values()], means)]
    if len(labels) > 1:
        cells = [[label, *(_minus(found.best.get(m), name) for m in headings)] for name, label in labels.items()]
        title = (
            "95 % intervals of each row minus the best one, of the same kind, paired by utterance. The best was chosen "
            "as the best of these rows, which favours it."
        )
        grids.append(Grid(title, ["", *headings.values()], cells))
    return grids


def _minus(best: tuple[str, dict[str, Estimate]] | None, row: str) -> str:
    if best is None:
        return ""
    return "best" if row == best[0] else interval(best[1][row], "+z.1f")


def tests_grid(found: Comparison) -> Grid | None:
    """The row that is tested against each other one; None where there is nothing to compare."""
    if not found.tests:
        return None
    whose = in_words(found.tested)
    title = (
        f"MAE of {whose} minus each other row's (negative: {whose} is better): paired, over "
        f"{resampled(found.fewest)}; {said_of(found.tests, found.fewest)}"
    )
    return differences_grid(found.tests, found.paper, title)


def differences_grid(found: dict[str, Test], paper: dict[str, Printed], title: str) -> Grid:
    """Differences with their intervals and p, one row each."""
    cells = [
        [
            _label(name, paper),
            signed(t.difference.value),
            interval(t.difference),
            shown_p(t.difference.p),
            shown_p(t.corrected),
        ]
        for name, t in found.items()
    ]
    return Grid(title, ["", "Δ MAE", "95 % interval", "p", "p (Holm)"], cells)


def effects_grid(found: Comparison, changed: dict[str, Test]) -> Grid:
    """What each part changes, as found by :func:`mmsa_lightning.report.effects.effects`."""
    count = {part: len(own) for part, own in pairs(found.names).items()}
    title = (
        "MAE with each part minus MAE without it (negative: the part helps), the mean over all pairs of rows that "
        f"differ in it alone ({', '.join(f'{part}: {n}' for part, n in count.items())}): paired by utterance, over "
        f"{resampled(found.fewest)}; {said_of(changed, found.fewest)}"
    )
    return differences_grid({f"{part}, {PARTS[part]}": test for part, test in changed.items()}, {}, title)


def effects_records(changed: dict[str, Test]) -> list[dict[str, object]]:
    """The same for CSV; columns as in :func:`records`, ``difference`` with its interval."""
    return [
        {
            "row": part,
            "metric": "mae",
            **_difference("difference", "", test.difference),
            "p": short_p(test.difference.p),
            "p_holm": short_p(test.corrected),
        }
        for part, test in changed.items()
    ]


def records(found: Comparison) -> list[dict[str, object]]:
    """One record a row and metric, for CSV.

    ``mean_low``, ``mean_high`` is the interval of the mean, ``minus_best`` the row minus the best one, whose name is
    ``best``, and ``model_minus_row`` the row that is tested minus the row, with ``low`` and ``high``. What ends in
    ``_utterances`` is over utterances alone, all else over seeds and utterances; ``detectable`` is
    :attr:`mmsa_lightning.report.significance.Estimate.detectable`, and ``best_share`` and ``mean_rank`` are of
    :mod:`mmsa_lightning.report.ranks`.
    """
    shares, mean_ranks = ranks.best_share(found.ranks), ranks.mean_rank(found.ranks)
    out: list[dict[str, object]] = []
    for i, row in enumerate(found.rows):
        agreed = {f"generated_{modality}": figure for modality, figure in agreement(row).items()}
        for metric, figure in (found.figures[row.name] | agreed).items():
            of_all = metric == "mae"
            test = found.tests.get(row.name) if of_all else None
            above = found.best.get(metric)
            out.append(
                {
                    "row": row.name,
                    "text": row.text,
                    "metric": metric,
                    "n": figure.n,
                    "mean": rounded(figure.mean),
                    "std": rounded(figure.std),
                    **_columns("mean_", found.means[row.name].get(metric)),
                    "best": above[0] if above else None,
                    **_difference("minus_best", "minus_best_", above[1].get(row.name) if above else None),
                    "paper": figure.printed,
                    "minus_paper": rounded(figure.mean - figure.printed) if figure.printed is not None else None,
                    **_difference("model_minus_row", "", test.difference if test else None),
                    "p": short_p(test.difference.p) if test else None,
                    "p_holm": short_p(test.corrected) if test else None,
                    "p_utterances": short_p(test.difference.utterances_p) if test else None,
                    "p_holm_utterances": short_p(test.corrected_utterances) if test else None,
                    "best_share": rounded(shares[i]) if of_all else None,
                    "mean_rank": rounded(mean_ranks[i]) if of_all else None,
                }
            )
    return out


def _columns(prefix: str, found: Estimate | None) -> dict[str, float | None]:
    """Both intervals of an estimate."""
    return {
        f"{prefix}{column}": rounded(getattr(found, name)) if found else None
        for column, name in (
            ("low", "low"),
            ("high", "high"),
            ("low_utterances", "utterances_low"),
            ("high_utterances", "utterances_high"),
        )
    }


def _difference(name: str, prefix: str, found: Estimate | None) -> dict[str, float | None]:
    return {
        name: rounded(found.value) if found else None,
        **_columns(prefix, found),
        f"{prefix}detectable": rounded(found.detectable) if found else None,
    }


def _label(name: str, paper: dict[str, Printed]) -> str:
    return paper[name].name if name in paper else name


def _beside(figure: Figure, printed: Printed | None, metric: str) -> str:
    if printed is None or not printed.figures[metric]:
        return ""
    if figure.printed is None:
        return f"{printed.figures[metric]}†"
    shown = f"{figure.printed:.2f}"
    return shown if math.isnan(figure.mean) else f"{shown} ({signed(figure.mean - figure.printed)})"
