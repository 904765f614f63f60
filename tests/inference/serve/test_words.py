"""Words against the classes that accuracies are of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmsa_lightning.inference.serve.words import FIVE, SEVEN, in_words, polarity
from mmsa_lightning.training import protocols

VALUES = torch.arange(-40, 41, dtype=torch.float64) / 10


def about(protocol: str, low: float, high: float) -> Any:
    return SimpleNamespace(protocol=protocol, label_range=[low, high])


@pytest.mark.parametrize(("protocol", "limit", "names"), [("mosi", 3, SEVEN), ("sims", 1, FIVE)])
def test_words_are_the_classes_of_the_protocol(protocol: str, limit: float, names: tuple[str, ...]) -> None:
    metrics = protocols.PROTOCOLS[protocol].metrics
    many, two = metrics["acc7" if protocol == "mosi" else "acc5"], metrics.get("acc2_non0", metrics.get("acc2"))
    assert two is not None
    package = about(protocol, -limit, limit)
    middles = dict(zip(torch.linspace(-limit, limit, len(names)).tolist(), names, strict=True))
    if protocol == "sims":
        middles = dict(zip((-0.8, -0.4, 0.0, 0.4, 0.8), names, strict=True))
    for value in protocols.PROTOCOLS[protocol].clipped(VALUES).tolist():
        (own,) = [name for middle, name in middles.items() if many(torch.tensor([value]), torch.tensor([middle])) == 1]
        assert in_words(package, value) == own, value
        is_positive = two(torch.tensor([value]), torch.tensor([0.5])) == 1
        assert polarity(package, value) == ("positive" if is_positive else "negative")


def test_other_labels_have_no_words() -> None:
    assert in_words(about("other", 1, 5), 3.0) is None and polarity(about("other", 1, 5), 3.0) is None
    assert in_words(about("other", -2, 2), 1.0) is None and polarity(about("other", -2, 2), 1.0) == "positive"
