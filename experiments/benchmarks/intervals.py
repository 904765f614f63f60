"""How often the intervals of tables hold the true value, in made-up experiments whose true values are known.

    python experiments/benchmarks/intervals.py [--experiments 1000] [--utterances 686] [--seeds 2 3 5]

In each experiment two systems, which are equally good, are measured on the same utterances, each with some seeds.
Labels are normal, and a prediction is a multiple of the label plus noise: partly the same of all seeds and systems,
partly the system's, partly the seed's own. How much noise there is differs from seed to seed. For each metric and for
the difference of the two systems, printed is the share of experiments, in %, whose 95 % interval holds the value that
infinitely many seeds and utterances would have: of the interval of tables; of the percentiles of seeds and utterances
that are resampled at once; and of the percentiles of utterances alone. Power: how often a difference as large as the
one that tables call detectable is found.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmsa_lightning.report.resampling import Sampled, sampled_metrics
from mmsa_lightning.report.significance import estimate
from mmsa_lightning.training.protocols import MOSI

METRICS = ("mae", "corr", "acc2_has0")
RESAMPLES = 1999
KINDS = ("seeds and utterances", "percentiles of both", "utterances alone")
LABELS, SLOPE, NOISE = 1.7, 0.8, 0.95  # deviations and slope: MAE near .8, Corr near .8, as on MOSI
SHARED, SYSTEM = 0.55, 0.2  # of the noise's variance; the rest is the seed's own


@dataclass
class World:
    """Where experiments come from.

    Attributes:
        spread: deviation of the logarithm of a seed's noise; 0: seeds differ by chance alone.
    """

    spread: float

    def systems(self, rng: np.random.Generator, seeds: int, utterances: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Predictions of two systems, each (seeds, utterances), and labels (utterances,)."""
        labels = rng.normal(0, LABELS, utterances)
        shared = np.sqrt(SHARED) * rng.normal(size=utterances)
        predictions = []
        for _ in range(2):
            system = np.sqrt(SYSTEM) * rng.normal(size=utterances)
            own = np.sqrt(1 - SHARED - SYSTEM) * rng.normal(size=(seeds, utterances))
            noise = NOISE * np.exp(self.spread * rng.normal(size=(seeds, 1)))
            predictions.append(SLOPE * labels + noise * (shared + system + own))
        return predictions, labels

    def truth(self) -> dict[str, float]:
        """Of labels and predictions that are normal together, in the mean over seeds."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        noise = NOISE * np.exp(self.spread * nodes)
        corr = SLOPE * LABELS / np.hypot(SLOPE * LABELS, noise)
        found = {
            "mae": np.sqrt(2 / np.pi) * np.hypot((SLOPE - 1) * LABELS, noise),
            "corr": corr,
            "acc2_has0": 0.5 + np.arcsin(corr) / np.pi,
        }
        return {metric: float(values @ weights / weights.sum()) for metric, values in found.items()}


def percentiles(row: Sampled, other: Sampled | None, rng: np.random.Generator) -> tuple[float, float]:
    """Of seeds and utterances that are resampled at once."""
    drawn = [_both(side, rng) for side in (row, other) if side]
    low, high = np.quantile(drawn[0] - drawn[1] if other else drawn[0], (0.025, 0.975))
    return float(low), float(high)


def _both(row: Sampled, rng: np.random.Generator) -> np.ndarray:
    seeds, resamples = row.drawn.shape
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    return np.einsum("sr,rs->r", row.drawn, chosen)


def coverage(world: World, experiments: int, utterances: int, seeds: list[int]) -> dict[tuple[int, str], np.ndarray]:
    """By number of seeds and by metric, with ``Δ`` before it for the difference: how many in 100 hold.

    Returns:
        float64 (4,): those of :data:`KINDS`, then in how many in 100 a difference as large as what is detectable has
        p < .05; NaN of a single system.
    """
    truth = world.truth()
    rng, resampling = np.random.default_rng(1), np.random.default_rng(2)  # of experiments, and of what is made of them
    held: dict[tuple[int, str], list[list[float]]] = {}
    for _ in range(experiments):
        predictions, labels = world.systems(rng, max(seeds), utterances)
        first, second = sampled_metrics(MOSI, predictions, labels, RESAMPLES)
        for n in seeds:
            for metric in METRICS:
                a, b = (Sampled(s[metric].observed[:n], s[metric].drawn[:n], utterances) for s in (first, second))
                for name, other, true in ((metric, None, truth[metric]), (f"Δ {metric}", b, 0.0)):
                    found = estimate(a, other)
                    intervals = (
                        (found.low, found.high),
                        percentiles(a, other, resampling),
                        (found.utterances_low, found.utterances_high),
                    )
                    held.setdefault((n, name), []).append(
                        [*(low <= true <= high for low, high in intervals), found.value, found.error, found.df]
                    )
    return {key: _summary(np.array(own, dtype=float), power=key[1].startswith("Δ")) for key, own in held.items()}


def _summary(own: np.ndarray, *, power: bool) -> np.ndarray:
    held, (value, error, df) = own[:, :3].mean(axis=0), own[:, 3:].T
    if not power:
        return np.append(100 * held, np.nan)
    detectable = np.median((stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * error)  # of a true difference of 0
    shown = np.abs(value + detectable) > stats.t.ppf(0.975, df) * error
    return np.append(100 * held, 100 * shown.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--utterances", type=int, default=686)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--spreads", type=float, nargs="+", default=[0.0, 0.03, 0.1])
    args = parser.parse_args()
    print(f"| spread of seeds | seeds | | {' | '.join(KINDS)} | power |")
    print("|---:|---:|---|---:|---:|---:|---:|")
    for spread in args.spreads:
        found = coverage(World(spread), args.experiments, args.utterances, args.seeds)
        for (n, name), own in sorted(found.items(), key=lambda item: item[0][0]):
            cells = ["" if np.isnan(value) else f"{value:.1f}" for value in own]
            print(f"| {spread:g} | {n} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
