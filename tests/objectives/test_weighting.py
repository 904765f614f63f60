"""Each scheme beside its formula, written out in plain Python, and beside TorchJD where that has the same one.

Three tasks over fifty batches, ten an epoch: the losses of two of them are zero in the first two epochs, as those that
(17) weights are, and one of these is zero now and then later.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mmsa_lightning.objectives import weighting
from mmsa_lightning.objectives.weighting import LARGEST_LOG_B, LARGEST_RATE, Weighting, ratio_weights, scheme

SCHEMES = ("equal", "ratio", "uncertainty", "dwa", "rlw")  # what needs no gradients
EPOCHS, BATCHES = 5, 10


def made(name: str, tasks: int = 3, **options: Any) -> Weighting:
    return scheme(name, **{"detach_ratio": True, "temperature": 2.0} | options)(tasks)


def losses(seed: int = 0) -> Tensor:
    """float32 (epochs, batches, tasks)."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(EPOCHS, BATCHES, 3, generator=generator) + 0.1
    values[:, :, 0] += 1.0  # the main task's
    values[:2, :, 1:] = 0
    values[3, ::2, 2] = 0
    return values


def weights_over(weigh: Weighting, values: Tensor) -> list[list[float]]:
    found = []
    for epoch in values:
        weigh.start_epoch()
        for batch in epoch:
            total, weights = weigh(batch)
            assert total.isfinite() and weights.isfinite().all() and not weights.requires_grad
            found.append(weights.tolist())
    return found


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def test_ratio_by_hand_and_its_gradient() -> None:
    """(19): L = ΣL² / ΣL. Detached, dL/dL_s is the share; else it is that of the quotient."""
    losses = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    total = (ratio_weights(losses, detach=True) * losses).sum()
    assert float(total.detach()) == pytest.approx(30 / 8)
    total.backward()
    assert losses.grad is not None
    torch.testing.assert_close(losses.grad, torch.tensor([1.0, 2.0, 5.0]) / 8)

    losses.grad = None
    (ratio_weights(losses, detach=False) * losses).sum().backward()
    torch.testing.assert_close(losses.grad, (2 * losses.detach() * 8 - 30) / 64)


def test_ratio_of_nothing_is_nothing() -> None:
    assert ratio_weights(torch.zeros(3), detach=True).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", SCHEMES)
def test_a_task_without_a_loss_so_far_weighs_1_and_is_not_there_for_the_others(name: str) -> None:
    values = losses()[:2]
    for weights, alone in zip(
        weights_over(made(name), values), weights_over(made(name, tasks=1), values[:, :, :1]), strict=True
    ):
        assert weights[0] == pytest.approx(alone[0], abs=1e-6)
        assert name == "ratio" or weights[1:] == [1, 1]  # a share of zero is as good


@pytest.mark.parametrize("name", SCHEMES)
def test_nothing_breaks_where_every_loss_is_zero(name: str) -> None:
    weights = weights_over(made(name), torch.zeros(3, 2, 3))
    assert name == "ratio" or weights == [[1, 1, 1]] * 6


@pytest.mark.parametrize(("name", "expected"), [("equal", [1, 1, 1]), ("ratio", None)])
def test_fixed_weights(name: str, expected: list[float] | None) -> None:
    for weights, batch in zip(weights_over(made(name), losses()), losses().flatten(0, 1).tolist(), strict=True):
        assert weights == pytest.approx(expected or [loss / sum(batch) for loss in batch], abs=1e-6)


def test_uncertainty_is_the_likelihood_of_laplace_and_learns_its_scale() -> None:
    """Σ L / b + log b, whose gradient for log b is 1 - L / b; with Adam as torch's documentation writes it."""
    weigh, rate = made("uncertainty"), 0.3
    adam = torch.optim.Adam(weigh.parameters(), lr=rate)
    s, m, v, begun = [0.0] * 3, [0.0] * 3, [0.0] * 3, [False] * 3
    for step, batch in enumerate(losses().flatten(0, 1), start=1):
        total, weights = weigh(batch)
        adam.zero_grad()
        total.backward()
        adam.step()

        values = batch.tolist()
        begun = [b or loss > 0 for b, loss in zip(begun, values, strict=True)]
        s = [max(-LARGEST_LOG_B, min(LARGEST_LOG_B, x)) for x in s]
        terms = [v / math.exp(x) + x if b else v for v, x, b in zip(values, s, begun, strict=True)]
        assert float(total.detach()) == pytest.approx(sum(terms), abs=1e-4)
        assert weights.tolist() == pytest.approx(
            [math.exp(-x) if b else 1 for x, b in zip(s, begun, strict=True)], rel=1e-4
        )
        for i in range(3):
            gradient = 1 - values[i] / math.exp(s[i]) if begun[i] else 0.0
            m[i] = 0.9 * m[i] + 0.1 * gradient
            v[i] = 0.999 * v[i] + 0.001 * gradient**2
            s[i] -= rate * (m[i] / (1 - 0.9**step)) / (math.sqrt(v[i] / (1 - 0.999**step)) + 1e-8)


def test_uncertainty_settles_where_a_weighted_loss_is_1_within_its_limits() -> None:
    weigh = made("uncertainty")
    optimizer = torch.optim.SGD(weigh.parameters(), lr=0.1)
    for loss in ([0.5, 2.0, 1e-4], [0.5, 2.0, 1.0]):  # the second shows that there is a way back from a limit
        for _ in range(500):
            optimizer.zero_grad()
            weigh(torch.tensor(loss))[0].backward()
            optimizer.step()
        _, weights = weigh(torch.tensor(loss))
        lightest = math.exp(-LARGEST_LOG_B)
        assert weights.tolist() == pytest.approx([1 / max(x, lightest) for x in loss], rel=1e-3)


def test_dwa_compares_the_means_of_the_last_two_epochs() -> None:
    values = losses()
    means = values.mean(dim=1).tolist()
    for step, weights in enumerate(weights_over(made("dwa", temperature=0.5), values)):
        epoch = step // BATCHES
        last, earlier = (means[epoch - n] if epoch >= n else [0.0] * 3 for n in (1, 2))
        begun = [i for i in range(3) if last[i] > 0 and earlier[i] > 0]
        share = softmax([min(LARGEST_RATE, last[i] / earlier[i]) / 0.5 for i in begun])
        expected = {i: len(begun) * s for i, s in zip(begun, share, strict=True)}
        assert weights == pytest.approx([expected.get(i, 1.0) for i in range(3)], abs=1e-5)


def test_dwa_leaves_the_main_task_its_weight_when_another_rises_from_nearly_nothing() -> None:
    values = torch.tensor([[1.0, 1e-6], [1.0, 1.0], [1.0, 1.0]]).unsqueeze(1)
    assert weights_over(made("dwa", tasks=2), values)[-1][0] == pytest.approx(2 / (1 + math.exp(0.5)), abs=1e-5)


def test_rlw_draws_the_same_after_the_same_seed_and_not_from_torchs_own_generator() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    weigh = made("rlw")
    found = weights_over(weigh, losses())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    for step, weights in enumerate(found):
        drawn = torch.randn(3).tolist()
        expected = softmax(drawn) if step >= 2 * BATCHES else [1, 1, 1]
        assert weights == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_state_is_all_in_the_checkpoint(name: str) -> None:
    """In the middle of an epoch and between two."""
    values = losses(1)
    torch.manual_seed(1)
    whole = made(name)
    expected = weights_over(whole, values)
    for done in (25, 40, 45):
        torch.manual_seed(1)
        first = made(name)
        torch.manual_seed(2)
        second = made(name)
        found = []
        for step, batch in enumerate(values.flatten(0, 1)):
            if step == done:
                second.load_state_dict(first.state_dict())
            weigh = first if step < done else second
            if step % BATCHES == 0:
                weigh.start_epoch()
            found.append(weigh(batch)[1].tolist())
        assert found == expected


def test_beside_torchjd() -> None:
    """Where every loss is above zero and no rate above the limit; UW has half of our loss and so of its gradient."""
    scalarization = pytest.importorskip("torchjd.scalarization", reason="needs TorchJD: the extra jd")
    growth = torch.linspace(1, 2, EPOCHS)[:, None] ** torch.tensor([1, -1, 2])  # of each task from epoch to epoch
    values = losses()[2:3] * growth[:, None, :]
    uw, dwa, rlw = scalarization.UW(3), scalarization.DWA(2.0), scalarization.Random()
    ours = {name: made(name) for name in ("uncertainty", "dwa")}
    steps = [
        torch.optim.SGD([*module.parameters()], lr=rate) for module, rate in ((uw, 0.1), (ours["uncertainty"], 0.05))
    ]
    torch.manual_seed(3)
    ours["rlw"] = made("rlw")
    for epoch in values:
        for weigh in ours.values():
            weigh.start_epoch()
        for batch in epoch:
            totals = {name: weigh(batch)[0] for name, weigh in ours.items()}
            theirs = {"uncertainty": 2 * uw(batch), "dwa": dwa(batch), "rlw": rlw(batch)}
            for name, total in totals.items():
                torch.testing.assert_close(total, theirs[name], msg=lambda m, name=name: f"{name}: {m}")
            for total, step in ((theirs["uncertainty"] / 2, steps[0]), (totals["uncertainty"], steps[1])):
                step.zero_grad()
                total.backward()
                step.step()
        dwa.step()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gradnorm", {}, "^weighting=gradnorm: choose one of equal, ratio, uncertainty, dwa, rlw, upgrad, pcgrad$"),
        ("dwa", {"temperature": 0.0}, r"^temperature=0\.0: give a number above 0$"),
    ],
)
def test_what_there_is_not_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(name, **options)


def test_without_torchjd_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighting, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"^weighting=upgrad needs TorchJD: pip install 'mmsa-lightning\[jd\]'$"):
        made("upgrad")


@pytest.mark.parametrize("name", ["upgrad", "pcgrad"])
def test_gradients_that_do_not_conflict_are_summed(name: str) -> None:
    """With a Gramian that a task without a loss so far has a row of zeros in; and one that is not a number."""
    pytest.importorskip("torchjd", reason="needs TorchJD: the extra jd")
    combine = made(name).combine
    assert combine is not None
    agree = torch.tensor([[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(combine(agree), torch.ones(3))
    torch.testing.assert_close(combine(agree * math.nan), torch.ones(3))


@pytest.mark.parametrize("name", ["upgrad", "pcgrad"])
def test_of_two_gradients_that_conflict_each_loses_what_harms_the_other(name: str) -> None:
    """By hand: g - (g · h / h · h) h, both ways; both rules are that one projection where there are two tasks."""
    pytest.importorskip("torchjd", reason="needs TorchJD: the extra jd")
    combine = made(name, tasks=2).combine
    assert combine is not None
    g, h = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 2.0])
    rows = torch.stack([g, h])
    expected = g - (g @ h) / (h @ h) * h + h - (g @ h) / (g @ g) * g
    torch.testing.assert_close(combine(rows @ rows.T) @ rows, expected, rtol=1e-3, atol=1e-3)
