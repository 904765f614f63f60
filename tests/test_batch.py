from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsa_lightning.batch import Batch, Padded


def test_padding_is_zeros_on_the_right() -> None:
    padded = Padded.from_arrays([np.full((2, 3), 7.0), np.full((4, 3), 8.0)])
    assert padded.values.dtype == torch.float32
    assert padded.values.shape == (2, 4, 3)
    assert padded.lengths.tolist() == [2, 4]
    assert padded.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert (padded.values[0, :2] == 7).all() and (padded.values[0, 2:] == 0).all() and (padded.values[1] == 8).all()


def test_tokens_stay_integers() -> None:
    padded = Padded.from_arrays([np.array([101, 7, 102], dtype=np.int32), np.array([101], dtype=np.int32)])
    assert padded.values.dtype == torch.int64
    assert padded.values.tolist() == [[101, 7, 102], [101, 0, 0]]


def test_to_moves_all_but_the_lengths(batch: Batch) -> None:
    moved = batch.to("meta")
    assert moved.audio is not None and moved.tokens is not None
    for tensor in (moved.index, moved.label, moved.tokens.values, moved.audio.values, moved.audio.mask):
        assert tensor.device.type == "meta"
    assert moved.audio.lengths.device.type == "cpu"
    assert moved.text is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only where there is a GPU is memory pinned")
def test_all_but_the_lengths_is_pinned(batch: Batch) -> None:
    pinned = batch.pin_memory()
    assert pinned.audio is not None and pinned.tokens is not None
    for tensor in (pinned.index, pinned.label, pinned.tokens.values, pinned.audio.values, pinned.audio.mask):
        assert tensor.is_pinned()
    assert torch.equal(pinned.to("cuda", non_blocking=True).audio.values.cpu(), batch.audio.values)  # type: ignore[union-attr]


def test_tokens_stand_for_text_and_an_absent_modality_is_named(batch: Batch) -> None:
    assert batch.sequence("text") is batch.tokens
    batch.tokens = None
    with pytest.raises(KeyError, match="no text"):
        batch.sequence("text")
