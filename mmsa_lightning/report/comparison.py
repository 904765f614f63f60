"""Tables 3 to 6: mean and spread over seeds beside the paper's figures, and which differences are more than chance.

Figures are times 100, as the paper prints them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmsa_lightning.report.grid import Grid
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.rows import Row
from mmsa_lightning.report.significance import RESAMPLES, Difference, holm, paired_bootstrap
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
    """The paper's model against another row, in MAE times 100, and p by Holm over the table."""

    difference: Difference
    corrected: float


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


def tests(rows: Sequence[Row]) -> dict[str, Test]:
    """The paper's model against each other row; empty where it is not among the rows."""
    model = next((row for row in rows if row.name in MODEL), None)
    if model is None:
        return {}
    return against(model.errors, {row.name: row.errors for row in rows if row is not model})


def against(first: np.ndarray, others: dict[str, np.ndarray]) -> dict[str, Test]:
    """A row against each other one, of absolute errors, float64 (seeds, utterances)."""
    differences = [paired_bootstrap(100 * first, 100 * errors) for errors in others.values()]
    corrected = holm([d.p for d in differences])
    return {name: Test(d, p) for name, d, p in zip(others, differences, corrected, strict=True)}


def best_against(errors: dict[str, np.ndarray]) -> tuple[str, dict[str, Test]]:
    """The row with the lowest mean of absolute errors, each float64 (seeds, utterances), and it against each other."""
    best = min(errors, key=lambda row: errors[row].mean())
    return best, against(errors[best], {row: own for row, own in errors.items() if row != best})


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


def tests_grid(rows: Sequence[Row], paper: dict[str, Printed]) -> Grid | None:
    """The paper's model against each other row; None where there is nothing to compare."""
    found = tests(rows)
    if not found:
        return None
    title = (
        "MAE of the paper's model minus each other row's (negative: the paper's model is better): paired bootstrap "
        f"over the test utterances, seeds pooled, {RESAMPLES} resamples; p by Holm over {len(found)} comparisons."
    )
    return differences_grid(found, paper, title)


def differences_grid(found: dict[str, Test], paper: dict[str, Printed], title: str) -> Grid:
    """Differences with their intervals and p, one row each."""
    cells = [
        [
            _label(name, paper),
            signed(t.difference.value),
            f"{signed(t.difference.low)} to {signed(t.difference.high)}",
            _p(t.difference.p),
            _p(t.corrected),
        ]
        for name, t in found.items()
    ]
    return Grid(title, ["", "Δ MAE", "95 % interval", "p", "p (Holm)"], cells)


def records(rows: Sequence[Row], paper: dict[str, Printed]) -> list[dict[str, object]]:
    """One record a row and metric, for CSV."""
    compared = tests(rows)
    out: list[dict[str, object]] = []
    for row in rows:
        agreed = {f"generated_{modality}": figure for modality, figure in agreement(row).items()}
        for metric, figure in (figures(row, paper.get(row.name)) | agreed).items():
            test = compared.get(row.name) if metric == "mae" else None
            out.append(
                {
                    "row": row.name,
                    "text": row.text,
                    "metric": metric,
                    "n": figure.n,
                    "mean": rounded(figure.mean),
                    "std": rounded(figure.std),
                    "paper": figure.printed,
                    "minus_paper": rounded(figure.mean - figure.printed) if figure.printed is not None else None,
                    "model_minus_row": rounded(test.difference.value) if test else None,
                    "low": rounded(test.difference.low) if test else None,
                    "high": rounded(test.difference.high) if test else None,
                    "p": test.difference.p if test else None,
                    "p_holm": test.corrected if test else None,
                }
            )
    return out


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


def _p(value: float) -> str:
    return f"{value:.4f}"


def rounded(value: float) -> float | None:
    """To four places; None where it is undefined."""
    return None if math.isnan(value) else round(value, 4)
