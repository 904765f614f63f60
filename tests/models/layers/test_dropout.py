from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmsa_lightning import models
from mmsa_lightning.models.layers.dropout import Dropout, dropout, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_as_asked_for_are_dropped_and_the_rest_made_up_for(p: float) -> None:
    torch.manual_seed(0)
    n = 1_000_000
    found = dropout(torch.ones(n), p, training=True)
    dropped = (found == 0).double()
    assert abs(dropped.mean() - p) < 5 * (p * (1 - p) / n) ** 0.5
    torch.testing.assert_close(found[found != 0], torch.full((n - int(dropped.sum()),), 1 / (1 - p)), rtol=2e-4, atol=0)


def test_the_decisions_of_one_number_are_independent_and_alike() -> None:
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(250_000, 4), 0.5, training=True) == 0).double()
    torch.testing.assert_close(dropped.mean(dim=0), torch.full((4,), 0.5, dtype=torch.double), rtol=0, atol=0.005)
    assert (dropped.T.corrcoef() - torch.eye(4)).abs().max() < 0.01


def test_the_gradient_goes_where_the_value_went() -> None:
    x = torch.rand(3, 5, 7, requires_grad=True)
    found = dropout(x, 0.4, training=True)
    found.sum().backward()
    assert x.grad is not None and 0 < (x.grad == 0).sum() < x.numel()
    torch.testing.assert_close(found, x * x.grad)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_off_it_changes_nothing(p: float, training: bool) -> None:
    x = torch.rand(3, 5)
    assert torch.equal(dropout(x, p, training), x)


def test_the_same_seed_drops_the_same() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(dropout(torch.ones(50), 0.5, training=True))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_every_dropout_of_a_module_is_replaced() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)), nn.Dropout(0.2))
    replace_dropout(module)
    replaced = [child for child in module.modules() if isinstance(child, nn.Dropout)]
    assert [(type(child), child.p) for child in replaced] == [(Dropout, 0.3), (Dropout, 0.2)]


def test_the_models_use_it() -> None:
    sources = Path(models.__file__).parent.rglob("*.py")
    assert not [path.name for path in sources if "nn.Dropout(" in path.read_text()]
