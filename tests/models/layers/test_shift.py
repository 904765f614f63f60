from __future__ import annotations

import pytest
import torch

from mmsa_lightning.models.layers.shift import shift_scale, shifting


def test_alpha_by_hand() -> None:
    word = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    shift = torch.tensor([[6.0, 8.0], [0.3, 0.4], [0.6, 0.8], [6.0, 8.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    alpha = shift_scale(word, shift, 0.2)
    # ||e|| = 5, β ||e|| = 1: over a shift of 10, of 0.5 (clipped at 1), of 1 (just at 1). A word of zeros stays zeros.
    torch.testing.assert_close(alpha.detach(), torch.tensor([[0.1], [1.0], [1.0], [0.0], [0.0], [1.0]]))
    lengths = (alpha * shift).detach().norm(dim=-1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 0.5, 1.0, 0.0, 0.0, 0.0]))
    (alpha * shift).sum().backward()
    assert word.grad is not None and word.grad.isfinite().all()
    assert shift.grad is not None and shift.grad.isfinite().all()
    # Below the clip α h = β ||e|| h / ||h||: of fixed length, so a longer h changes nothing. Clipped, it is h itself.
    assert abs(float(shift.grad[0] @ shift[0].detach())) < 1e-6
    torch.testing.assert_close(shift.grad[1], torch.ones(2))
    assert word.grad[0].any() and word.grad[1].abs().max() < 1e-6


@pytest.mark.parametrize("text", [None, 300])
def test_what_shifts_words_is_all_but_text(text: int | None) -> None:
    assert shifting({"text": text, "audio": 5, "vision": 20}, "RAVEN") == {"audio": 5, "vision": 20}
    for dims in ({"text": text}, {"audio": 5, "vision": 20}, {}):
        with pytest.raises(ValueError, match=r"^RAVEN shifts words .* it needs text, and audio or vision$"):
            shifting(dims, "RAVEN")


def test_norms_are_taken_in_float32() -> None:
    """Of these float16 vectors the norm is more than float16 holds."""
    word = torch.full((4,), 6e4, dtype=torch.float16, requires_grad=True)
    scale = shift_scale(word, word.detach(), 0.5)
    scale.sum().backward()
    torch.testing.assert_close(scale, torch.tensor([0.5]))
    assert word.grad is not None and word.grad.isfinite().all()
