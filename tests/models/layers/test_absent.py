from __future__ import annotations

import pytest
import torch
from settings import composed

from mmsa_lightning.batch import Batch
from mmsa_lightning.experiment.components import build
from mmsa_lightning.models.layers.absent import Absent, learn_absent
from mmsa_lightning.training.optim import parameter_groups

DIMS = {"text": None, "audio": 5, "vision": 20}
DROPPED = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=torch.bool)


@pytest.fixture
def batch(batch: Batch) -> Batch:
    batch.dropped = DROPPED
    for m, column in (("audio", 1), ("vision", 2)):
        batch.sequence(m).values[DROPPED[:, column]] = 0
    return batch


def test_dropped_modalities_hold_their_vector_and_nothing_else_moves(batch: Batch) -> None:
    absent = Absent(DIMS)
    assert {name: p.shape for name, p in absent.named_parameters()} == {"vectors.audio": (5,), "vectors.vision": (20,)}
    with torch.no_grad():
        absent.vectors["audio"] += 7
        absent.vectors["vision"] += torch.arange(20)
    found = absent(batch)
    assert found.tokens is batch.tokens and found.index is batch.index
    for m, column, vector in (("audio", 1, torch.full((5,), 7.0)), ("vision", 2, torch.arange(20.0))):
        for row in range(4):
            n = int(batch.sequence(m).lengths[row])
            before, now = batch.sequence(m).values[row], found.sequence(m).values[row]
            expected = vector.expand(n, -1) if DROPPED[row, column] else before[:n]
            assert torch.equal(now[:n], expected)
            assert torch.equal(now[n:], before[n:])  # padding
    found.sequence("audio").values.sum().backward()
    assert absent.vectors["audio"].grad.tolist() == [6 + 5] * 5  # the steps of the first and the last utterance


def test_nothing_happens_where_nothing_can_be_dropped(batch: Batch) -> None:
    batch.dropped = None
    assert Absent(DIMS)(batch) is batch


@pytest.mark.parametrize("model", ["interactive_attention", "mag_bert", "misa", "tfn"])
def test_any_model_learns_its_vectors(batch: Batch, tiny_bert: str, model: str) -> None:
    config = composed(f"model={model}", "text=bert", f"text_encoder={tiny_bert}")
    torch.manual_seed(0)
    built = build("model", config["model"], where_null={"limit": 3.0}, dims=DIMS).eval()
    before = built(batch).prediction
    learn_absent(built, DIMS)
    assert torch.equal(built(batch).prediction, before)  # they begin at zero, and nothing is drawn
    groups = {g["name"]: g["params"] for g in parameter_groups(built, **_rates(config))}
    vectors = list(built.absent.parameters())
    assert all(any(p is v for p in groups["other"]) for v in vectors)
    with torch.no_grad():
        for vector in vectors:
            vector += 3
    moved = built(batch).prediction
    assert ((moved - before).abs() > 1e-7).tolist() == DROPPED[:, 1:].any(dim=1).tolist()
    moved.sum().backward()
    assert all(v.grad is not None and v.grad.any() for v in vectors)


def _rates(config: dict[str, dict]) -> dict[str, dict]:
    return {name: config["optim"][name] for name in ("lr", "weight_decay")}
