from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.data import ragged
from mmsa_lightning.data.ragged import Loaded, Ragged, Stored

LENGTHS = [2, 5, 1, 4]


@pytest.fixture(params=[3, None], ids=["features", "tokens"])
def arrays(request: pytest.FixtureRequest) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    if request.param is None:
        return [rng.integers(1, 30000, n, dtype=np.int32) for n in LENGTHS]
    return [rng.standard_normal((n, request.param), np.float32) for n in LENGTHS]


@pytest.fixture(params=["loaded", "stored"])
def sequences(request: pytest.FixtureRequest, arrays: list[np.ndarray], tmp_path: Path) -> Iterator[Ragged]:
    if request.param == "loaded":
        yield Loaded(arrays)
        return
    (tmp_path / "values").write_bytes(b"before" + b"".join(array.tobytes() for array in arrays) + b"after")
    offsets, dim = np.array([0, 2, 7, 8, 12]), arrays[0].shape[1] if arrays[0].ndim == 2 else None
    with (tmp_path / "values").open("rb", buffering=0) as file:
        yield Stored(file, len(b"before"), offsets, arrays[0].dtype, dim)


def test_each_sequence_is_what_was_put_in(sequences: Ragged, arrays: list[np.ndarray]) -> None:
    assert (len(sequences), sequences.lengths.tolist()) == (4, LENGTHS)
    assert sequences.shape == np.concatenate(arrays).shape
    for i in (3, 0, 2, 1):
        np.testing.assert_array_equal(sequences[i], arrays[i])


def test_blocks_are_the_sequences_end_to_end(
    sequences: Ragged, arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ragged, "BLOCK", 6 * arrays[0][0].nbytes)  # six steps
    blocks = list(sequences.blocks())
    assert [len(block) for block in blocks] == [2, 6, 4]
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(arrays))
