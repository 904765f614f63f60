from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives.misa import EPSILON, PARTS, MISALoss, central_moment_discrepancy, difference

WEIGHTS: dict[str, Any] = {"diff_weight": 0.1, "sim_weight": 0.3, "recon_weight": 0.7, "moments": 5}
MODALITIES = ("text", "audio", "vision")


def _reference_difference(x: list[list[float]], y: list[list[float]]) -> float:
    """The mean square of every entry of XᵀY, rows with zero mean over the batch and unit length."""

    def unit(rows: list[list[float]]) -> list[list[float]]:
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        centred = [[v - m for v, m in zip(row, mean, strict=True)] for row in rows]
        return [[v / (math.sqrt(sum(w * w for w in row)) + EPSILON) for v in row] for row in centred]

    x, y = unit(x), unit(y)
    entries = [sum(a[i] * b[j] for a, b in zip(x, y, strict=True)) for i in range(len(x[0])) for j in range(len(y[0]))]
    return sum(e * e for e in entries) / len(entries)


def _reference_cmd(x: list[list[float]], y: list[list[float]], moments: int) -> float:
    total = 0.0
    for k in range(1, moments + 1):
        squares = 0.0
        for a, b in zip(zip(*x, strict=True), zip(*y, strict=True), strict=True):  # column by column
            mean_a, mean_b = (sum(c) / len(c) for c in (a, b))
            m_a = mean_a if k == 1 else sum((v - mean_a) ** k for v in a) / len(a)
            m_b = mean_b if k == 1 else sum((v - mean_b) ** k for v in b) / len(b)
            squares += (m_a - m_b) ** 2
        total += math.sqrt(squares)
    return total


def make_output(batch: Batch, modalities: tuple[str, ...] = MODALITIES, width: int = 6, seed: int = 0) -> ModelOutput:
    generator = torch.Generator().manual_seed(seed)
    n = len(batch)
    features = {
        f"{part}_{m}": torch.rand(n, width, generator=generator).requires_grad_() for m in modalities for part in PARTS
    }
    return ModelOutput(torch.randn(n, generator=generator).requires_grad_(), features=features)


def widths(*modalities: str) -> dict[str, int]:
    return {f"{part}_{m}": 6 for part in PARTS for m in modalities}


def test_moments_by_hand() -> None:
    """x deviates by -.3, -.3, .6 from .3: its central moments 2 to 5 are .18, .054, .0486, .0243. Those of y are 0."""
    x, y = torch.tensor([[0.0], [0.0], [0.9]]), torch.full((3, 1), 0.3)
    sums = {1: 0.0, 2: 0.18, 3: 0.234, 4: 0.2826, 5: 0.3069}
    for moments, expected in sums.items():
        assert float(central_moment_discrepancy(x, y, moments)) == pytest.approx(expected, abs=1e-6)
    # A second column whose mean alone differs, by .4: ‖(0, .4)‖ is added, and nothing to the other moments.
    x, y = (torch.cat([v, v], dim=1) + torch.tensor([0.0, offset]) for v, offset in ((x, 0.4), (x, 0.0)))
    assert float(central_moment_discrepancy(x, y, 5)) == pytest.approx(0.4, abs=1e-6)
    # Both columns differ in a moment: lengths are of vectors, √(.18² + .18²).
    x, y = torch.tensor([[0.0], [0.0], [0.9]]).expand(3, 2), torch.full((3, 2), 0.3)
    assert float(central_moment_discrepancy(x, y, 2)) == pytest.approx(0.18 * math.sqrt(2), abs=1e-6)


@pytest.mark.parametrize("moments", [1, 3, 5])
def test_moments_equal_loops(moments: int) -> None:
    x, y = torch.rand(2, 7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = _reference_cmd(x.tolist(), y.tolist(), moments)
    assert float(central_moment_discrepancy(x, y, moments)) == pytest.approx(expected, rel=1e-9)


def test_difference_by_hand() -> None:
    x = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    assert float(difference(x, 5 + 3 * x)) == pytest.approx(16 / 4, abs=1e-4)  # XᵀY has one 4 in its 2 x 2 entries
    unrelated = torch.tensor([[0, 1.0], [0, 1], [0, -1], [0, -1]])
    assert float(difference(x, unrelated)) == pytest.approx(0, abs=1e-6)


def test_difference_equals_loops() -> None:
    x, y = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert float(difference(x, y)) == pytest.approx(_reference_difference(x.tolist(), y.tolist()), rel=1e-9)


def test_lengths_are_constants_to_the_gradient_of_the_difference() -> None:
    """The loss is then of degree 2 in x, so that x · gradient is twice the loss (Euler); with lengths that follow x it
    would be of degree 0."""
    x, y = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x.requires_grad_()
    loss = difference(x, y)
    loss.backward()
    assert x.grad is not None
    assert float((x.detach() * x.grad).sum()) == pytest.approx(2 * float(loss.detach()), rel=1e-9)


@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "vision")], ids="-".join)
def test_total_is_made_of_the_terms(batch: Batch, modalities: tuple[str, ...]) -> None:
    output = make_output(batch, modalities)
    loss = MISALoss(**WEIGHTS)(output, batch, 1)
    f = {name: feature.tolist() for name, feature in output.features.items()}
    pairs = list(combinations(modalities, 2))
    n, width = len(batch), 6

    task = sum((p - y) ** 2 for p, y in zip(output.prediction.tolist(), batch.label.tolist(), strict=True)) / n
    diff = sum(_reference_difference(f[f"private_{m}"], f[f"shared_{m}"]) for m in modalities)
    diff += sum(_reference_difference(f[f"private_{a}"], f[f"private_{b}"]) for a, b in pairs)
    sim = sum(_reference_cmd(f[f"shared_{a}"], f[f"shared_{b}"], 5) for a, b in pairs) / len(pairs)
    recon = sum(
        (f[f"reconstructed_{m}"][i][d] - f[f"projected_{m}"][i][d]) ** 2 / (n * width)
        for m in modalities
        for i in range(n)
        for d in range(width)
    ) / len(modalities)

    expected = {"multimodal": task, "diff": diff, "sim": sim, "recon": recon}
    assert {name: float(term.detach()) for name, term in loss.terms.items()} == pytest.approx(expected, rel=1e-4)
    assert {k: float(w) for k, w in loss.weights.items()} == pytest.approx(
        {"multimodal": 1, "diff": 0.1, "sim": 0.3, "recon": 0.7}
    )
    assert float(loss.total.detach()) == pytest.approx(task + 0.1 * diff + 0.3 * sim + 0.7 * recon, rel=1e-4)


@pytest.mark.parametrize("same", [False, True], ids=["one utterance", "one utterance, all shared vectors the same"])
def test_a_batch_of_one_has_finite_losses_and_gradients(batch_of: Any, same: bool) -> None:
    one = batch_of([4])
    output = make_output(one)
    if same:
        for m in MODALITIES:
            output.features[f"shared_{m}"] = torch.full((1, 6), 0.5, requires_grad=True)
    loss = MISALoss(**WEIGHTS)(output, one, 1)
    loss.total.backward()
    assert float(loss.terms["diff"].detach()) == 0
    shared = [output.features[f"shared_{m}"][0] for m in MODALITIES]
    first_moments = sum(float((a - b).detach().norm()) for a, b in combinations(shared, 2)) / 3
    assert float(loss.terms["sim"].detach()) == pytest.approx(first_moments, rel=1e-5)
    for name, feature in output.features.items():
        assert feature.grad is not None and feature.grad.isfinite().all(), name


def test_in_64_bits_the_terms_are_weighted_in_64_bits(batch: Batch) -> None:
    output = make_output(batch)
    output.features = {name: feature.detach().double() for name, feature in output.features.items()}
    batch.label, output.prediction = batch.label.double(), output.prediction.detach().double()
    loss = MISALoss(**WEIGHTS).double()(output, batch, 1)
    weights = {"multimodal": 1.0, "diff": 0.1, "sim": 0.3, "recon": 0.7}
    assert {name: float(weight) for name, weight in loss.weights.items()} == weights
    expected = sum(weights[name] * float(term) for name, term in loss.terms.items())
    assert float(loss.total) == pytest.approx(expected, rel=1e-14)


def test_losses_stay_in_float32_under_autocast(batch: Batch) -> None:
    output = make_output(batch)
    exact = MISALoss(**WEIGHTS)(output, batch, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = MISALoss(**WEIGHTS)(output, batch, 1)
        torch.testing.assert_close(loss.total, exact.total)  # no matrix product in bfloat16 either
        output.prediction = output.prediction.bfloat16()
        output.features = {name: feature.bfloat16() for name, feature in output.features.items()}
        loss = MISALoss(**WEIGHTS)(output, batch, 1)
    assert all(t.dtype == torch.float32 for t in [loss.total, *loss.terms.values(), *loss.weights.values()])


def test_it_says_which_models_it_can_train(batch: Batch) -> None:
    objective = MISALoss(**WEIGHTS)
    objective.setup(batch.label, widths("text", "audio"))
    lacking = widths("text", "audio")
    del lacking["reconstructed_audio"]
    for wrong in ({}, {"fusion": 4, "text": 3}, widths("text"), lacking):
        with pytest.raises(ValueError, match="feature_widths"):
            objective.setup(batch.label, wrong)


@pytest.mark.parametrize("wrong", [{"diff_weight": -0.1}, {"sim_weight": -1.0}, {"recon_weight": -1.0}, {"moments": 0}])
def test_a_number_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 0|from 1"):
        MISALoss(**WEIGHTS | wrong)


def test_weights_are_settings_and_not_in_a_checkpoint() -> None:
    assert MISALoss(**WEIGHTS).state_dict() == {}
