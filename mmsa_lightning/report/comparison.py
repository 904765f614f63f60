"""Tables 3 to 6: mean, spread and interval beside the paper's figures, and which differences are more than chance.

Figures are times 100, as the paper prints them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.grid import Grid
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.ranks import best_share, mean_rank, ranks
from mmsa_lightning.report.resampling import RESAMPLES, Sampled, sampled_means, sampled_metrics
from mmsa_lightning.report.rows import Row
from mmsa_lightning.report.significance import Estimate, estimate, holm
from mmsa_lightning.training.protocols import LOWER_IS_BETTER

MODEL = ("interactive_attention", "full")  # the paper's own row, in a table of models and of ablations


@dataclass(frozen=True)
class Figure:
    """A metric of a row over its seeds, times 100.

    Attributes:
        mean: NaN where the metric is undefined.
        std: of the sample (n - 1); NaN for one seed.
        n: seeds.
        printed: the paper's; None where it prints none that can be right.
    """

    mean: float
    std: float
    n: int
    printed: float | None


@dataclass(frozen=True)
class Test:
    """One row against another, in MAE times 100.

    Attributes:
        difference: of their means.
        corrected: p by Holm over the table.
        corrected_utterances: the same of p over utterances alone.
    """

    difference: Estimate
    corrected: float
    corrected_utterances: float


Samples = dict[str, dict[str, Sampled]]
"""By row and metric: each seed's figure as observed and on resampled utterances, times 100."""


def samples(rows: Sequence[Row]) -> Samples:
    """Of every metric that tables show; all rows are of the same utterances."""
    predictions = [row.predictions for row in rows]
    found = sampled_metrics(rows[0].protocol, predictions, rows[0].labels)
    return {
        row.name: {metric: own.times(100) for metric, own in metrics.items()}
        for row, metrics in zip(rows, found, strict=True)
    }


def figures(row: Row, printed: Printed | None) -> dict[str, Figure]:
    """Every metric of a row that tables show."""
    return {
        metric: over_seeds(row.test(metric), printed.figure(metric) if printed else None)
        for metric in row.protocol.headings
    }


def agreement(row: Row) -> dict[str, Figure]:
    """How generated labels correlate with true ones, by modality."""
    return {modality: over_seeds(found.generated["corr"]) for modality, found in row.agreement.items()}


def over_seeds(values: np.ndarray, printed: float | None = None) -> Figure:
    """Of a metric's values, float64 (seeds,), not yet times 100."""
    values = 100 * values
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Figure(float(values.mean()), std, len(values), printed)


def tested_row(rows: Collection[str], chosen: str | None = None) -> str | None:
    """The row that tests hold against the others: the chosen one, or else the paper's model, if it is there.

    Raises:
        UserError: no such row.
    """
    if chosen is None:
        return next((row for row in rows if row in MODEL), None)
    if chosen not in rows:
        raise UserError(f"--against {chosen}: the rows are {'; '.join(rows)}")
    return chosen


def in_words(row: str | None) -> str:
    """What a sentence calls a row that is tested."""
    return "the paper's model" if row in MODEL else f"{row}"


def tests(found: Samples, chosen: str | None = None) -> dict[str, Test]:
    """The :func:`tested_row` against each other one; empty where there is none."""
    row = tested_row(found, chosen)
    if row is None:
        return {}
    return against(found[row]["mae"], {other: own["mae"] for other, own in found.items() if other != row})


def against(first: Sampled, others: dict[str, Sampled]) -> dict[str, Test]:
    """A row against each other one."""
    differences = [estimate(first, other) for other in others.values()]
    corrected, utterances = (holm([getattr(d, p) for d in differences]) for p in ("p", "utterances_p"))
    return {
        name: Test(difference, p, of_utterances)
        for name, difference, p, of_utterances in zip(others, differences, corrected, utterances, strict=True)
    }


def best_against(errors: dict[str, np.ndarray]) -> tuple[str, dict[str, Test]]:
    """The row with the lowest mean of absolute errors, each float64 (seeds, utterances), and it against each other."""
    found = dict(zip(errors, sampled_means([100 * own for own in errors.values()]), strict=True))
    best = min(found, key=lambda row: found[row].observed.mean())
    return best, against(found[best], {row: own for row, own in found.items() if row != best})


def minus_best(found: Samples, metric: str) -> tuple[str, dict[str, Estimate]] | None:
    """The row with the best mean of a metric, and each other row minus it; None where it is defined for no row."""
    means = {row: own[metric].observed.mean() for row, own in found.items()}
    defined = {row: mean for row, mean in means.items() if not math.isnan(mean)}
    if not defined:
        return None
    best = (min if metric in LOWER_IS_BETTER else max)(defined, key=defined.__getitem__)
    return best, {row: estimate(own[metric], found[best][metric]) for row, own in found.items() if row != best}


def measured_grid(rows: Sequence[Row], paper: dict[str, Printed], caption: str) -> Grid:
    """What was measured: mean ± sample standard deviation, best in bold.

    Where labels are generated and true ones are known, further columns say how they agree, for each modality.
    """
    headings = rows[0].protocol.headings
    table = [figures(row, paper.get(row.name)) for row in rows]
    agreements = [agreement(row) for row in rows]
    modalities = list(dict.fromkeys(m for found in agreements for m in found))
    cells = [
        [
            _label(row.name, paper),
            row.text,
            str(len(row.results)),
            *(spread(found[m]) for m in headings),
            *(spread(agreed[m]) if m in agreed else "" for m in modalities),
        ]
        for row, found, agreed in zip(rows, table, agreements, strict=True)
    ]
    bold = best(table, list(headings), column=3)
    if modalities:
        caption = f"{caption} {_explained(rows, modalities)}"
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


def paper_grid(rows: Sequence[Row], paper: dict[str, Printed]) -> Grid:
    """What the paper prints, and in brackets how far the mean measured here lies from it."""
    headings = rows[0].protocol.headings
    cells = []
    for row in rows:
        printed = paper.get(row.name)
        found = figures(row, printed)
        cells.append([_label(row.name, paper), *(_against(found[m], printed, m) for m in headings)])
    errata = [
        f"{p.name}, {headings[column]}: {what}"
        for row in rows
        if (p := paper.get(row.name))
        for column, what in p.errata.items()
    ]
    title = "The paper's figures and, in brackets, ours minus the paper's."
    return Grid(" ".join([title, *(f"† {e}." for e in errata)]), ["", *headings.values()], cells)


def intervals_grids(rows: Sequence[Row], found: Samples, paper: dict[str, Printed]) -> list[Grid]:
    """The 95 % intervals of the means and, of several rows, of their differences to the best of each metric."""
    headings = rows[0].protocol.headings
    names = [_label(row.name, paper) for row in rows]
    means = [[_interval(estimate(found[row.name][metric])) for metric in headings] for row in rows]
    title = f"95 % intervals of the means, over {sources(found)}."
    grids = [Grid(title, ["", *headings.values()], [[name, *own] for name, own in zip(names, means, strict=True)])]
    if len(rows) > 1:
        cells = [[name] for name in names]
        for metric in headings:
            best = minus_best(found, metric)
            for row, own in zip(rows, cells, strict=True):
                own.append("" if best is None else _minus(best, row.name))
        title = (
            "95 % intervals of each row minus the best one, of the same kind, paired by utterance. The best was chosen "
            "as the best of these rows, which favours it."
        )
        grids.append(Grid(title, ["", *headings.values()], cells))
    return grids


def _interval(found: Estimate) -> str:
    return "undefined" if math.isnan(found.low) else f"{found.low:.1f} to {found.high:.1f}".replace("-", "−")


def _minus(best: tuple[str, dict[str, Estimate]], row: str) -> str:
    if row == best[0]:
        return "best"
    found = best[1][row]
    return "undefined" if math.isnan(found.low) else f"{found.low:+.1f} to {found.high:+.1f}".replace("-", "−")


def sources(found: Samples) -> str:
    """What intervals are over, in words."""
    return resampled(min(len(metric.observed) for own in found.values() for metric in own.values()))


def resampled(fewest: int) -> str:
    """What intervals and tests are over, in words.

    Args:
        fewest: seeds of a row.
    """
    if fewest > 1:
        return f"seeds and utterances ({RESAMPLES} resamples of the utterances)"
    return (
        f"seeds and utterances ({RESAMPLES} resamples of the utterances); where a row has one seed, over utterances "
        "alone, which leaves out what another seed would change"
    )


def tests_grid(found: Samples, paper: dict[str, Printed], chosen: str | None = None) -> Grid | None:
    """The :func:`tested_row` against each other one; None where there is nothing to compare."""
    compared = tests(found, chosen)
    if not compared:
        return None
    whose = in_words(tested_row(found, chosen))
    title = (
        f"MAE of {whose} minus each other row's (negative: {whose} is better): paired, over {sources(found)}; "
        f"{said_of(compared)}"
    )
    return differences_grid(compared, paper, title)


def said_of(found: dict[str, Test]) -> str:
    """How p is corrected, and what the tests could have shown, in words."""
    return f"p by Holm over {len(found)} comparisons. {power([test.difference for test in found.values()])}"


def power(found: Sequence[Estimate]) -> str:
    """The smallest differences that tests could have shown, in words."""
    values = sorted(estimate.detectable for estimate in found)
    spread = f" (median; {values[0]:.2f} to {values[-1]:.2f})" if len(values) > 1 else ""
    return (
        "Smallest difference that could have been shown, with 80 % power at p < .05 before Holm's correction: "
        f"{np.median(values):.2f}{spread}."
    )


def differences_grid(found: dict[str, Test], paper: dict[str, Printed], title: str) -> Grid:
    """Differences with their intervals and p, one row each."""
    cells = [
        [
            _label(name, paper),
            signed(t.difference.value),
            signed_interval(t.difference),
            shown_p(t.difference.p),
            shown_p(t.corrected),
        ]
        for name, t in found.items()
    ]
    return Grid(title, ["", "Δ MAE", "95 % interval", "p", "p (Holm)"], cells)


def records(
    rows: Sequence[Row], found: Samples, paper: dict[str, Printed], chosen: str | None = None
) -> list[dict[str, object]]:
    """One record a row and metric, for CSV.

    ``mean_low``, ``mean_high`` is the interval of the mean, ``minus_best`` the row minus the best one, whose name is
    ``best``, and ``model_minus_row`` the :func:`tested_row` minus the row, with ``low`` and ``high``. What ends in
    ``_utterances`` is over utterances alone, all else over seeds and utterances; ``detectable`` is
    :attr:`mmsa_lightning.report.significance.Estimate.detectable`, and ``best_share`` and ``mean_rank`` are of
    :mod:`mmsa_lightning.report.ranks`.
    """
    compared = tests(found, chosen)
    best = {metric: minus_best(found, metric) for metric in rows[0].protocol.headings}
    ranked = ranks([found[row.name]["mae"] for row in rows])
    shares, means = best_share(ranked), mean_rank(ranked)
    out: list[dict[str, object]] = []
    for i, row in enumerate(rows):
        agreed = {f"generated_{modality}": figure for modality, figure in agreement(row).items()}
        for metric, figure in (figures(row, paper.get(row.name)) | agreed).items():
            of_all = metric == "mae"
            test = compared.get(row.name) if of_all else None
            mean = estimate(found[row.name][metric]) if metric in found[row.name] else None
            above = best.get(metric)
            out.append(
                {
                    "row": row.name,
                    "text": row.text,
                    "metric": metric,
                    "n": figure.n,
                    "mean": rounded(figure.mean),
                    "std": rounded(figure.std),
                    **_columns("mean_", mean),
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
                    "mean_rank": rounded(means[i]) if of_all else None,
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


def spread(figure: Figure) -> str:
    """Mean ± standard deviation, as far as they are defined."""
    if math.isnan(figure.mean):
        return "undefined"
    return f"{figure.mean:.2f}" if math.isnan(figure.std) else f"{figure.mean:.2f} ± {figure.std:.2f}"


def _against(figure: Figure, printed: Printed | None, metric: str) -> str:
    if printed is None or not printed.figures[metric]:
        return ""
    if figure.printed is None:
        return f"{printed.figures[metric]}†"
    shown = f"{figure.printed:.2f}"
    return shown if math.isnan(figure.mean) else f"{shown} ({signed(figure.mean - figure.printed)})"


def signed(value: float) -> str:
    """To two places, with its sign."""
    return f"{value:+.2f}".replace("-", "−")


def signed_interval(found: Estimate) -> str:
    """The 95 % interval of a difference, to two places."""
    return f"{signed(found.low)} to {signed(found.high)}"


def shown_p(value: float) -> str:
    """To four places."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def short_p(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")


def rounded(value: float) -> float | None:
    """To four places; None where it is undefined."""
    return None if math.isnan(value) else round(value, 4)
