"""Each protocol against scikit-learn, SciPy and a transcription of MMSA's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from mmsa_lightning.training.metrics import sentiment_metrics
from mmsa_lightning.training.protocols import (
    LOWER_IS_BETTER,
    MOSI,
    OTHER,
    PROTOCOLS,
    SIMS,
    Protocol,
    bounds,
    classes,
    corr,
)

# ----------------------------------------------------------------------------------------------------- MOSI and MOSEI


def reference(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """``mosi`` in numpy, scikit-learn and SciPy."""

    def both(name: str, true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        if not len(true):
            return {f"acc2_{name}": math.nan, f"f1_{name}": math.nan}
        f1 = f1_score(true, predicted, average="weighted")
        return {f"acc2_{name}": accuracy_score(true, predicted), f"f1_{name}": f1}

    def classes(values: np.ndarray, limit: int) -> np.ndarray:
        return np.round(np.clip(values, -limit, limit)).astype(int)

    constant = np.ptp(prediction) == 0 or np.ptp(target) == 0
    kept = target != 0
    return {
        "mae": mean_absolute_error(target, prediction),
        "corr": math.nan if constant else pearsonr(prediction, target).statistic,
        "acc7": accuracy_score(classes(target, 3), classes(prediction, 3)),
        "acc5": accuracy_score(classes(target, 2), classes(prediction, 2)),
        **both("has0", target >= 0, prediction >= 0),
        **both("non0", target[kept] > 0, prediction[kept] > 0),
    }


def _inputs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    labels = rng.integers(-9, 10, 200) / 3
    halves = rng.integers(-8, 9, 200) / 2  # ties of rounding, beyond the clip, and exact zeros
    return {
        "random": (labels + rng.normal(0, 1, 200), labels),
        "far": (1e6 + 10 * rng.normal(0, 1, 200), labels),
        "tied": (halves, rng.integers(-6, 7, 200) / 2),
        "perfect": (labels, labels),
        "opposite": (-labels, labels),
        "constant prediction": (np.full(200, 0.1), labels),  # the mean of 200 times 0.1 is not exactly 0.1
        "zero prediction": (np.zeros(200), labels),
        "constant label": (halves, np.full(200, -1.4)),
        "zero label": (halves, np.zeros(200)),
        "both constant": (np.full(200, 0.7), np.full(200, 0.7)),
        "two": (np.array([0.2, -0.3]), np.array([1.0, 2.0])),
        "one": (np.array([0.5]), np.array([0.4])),
        "one, labelled zero": (np.array([-0.5]), np.array([0.0])),
    }


@pytest.mark.parametrize("case", _inputs())
def test_equals_the_reference(case: str) -> None:
    prediction, target = _inputs()[case]
    tensors = torch.from_numpy(prediction), torch.from_numpy(target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {name: function(*tensors) for name, function in MOSI.metrics.items()}
    assert all(value.dtype == torch.float64 and value.shape == () for value in found.values())
    values = {name: value.item() for name, value in found.items()}
    assert values == pytest.approx(reference(prediction, target), rel=1e-9, abs=1e-12, nan_ok=True)


def test_undefined_is_nan() -> None:
    labels = torch.tensor([-1.0, 0.0, 2.0]).double()
    constant, zeros = torch.full_like(labels, 0.1), torch.zeros_like(labels)
    assert corr(constant, labels).isnan()
    assert corr(labels, constant).isnan()
    assert corr(labels[:1], labels[:1]).isnan()
    assert [name for name, function in MOSI.metrics.items() if function(labels, zeros).isnan()] == [
        "corr",
        "acc2_non0",
        "f1_non0",
    ]
    assert all(function(labels[:0], labels[:0]).isnan() for function in MOSI.metrics.values())


@pytest.mark.parametrize(
    ("name", "value", "rounded"),
    [
        *[("acc7", 0.5, 0), ("acc7", 1.5, 2), ("acc7", 2.5, 2), ("acc7", -2.5, -2), ("acc7", 0.50001, 1)],
        *[("acc7", 3.7, 3), ("acc7", -9.0, -3), ("acc5", -0.5, 0), ("acc5", 1.5, 2), ("acc5", 3.7, 2)],
    ],
)
def test_rounding_by_hand(name: str, value: float, rounded: int) -> None:
    values, classes = torch.full((7,), value).double(), torch.arange(-3, 4).double()
    limit = int(name[-1]) // 2
    expected = (classes.clamp(-limit, limit) == rounded).double().mean()
    assert MOSI.metrics[name](values, classes) == expected > 0
    assert MOSI.metrics[name](classes, values) == expected


def test_zero_by_hand() -> None:
    prediction = torch.tensor([0.0, 0.0, 0.0, -1.0]).double()
    target = torch.tensor([1.0, 0.0, -1.0, -1.0]).double()
    found = {name: function(prediction, target).item() for name, function in MOSI.metrics.items() if "2" in name}
    # with zeros: predicted + + + -, true + + - -; without: predicted - - -, true + - -
    assert found == {"acc2_has0": 3 / 4, "acc2_non0": 2 / 3}
    f1 = MOSI.metrics["f1_has0"](prediction, target), MOSI.metrics["f1_non0"](prediction, target)
    assert f1 == pytest.approx((1 / 2 * 4 / 5 + 1 / 2 * 2 / 3, 2 / 3 * 4 / 5 + 1 / 3 * 0))


def test_accuracies_of_classes_are_left_undefined_on_another_scale() -> None:
    stars = torch.tensor([1.0, -3.0, 0.2, 5.0]).double()
    on, off = ({name: float(f(stars, stars)) for name, f in p.metrics.items()} for p in (MOSI, OTHER))
    assert list(off) == list(on)
    assert set(on.values()) == {1.0, 0.0}
    assert {name for name, value in off.items() if math.isnan(value)} == {"acc7", "acc5"}
    assert all(off[name] == on[name] for name in off if name not in ("acc7", "acc5"))


# ------------------------------------------------------------------------------------------------------------ CH-SIMS


def mmsa_sims(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """What MMSA 2.2.1 computes, ``metricsTop.py`` ``__eval_sims_regression``, from float32, without its rounding."""
    prediction, truth = np.clip(prediction, -1.0, 1.0), np.clip(truth, -1.0, 1.0)

    def classes(values: np.ndarray, edges: list[float]) -> np.ndarray:
        found = values.copy()
        for i in range(len(edges) - 1):
            found[np.logical_and(values > edges[i], values <= edges[i + 1])] = i
        return found

    edges = {2: [-1.01, 0.0, 1.01], 3: [-1.01, -0.1, 0.1, 1.01], 5: [-1.01, -0.7, -0.1, 0.1, 0.7, 1.01]}
    found = {n: (classes(prediction, e), classes(truth, e)) for n, e in edges.items()}
    constant = np.ptp(prediction) == 0 or np.ptp(truth) == 0
    return {
        "mae": mean_absolute_error(truth.astype(float), prediction.astype(float)),
        "corr": math.nan if constant else pearsonr(prediction.astype(float), truth.astype(float)).statistic,
        "acc2": accuracy_score(found[2][1], found[2][0]),
        "f1": f1_score(found[2][1], found[2][0], average="weighted"),
        "acc3": accuracy_score(found[3][1], found[3][0]),
        "acc5": accuracy_score(found[5][1], found[5][0]),
    }


def _sims_inputs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(11)
    labels = rng.integers(-5, 6, 200) / 5
    edges = np.float32([-1.01, -1, -0.7, -0.1, 0, 0.1, 0.7, 1, 1.01, 0.1 + 1e-6, -0.1 - 1e-6])
    near = np.concatenate([edges, np.nextafter(edges, np.float32(9)), np.nextafter(edges, np.float32(-9))])
    pairs = np.array(np.meshgrid(near, near)).reshape(2, -1)
    return {
        "random": (labels + rng.normal(0, 0.5, 200), labels),
        "far": (1e6 * rng.normal(0, 1, 200), labels),
        "on the edges and beside them": (pairs[0], pairs[1]),
        "perfect": (labels, labels),
        "opposite": (-labels, labels),
        "constant prediction": (np.full(200, 0.1), labels),
        "constant only when clipped": (1 + labels**2, labels),
        "one class": (np.full(200, 0.3), np.full(200, 0.4)),
        "a class that is never true": (labels, np.full(200, -0.2)),
        "a class that is never predicted": (np.full(200, -0.2), labels),
        "one": (np.array([0.1]), np.array([-0.1])),
        "one on the edge": (np.array([0.1]), np.array([0.0])),
    }


@pytest.mark.parametrize("case", _sims_inputs())
def test_ch_sims_equals_mmsas(case: str) -> None:
    prediction, target = (values.astype(np.float32) for values in _sims_inputs()[case])
    metrics = sentiment_metrics("", SIMS)
    metrics.update(torch.from_numpy(prediction), torch.from_numpy(target), torch.arange(len(target)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {name: value.item() for name, value in metrics.compute().items()}
    assert found == pytest.approx(mmsa_sims(prediction, target), rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("metric", "classes"),
    [
        ("acc2", [[-1.0, -0.2, 0.0], [1e-9, 1.0]]),
        ("acc3", [[-1.0, -0.1], [-0.0999, 0.0, 0.1], [0.1001, 1.0]]),
        ("acc5", [[-1.0, -0.7], [-0.6999, -0.1], [-0.0999, 0.0, 0.1], [0.1001, 0.7], [0.7001, 1.0]]),
    ],
)
def test_classes_of_ch_sims_by_hand(metric: str, classes: list[list[float]]) -> None:
    """Stored as float32, where 0.1 and 0.7 are not exactly themselves."""
    values = [(torch.tensor([value]).double(), i) for i, own in enumerate(classes) for value in own]
    for one, i in values:
        for other, j in values:
            assert SIMS.metrics[metric](one, other) == (i == j)


# ------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_what_is_shown_is_measured(protocol: Protocol) -> None:
    assert set(protocol.drawn) <= set(protocol.headings) <= set(protocol.metrics)
    assert set(LOWER_IS_BETTER) <= set(protocol.headings)
    empty = torch.zeros(0).double()
    assert all(function(empty, empty).isnan() for function in protocol.metrics.values())


def test_bounds_of_metrics() -> None:
    assert (bounds("mae"), bounds("corr"), bounds("acc7")) == ((0, math.inf), (-1, 1), (0, 1))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (-0.9, ["negative", "negative", "negative"]),
        (-0.4, ["negative", "negative", "weakly negative"]),
        (0.0, ["negative", "neutral", "neutral"]),
        (0.05, ["positive", "neutral", "neutral"]),
        (0.4, ["positive", "positive", "weakly positive"]),
        (0.9, ["positive", "positive", "positive"]),
    ],
)
def test_classes_of_ch_sims_have_their_names(prediction: float, expected: list[str]) -> None:
    assert list(classes("sims", prediction).values()) == expected
