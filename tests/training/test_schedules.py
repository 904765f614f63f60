from __future__ import annotations

from typing import Any

import pytest
import torch

from mmsa_lightning.training.schedules import build_schedule


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)


def rates(schedule: dict[str, Any], optimizer: torch.optim.Optimizer, *values: float) -> list[float]:
    """The learning rate before each step, and after the last; a plateau's steps see ``values``."""
    found = [optimizer.param_groups[0]["lr"]]
    for value in values:
        optimizer.step()
        schedule["scheduler"].step(*([value] if "monitor" in schedule else []))
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_linear_goes_up_over_its_share_and_down_to_zero() -> None:
    sgd = optimizer()
    schedule = build_schedule(sgd, 10, {"name": "linear", "warmup": 0.2})
    assert schedule["interval"] == "step"
    expected = [0, 0.4, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]
    assert rates(schedule, sgd, *[0.0] * 10) == pytest.approx(expected)


def test_plateau_waits_for_its_patience_and_takes_the_best_as_the_mark() -> None:
    sgd = optimizer()
    schedule = build_schedule(sgd, 10, {"name": "plateau", "factor": 0.5, "patience": 1})
    # 1.0 is the best until .9; two epochs that are no better halve the rate
    assert rates(schedule, sgd, 1.0, 1.1, 0.9, 0.95, 0.92, 0.91) == pytest.approx([0.8, 0.8, 0.8, 0.8, 0.8, 0.4, 0.4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("linear", "a name of linear, plateau"),
        ({"name": "cosine"}, "a name of linear, plateau"),
        ({"name": "linear"}, r"linear takes warmup \(a number\)"),
        ({"name": "linear", "warmup": "all"}, r"linear takes warmup \(a number\)"),
        ({"name": "linear", "warmup": 0.1, "patience": 2}, "linear takes warmup"),
        ({"name": "linear", "warmup": 1.5}, "warmup=1.5"),
        ({"name": "plateau", "factor": 0.1}, r"factor \(a number\), patience \(a whole number\)"),
        ({"name": "plateau", "factor": 1.0, "patience": 2}, "factor=1.0"),
        ({"name": "plateau", "factor": 0.1, "patience": -1}, "patience=-1"),
    ],
)
def test_a_wrong_option_is_named(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_schedule(optimizer(), 10, options)


def test_a_plateau_counts_a_gain_of_more_than_a_hundredth_of_a_percent() -> None:
    sgd = optimizer()
    schedule = build_schedule(sgd, 10, {"name": "plateau", "factor": 0.5, "patience": 0})
    assert rates(schedule, sgd, 1.0, 0.999, 0.998, 0.99795) == [0.8, 0.8, 0.8, 0.8, 0.4]
