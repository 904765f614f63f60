"""Labels from what one modality says of an utterance that it was not fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF

from mmsa_lightning.objectives import crossfit
from mmsa_lightning.objectives.crossfit import CrossFit, held_out, mixed


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """60 utterances of 4 features, of which the first two say something of the label."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    x[:, 3] = 5  # a constant says nothing, and breaks nothing
    label = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] + 0.3 * rng.normal(size=60) + 0.4
    return torch.from_numpy(x), torch.from_numpy(label.astype(np.float32))


def _reference_held_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fitted anew for each utterance that is left out: kernel features by scikit-learn's kernel, ridge with an
    intercept that is not penalised, by its normal equations."""
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(deviation > 1e-8, deviation, 1)
    squares = ((x[:, None] - x) ** 2).sum(axis=-1)
    middle = np.sort(squares.ravel())[(squares.size - 1) // 2]  # torch's median is the lower of two
    found = []
    for bandwidth in crossfit.BANDWIDTHS:
        kernel = RBF(length_scale=np.sqrt(middle / bandwidth / 2))(x)
        values, vectors = np.linalg.eigh(kernel)
        kept = values > 1e-8
        features = kernel @ (vectors[:, kept] / np.sqrt(values[kept]))
        design = np.hstack([features, np.ones((len(y), 1))])
        for penalty in crossfit.PENALTIES:
            punished = np.diag([penalty] * kept.sum() + [0.0])
            predicted = np.empty(len(y))
            for i in range(len(y)):
                a, b = np.delete(design, i, axis=0), np.delete(y, i)
                predicted[i] = design[i] @ np.linalg.solve(a.T @ a + punished, a.T @ b)
            found.append((((predicted - y) ** 2).mean(), predicted))
    return min(found, key=lambda pair: pair[0])[1]


def test_each_utterance_is_predicted_by_a_fit_to_all_others(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = data
    expected = _reference_held_out(x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(held_out(x, y).numpy(), expected, rtol=0, atol=1e-8)
    assert np.corrcoef(expected, y)[0, 1] > 0.8


def test_an_utterances_own_label_does_not_reach_its_prediction(
    data: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one bandwidth and one penalty, between which no label chooses."""
    monkeypatch.setattr(crossfit, "BANDWIDTHS", (1.0,))
    monkeypatch.setattr(crossfit, "PENALTIES", (1.0,))
    x, y = data
    other = y.clone()
    other[7] += 10
    before, after = held_out(x, y), held_out(x, other)
    assert float((before - after).abs()[7]) < 1e-9 < float((before - after).abs().max())


def test_landmarks_span_nearly_the_same(
    data: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = data
    whole = held_out(x, y)
    monkeypatch.setattr(crossfit, "LANDMARKS", 40)
    assert np.corrcoef(whole, held_out(x, y))[0, 1] > 0.97


def test_features_that_say_nothing_leave_the_label(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, y = data
    constant = held_out(torch.full((60, 3), 2.0), y)
    assert constant.isfinite().all()
    torch.testing.assert_close(mixed(y, torch.full((60,), 0.3).double()).float(), y)
    torch.testing.assert_close(mixed(y, -y.double()).float(), y)  # nor does what says the opposite turn it


def test_a_mix_by_hand() -> None:
    """Correlation .5: half the way from 1, -1, 0 to 1, 0, -1 is 1, -.5, -.5, stretched to the old deviation."""
    label, predicted = torch.tensor([1.0, -1.0, 0.0]) + 2, torch.tensor([1.0, 0.0, -1.0]).double()
    expected = 2 + torch.tensor([1.0, -0.5, -0.5]).double() * (2 / 1.5) ** 0.5
    torch.testing.assert_close(mixed(label, predicted), expected)


def test_labels_are_made_once_of_the_modalities_that_there_are(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = data
    generator = CrossFit(y, {"fusion": 4, "text": 3, "audio": 3})
    assert torch.equal(generator.label("text"), y)
    generator.begin(lambda: {"text": x})
    torch.testing.assert_close(generator.label("text"), mixed(y, held_out(x, y)).float())
    assert torch.equal(generator.label("audio"), y) and torch.equal(generator.label("fusion"), y)
    made = generator.label("text").clone()
    generator.start_epoch()
    generator.update(torch.arange(4), {"fusion": torch.ones(4, 4)}, 3)
    assert torch.equal(generator.label("text"), made)
    again = CrossFit(torch.zeros(60), {"fusion": 4, "text": 3, "audio": 3})
    again.load_state_dict(generator.state_dict())
    assert torch.equal(again.label("text"), made)


def test_they_come_closer_to_a_modalitys_own_truth_than_the_multimodal_label() -> None:
    """What a modality alone would say is known here: it is in the features, and y_m has other modalities' say in it."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 6))
    truth = x[:, :3].sum(axis=1) / np.sqrt(3)
    label = 0.7 * truth + 0.7 * rng.normal(size=400)
    made = mixed(torch.from_numpy(label), held_out(torch.from_numpy(x), torch.from_numpy(label)))
    near, far = (np.corrcoef(y, truth)[0, 1] for y in (made.numpy(), label))
    assert near > far + 0.05


def test_landmarks_are_of_all_utterances_in_whatever_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours of a split are often of one video, and alike."""
    x = np.sort(np.random.default_rng(0).uniform(-6, 6, (200, 1)), axis=0)
    y = np.sin(x[:, 0])
    monkeypatch.setattr(crossfit, "LANDMARKS", 40)
    assert np.abs(held_out(torch.from_numpy(x), torch.from_numpy(y)).numpy() - y).mean() < 0.05
