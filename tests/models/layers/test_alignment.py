from __future__ import annotations

from typing import Any

import pytest

from mmsa_lightning.models.layers.alignment import check_aligned


def test_modalities_that_differ_in_length_are_named(batch_of: Any) -> None:
    batch = batch_of([6, 3, 1, 5], audio_lengths=[6, 3, 2, 5])
    check_aligned(batch, ["text", "vision"], "unused")
    check_aligned(batch, ["audio"], "unused")
    with pytest.raises(ValueError, match=r"^vision and audio differ in length: this needs it$"):
        check_aligned(batch, ("vision", "text", "audio"), "this needs it")
