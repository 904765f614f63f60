"""Sums against the metrics themselves, on utterances that are repeated as often as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsa_lightning.report import resampling
from mmsa_lightning.report.resampling import RESAMPLES, counts, sampled_means, sampled_metrics
from mmsa_lightning.training.protocols import MOSI, PROTOCOLS, Protocol


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_metric_is_that_of_the_protocol(protocol: Protocol):
    """On labels and predictions that lie on the edges of classes, and at zero."""
    rng = np.random.default_rng(0)
    labels = rng.integers(-30, 31, 60) / 10
    predictions = np.round(labels + rng.normal(size=(3, 60)), 1)
    predictions[0, :9], predictions[1, :9], labels[-9:] = 0, 0.5, 0
    drawn = [np.repeat(np.arange(60), n.astype(int)) for batch in counts(60, 8) for n in batch]
    first, second = sampled_metrics(protocol, [predictions[:2], predictions[2:]], labels, 8)
    for metric in protocol.headings:
        function = protocol.metrics[metric]

        def value(seed: int, chosen: np.ndarray, function=function) -> float:
            pair = (protocol.clipped(values[chosen]) for values in (predictions[seed], labels))
            return float(function(*map(torch.from_numpy, pair)))

        whole, parts = ([[value(seed, own) for own in sets] for seed in range(3)] for sets in ([np.arange(60)], drawn))
        for found, seeds in ((first[metric], slice(0, 2)), (second[metric], slice(2, 3))):
            np.testing.assert_allclose(found.observed, np.ravel(whole[seeds]), atol=1e-12)
            np.testing.assert_allclose(found.drawn, parts[seeds], atol=1e-6)
            assert found.utterances == 60


def test_utterances_are_drawn_with_replacement_and_always_the_same():
    drawn = np.concatenate(list(counts(40)))
    assert drawn.shape == (RESAMPLES, 40)
    assert set(drawn.sum(axis=1)) == {40}
    assert drawn.var() == pytest.approx(1 - 1 / 40, rel=0.02)  # of a multinomial count
    np.testing.assert_array_equal(drawn, np.concatenate(list(counts(40))))


def test_what_a_resample_leaves_undefined_is_not_a_number():
    constant, other = np.full((1, 5), 0.3), np.array([[0.1, 0.2, 0.3, 0.5, 0.7]])
    labels = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    flat, found = sampled_metrics(MOSI, [constant, other], labels, 400)
    assert np.isnan(flat["corr"].observed).all() and np.isnan(flat["corr"].drawn).all()
    only_zeros = np.concatenate(list(counts(5, 400)))[:, 4] == 0
    assert 0 < only_zeros.sum() < 400
    for metric in ("corr", "acc2_non0", "f1_non0"):
        assert np.isfinite(found[metric].observed).all()
        assert np.isnan(found[metric].drawn[0, only_zeros]).all()
    assert np.isfinite(found["acc2_non0"].drawn[0, ~only_zeros]).all()


def test_a_run_that_predicted_nothing_for_an_utterance_has_no_metric():
    labels = np.array([-1.0, 1.0, 2.0, -2.0])
    predictions = np.array([[-1.0, 1.0, np.nan, -2.0], labels])
    (found,) = sampled_metrics(MOSI, [predictions], labels, 8)
    for metric in MOSI.headings:
        assert np.isnan(found[metric].observed[0]) and np.isnan(found[metric].drawn[0]).all()
    assert found["acc2_non0"].observed[1] == 1


def test_rows_of_other_utterances_are_refused():
    with pytest.raises(ValueError, match="size 3 and the array at index 1 has size 4"):
        sampled_means([np.zeros((1, 3)), np.zeros((1, 4))])


def test_units():
    (found,) = sampled_means([np.array([[0.25, 0.75]])], 10)
    assert found.times(100).observed == pytest.approx([50])
    np.testing.assert_allclose(found.times(100).drawn, 100 * found.drawn)


def test_resamples_of_several_batches_are_others_and_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_AT_ONCE", 7 * 40)
    drawn = [*counts(40, 20)]
    assert [len(batch) for batch in drawn] == [7, 7, 6]
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 20


def test_one_utterance_alone_has_no_correlation() -> None:
    """Whatever rounding leaves of its variance."""
    labels = np.array([-1.3, 0.4, 2.1, -0.7, 1.9])
    alone = (np.concatenate([*counts(5, 3000)]) > 0).sum(axis=1) == 1
    assert alone.any()
    for predictions in np.random.default_rng(0).uniform(-3, 3, (20, 5)):
        (found,) = sampled_metrics(MOSI, [predictions[None]], labels, 3000)
        assert np.isnan(found["corr"].drawn[0, alone]).all()
