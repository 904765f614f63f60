"""Rows of one table held against one another: means, spreads, differences, tests and ranks.

Figures are times 100, as the paper prints them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mmsa_lightning.errors import UserError
from mmsa_lightning.report import ranks
from mmsa_lightning.report.paper import Printed
from mmsa_lightning.report.resampling import Sampled, sampled_means, sampled_metrics
from mmsa_lightning.report.rows import Row
from mmsa_lightning.report.significance import Estimate, estimate, holm
from mmsa_lightning.training.protocols import LOWER_IS_BETTER, bounds

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
    """One row against another, or some against others, in MAE times 100.

    Attributes:
        difference: of their means.
        corrected: p by Holm over the table.
        corrected_utterances: the same of p over utterances alone.
    """

    difference: Estimate
    corrected: float
    corrected_utterances: float


@dataclass(frozen=True)
class Comparison:
    """Rows of the same test utterances, and what follows from them; each part is worked out once, when it is asked for.

    Attributes:
        rows: of a table, one or more.
        paper: what the paper prints, by row.
        against: the row that tests hold against the others; None for the paper's model, if it is there.

    Raises:
        UserError: there is no row ``against``.
    """

    rows: Sequence[Row]
    paper: dict[str, Printed] = field(default_factory=dict)
    against: str | None = None

    def __post_init__(self) -> None:
        if self.against not in (None, *self.names):
            raise UserError(f"--against {self.against}: the rows are {'; '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        """Of the rows."""
        return [row.name for row in self.rows]

    @property
    def tested(self) -> str | None:
        """The row that tests hold against the others; None where there is none."""
        return self.against or next((name for name in self.names if name in MODEL), None)

    @cached_property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """By row and metric, of every metric that tables show."""
        return {row.name: _figures(row, self.paper.get(row.name)) for row in self.rows}

    @cached_property
    def samples(self) -> dict[str, dict[str, Sampled]]:
        """By row and metric: each seed's figure as observed and on resampled utterances, times 100."""
        found = sampled_metrics(self.rows[0].protocol, [row.predictions for row in self.rows], self.rows[0].labels)
        return {
            name: {metric: own.times(100) for metric, own in metrics.items()}
            for name, metrics in zip(self.names, found, strict=True)
        }

    @cached_property
    def means(self) -> dict[str, dict[str, Estimate]]:
        """By row and metric, with their intervals."""
        return {row: {metric: _mean(one, metric) for metric, one in own.items()} for row, own in self.samples.items()}

    @cached_property
    def tests(self) -> dict[str, Test]:
        """The row :attr:`tested` against each other one; empty where there is none."""
        if self.tested is None:
            return {}
        maes = {row: own["mae"] for row, own in self.samples.items()}
        return held_against(maes.pop(self.tested), maes)

    @cached_property
    def best(self) -> dict[str, tuple[str, dict[str, Estimate]]]:
        """By metric the row with the best mean, and each other row minus it; of metrics that some row has."""
        found = {metric: self._best(metric) for metric in self.rows[0].protocol.headings}
        return {metric: own for metric, own in found.items() if own}

    @cached_property
    def ranks(self) -> np.ndarray:
        """By MAE, int64 (rows, resamples), see :mod:`mmsa_lightning.report.ranks`."""
        return ranks.ranks([self.samples[name]["mae"] for name in self.names])

    @property
    def fewest(self) -> int:
        """Seeds of a row."""
        return min(len(row.results) for row in self.rows)

    def _best(self, metric: str) -> tuple[str, dict[str, Estimate]] | None:
        samples = {row: own[metric] for row, own in self.samples.items()}
        means = {row: mean for row, own in samples.items() if not math.isnan(mean := own.observed.mean())}
        if not means:
            return None
        best = (min if metric in LOWER_IS_BETTER else max)(means, key=means.__getitem__)
        return best, {row: estimate(own, samples[best]) for row, own in samples.items() if row != best}


def _figures(row: Row, printed: Printed | None) -> dict[str, Figure]:
    """Every metric of a row that tables show."""
    return {
        metric: over_seeds(row.test(metric), printed.figure(metric) if printed else None)
        for metric in row.protocol.headings
    }


def _mean(found: Sampled, metric: str) -> Estimate:
    low, high = bounds(metric)
    return estimate(found, within=(100 * low, 100 * high))


def agreement(row: Row) -> dict[str, Figure]:
    """How generated labels correlate with true ones, by modality."""
    return {modality: over_seeds(found.generated["corr"]) for modality, found in row.agreement.items()}


def over_seeds(values: np.ndarray, printed: float | None = None) -> Figure:
    """Of a metric's values, float64 (seeds,), not yet times 100."""
    values = 100 * values
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Figure(float(values.mean()), std, len(values), printed)


def held_against(first: Sampled, others: dict[str, Sampled]) -> dict[str, Test]:
    """A row against each other one."""
    return tests({name: estimate(first, other) for name, other in others.items()})


def tests(differences: dict[str, Estimate]) -> dict[str, Test]:
    """Each of several differences against none, with p corrected for their number."""
    corrected, utterances = (holm([getattr(d, p) for d in differences.values()]) for p in ("p", "utterances_p"))
    return {
        name: Test(difference, p, of_utterances)
        for (name, difference), p, of_utterances in zip(differences.items(), corrected, utterances, strict=True)
    }


def best_against(errors: dict[str, np.ndarray]) -> tuple[str, dict[str, Test]]:
    """The row with the lowest mean of absolute errors, each float64 (seeds, utterances), and it against each other.

    A row with an error that is NaN is not the best, unless all have one, and its test is undefined.
    """
    found = dict(zip(errors, sampled_means([100 * own for own in errors.values()]), strict=True))
    best = min(found, key=lambda row: np.nan_to_num(found[row].observed.mean(), nan=np.inf))
    return best, held_against(found[best], {row: own for row, own in found.items() if row != best})
