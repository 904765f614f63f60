from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmsa_lightning.objectives.ulgm import ULGM

N = 60
WIDTHS = {"fusion": 6, "text": 5, "audio": 3, "vision": 4}


class ReferenceLabels:
    """Self-MM's and MMSA's label generation, transcribed: full banks, full means, one utterance at a time."""

    def __init__(self, labels: np.ndarray, positive: str, limit: float) -> None:
        self.y = {s: labels.copy() for s in WIDTHS}
        self.banks = {s: np.zeros((len(labels), width), dtype=np.float32) for s, width in WIDTHS.items()}
        self.centres: dict[str, dict[str, np.ndarray]] = {s: {} for s in WIDTHS}
        self.limit = limit
        self.positive = (lambda y: y > 0) if positive == ">" else (lambda y: y >= 0)

    def micro_batch(self, index: np.ndarray, features: dict[str, np.ndarray], epoch: int) -> None:
        if epoch > 1:
            for i, where in enumerate(index):
                delta = {}
                for s in WIDTHS:
                    near = np.linalg.norm(features[s][i] - self.centres[s]["pos"])
                    far = np.linalg.norm(features[s][i] - self.centres[s]["neg"])
                    delta[s] = (far - near) / (near + 1e-8)
                y_m = self.y["fusion"][where]
                for s in ("text", "audio", "vision"):
                    alpha = delta[s] / (delta["fusion"] + 1e-8)
                    new = 0.5 * alpha * y_m + 0.5 * (y_m + delta[s] - delta["fusion"])
                    new = max(-self.limit, min(self.limit, new))
                    self.y[s][where] = (epoch - 1) / (epoch + 1) * self.y[s][where] + 2 / (epoch + 1) * new
        for s in WIDTHS:
            self.banks[s][index] = features[s]
        for s in WIDTHS:
            self.centres[s] = {
                "pos": self.banks[s][self.positive(self.y[s])].mean(axis=0),
                "neg": self.banks[s][self.y[s] < 0].mean(axis=0),
            }


def train(ulgm: ULGM, reference: ReferenceLabels | None, epochs: range, seed: int = 0) -> None:
    """Feed both the same features in the same order, compare after every step."""
    for epoch in epochs:
        rng = np.random.default_rng([seed, epoch])
        ulgm.start_epoch()
        for index in np.array_split(rng.permutation(N), 7):
            features = {s: rng.normal(size=(len(index), w)).astype(np.float32) for s, w in WIDTHS.items()}
            ulgm.update(torch.from_numpy(index), {s: torch.from_numpy(f) for s, f in features.items()}, epoch)
            if reference:
                reference.micro_batch(index, features, epoch)
                compare(ulgm, reference)


def compare(ulgm: ULGM, reference: ReferenceLabels) -> None:
    for s in WIDTHS:
        np.testing.assert_allclose(ulgm.label(s).numpy(), reference.y[s], rtol=1e-3, atol=1e-3)
        negative, positive = ulgm.centres(s).numpy()
        np.testing.assert_allclose(negative, reference.centres[s]["neg"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(positive, reference.centres[s]["pos"], rtol=1e-4, atol=1e-5)


def labels(seed: int = 0) -> np.ndarray:
    """In steps of 0.2 with some zeros, so that > and >= differ."""
    return (np.random.default_rng(seed).integers(-15, 16, N) / 5).astype(np.float32)


def make(y: np.ndarray, positive: str = ">", limit: float = 3.0) -> ULGM:
    return ULGM(torch.from_numpy(y), WIDTHS, positive=positive, limit=limit)


@pytest.mark.parametrize(("positive", "limit"), [(">", 3.0), (">=", 3.0), (">", 0.5)])
def test_three_epochs_equal_the_transcription_step_by_step(positive: str, limit: float) -> None:
    y = labels()
    assert (y == 0).any()
    train(make(y, positive, limit), ReferenceLabels(y, positive, limit), range(1, 4))


def test_the_two_readings_of_positive_differ() -> None:
    first, second = make(labels(), ">"), make(labels(), ">=")
    for ulgm in (first, second):
        train(ulgm, None, range(1, 4))
    assert not torch.allclose(first.label("audio"), second.label("audio"))


def test_labels_stay_the_multimodal_ones_in_the_first_epoch_and_within_limits_after() -> None:
    ulgm = make(labels())
    train(ulgm, None, range(1, 2))
    for s in WIDTHS:
        assert torch.equal(ulgm.label(s), torch.from_numpy(labels()))
    train(ulgm, None, range(2, 6))
    assert torch.equal(ulgm.label("fusion"), torch.from_numpy(labels()))
    for s in ("text", "audio", "vision"):
        assert not torch.equal(ulgm.label(s), torch.from_numpy(labels()))
        assert ulgm.label(s).abs().max() <= 3


def test_running_sums_equal_full_means_after_many_steps() -> None:
    ulgm = make(labels())
    for epoch in range(1, 30):
        rng = np.random.default_rng(epoch)
        for index in np.array_split(rng.permutation(N), 7):
            features = {s: torch.from_numpy(rng.normal(size=(len(index), w))) for s, w in WIDTHS.items()}
            ulgm.update(torch.from_numpy(index), features, epoch)  # without resum
    for s in WIDTHS:
        bank, label = ulgm.get_buffer(f"bank_{s}"), ulgm.label(s)
        expected = torch.stack([bank[label < 0].mean(dim=0), bank[label > 0].mean(dim=0)])
        torch.testing.assert_close(ulgm.centres(s), expected, rtol=1e-3, atol=1e-4)


def test_state_survives_a_checkpoint(tmp_path: Any) -> None:
    ulgm, restored = make(labels()), make(labels())
    train(ulgm, None, range(1, 4))
    torch.save(ulgm.state_dict(), tmp_path / "state.pt")
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for both in (ulgm, restored):
        train(both, None, range(4, 6), seed=1)
    for s in WIDTHS:
        assert torch.equal(ulgm.label(s), restored.label(s))
        assert torch.equal(ulgm.centres(s), restored.centres(s))


@pytest.mark.parametrize("y", [np.abs(labels()) + 0.1, -np.abs(labels()) - 0.1, np.zeros(N, dtype=np.float32)])
def test_an_empty_class_leaves_the_labels_alone(y: np.ndarray) -> None:
    ulgm = make(y)
    train(ulgm, None, range(1, 4))
    for s in WIDTHS:
        assert torch.equal(ulgm.label(s), torch.from_numpy(y))


@pytest.mark.parametrize("empty", ["text", "fusion"])
def test_a_class_that_is_empty_in_the_task_or_in_the_truth_keeps_the_task_alone(empty: str) -> None:
    """Labels of a task and true labels part ways, and so can their classes."""
    signed, positive = labels(), np.abs(labels()) + 0.1
    ulgm = make(positive if empty == "fusion" else signed)
    text = torch.from_numpy(positive if empty == "text" else signed)
    ulgm.label("text").copy_(text)
    train(ulgm, None, range(1, 4))
    assert torch.equal(ulgm.label("text"), text)
    assert torch.equal(ulgm.label("audio"), ulgm.label("fusion")) == (empty == "fusion")  # the others go on


def test_zero_divided_by_zero_falls_back_on_the_true_label() -> None:
    """The fusion feature lies on the negative centre and ε² from the positive one, so that its delta is -ε; the text
    feature lies midway, so that its delta is 0: alpha = 0 / (-ε + ε)."""
    epsilon = torch.tensor(1e-8)
    ulgm = ULGM(torch.tensor([-1.0, 2.0]), {"fusion": 1, "text": 1}, positive=">", limit=3.0)
    centres = {"fusion": torch.tensor([[0.0], [float(epsilon**2)]]), "text": torch.tensor([[-1.0], [1.0]])}
    ulgm.update(torch.tensor([0, 1]), centres, 1)
    ulgm.label("text").copy_(torch.tensor([-2.0, 1.0]))
    ulgm.update(torch.tensor([0]), {"fusion": torch.zeros(1, 1), "text": torch.zeros(1, 1)}, 3)
    assert ulgm.label("text").tolist() == [0.5 * -2 + 0.5 * -1, 1]


def test_features_on_a_centre_and_equal_distances_make_no_nan() -> None:
    """delta_M = 0 makes alpha huge, and a feature on a centre makes delta huge."""
    y = labels()
    ulgm = make(y)
    for epoch in (1, 2, 3):
        ulgm.update(torch.arange(N), {s: torch.ones(N, w) for s, w in WIDTHS.items()}, epoch)
    for s in WIDTHS:
        assert ulgm.label(s).isfinite().all()
        assert ulgm.label(s).abs().max() <= 3


def test_features_in_half_precision_are_kept_in_full() -> None:
    ulgm = make(labels())
    ulgm.update(torch.arange(4), {s: torch.ones(4, w, dtype=torch.bfloat16) for s, w in WIDTHS.items()}, 1)
    assert all(buffer.dtype == torch.float32 for buffer in ulgm.buffers())


def test_an_unknown_positive_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match="'>', '>='"):
        make(labels(), "!=")
