from __future__ import annotations

import math

import pytest
import torch

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.attention import attention_scores, attention_weights, scaled_attention


def _reference_weights(query: torch.Tensor, key: torch.Tensor, steps: int) -> list[list[float]]:
    """softmax(q kᵀ) element by element, for one utterance whose key has ``steps`` real steps."""
    rows = []
    for q in query.tolist():
        scores = [sum(a * b for a, b in zip(q, k, strict=True)) for k in key.tolist()[:steps]]
        total = sum(math.exp(s) for s in scores)
        rows.append([math.exp(s) / total for s in scores] + [0.0] * (len(key) - steps))
    return rows


def test_equals_a_loop_over_elements(batch: Batch) -> None:
    assert batch.audio is not None
    query = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(1))
    weights = attention_weights(attention_scores(query, batch.audio.values), batch.audio.mask)
    for i, steps in enumerate(batch.audio.lengths.tolist()):
        expected = torch.tensor(_reference_weights(query[i], batch.audio.values[i], steps))
        torch.testing.assert_close(weights[i], expected, rtol=1e-5, atol=1e-6)


def test_padding_gets_no_weight_and_rows_sum_to_one(batch: Batch) -> None:
    assert batch.audio is not None
    weights = attention_weights(attention_scores(batch.audio.values, batch.audio.values), batch.audio.mask)
    assert (weights.transpose(1, 2)[~batch.audio.mask] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 6))


@pytest.mark.parametrize("biased", [False, True])
def test_attention_with_dropout_is_that_without_but_for_what_is_dropped(biased: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 6, 5, dtype=torch.double).unbind()
    allowed = (torch.arange(6) < torch.tensor([6, 1, 3, 5])[:, None])[:, None, None]
    bias = torch.randn(1, 2, 6, 6, dtype=torch.double) if biased else None
    plain, nearly = (scaled_attention(query, key, value, allowed, p, bias) for p in (0.0, 1e-9))
    torch.testing.assert_close(nearly, plain, rtol=0, atol=1e-8)
