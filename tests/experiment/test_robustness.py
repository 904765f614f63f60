"""What is measured of a run, against predictions made by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.data.missing import Missing
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.experiment.result import RATES
from mmsa_lightning.experiment.robustness import conditions, evaluate, predictions
from mmsa_lightning.training.protocols import PROTOCOLS, SIMS


@pytest.fixture(scope="module")
def run(made: Callable[..., Path]) -> Path:
    run = made("plain")
    assert evaluate(run, [1, 2])
    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_condition_has_its_figures(run: Path) -> None:
    found = {(r["mode"], r["at"], r["mask_seed"]): r for r in rows(run / "robustness.csv")}
    rates = [(mode, str(rate), seed) for mode in ("frames", "block") for rate in RATES for seed in "12"]
    subsets = ["text", "audio", "vision", "text+audio", "text+vision", "audio+vision", "text+audio+vision"]
    assert list(found) == [*rates, *(("modality", s, "") for s in subsets)]
    complete = [found[m, "0.0", s]["mae"] for m in ("frames", "block") for s in "12"]
    assert {*complete, found["modality", "text+audio+vision", ""]["mae"]} == {complete[0]}
    predictions = [r for r in rows(run / "predictions.csv") if r["split"] == "test"]
    mae = np.mean([abs(float(r["label"]) - float(r["prediction"])) for r in predictions])
    assert float(complete[0]) == pytest.approx(mae, abs=1e-5)


def test_a_condition_is_what_it_says(run: Path) -> None:
    """Two of them, from inputs that are put together here."""
    module, data = restore(run)
    module.eval()
    errors = {r["id"]: r for r in rows(run / "robustness_errors.csv")}
    batch = data.split("test")[list(range(21))]
    label = batch.label.clone()
    for m in ("audio", "vision"):
        batch.sequence(m).values.zero_()
    with torch.no_grad():
        text_only = (module.model(batch).prediction - label).abs().tolist()
        for row, n in enumerate(batch.sequence("text").lengths.tolist()):
            batch.sequence("text").values[row, 1 : n - 1] = 100
        nothing = (module.model(batch).prediction - label).abs().tolist()
    for i, id in enumerate(data.store.splits["test"].ids):
        assert float(errors[id]["modality text"]) == pytest.approx(text_only[i], abs=1e-5)
        assert float(errors[id]["frames 1.0"]) == pytest.approx(nothing[i], abs=1e-5)
    found = {(r["mode"], r["at"], r["mask_seed"]): float(r["mae"]) for r in rows(run / "robustness.csv")}
    assert np.mean([found["frames", "0.5", s] for s in "12"]) == pytest.approx(
        np.mean([float(r["frames 0.5"]) for r in errors.values()]), abs=1e-5
    )
    assert found["frames", "0.5", "1"] != found["frames", "0.5", "2"]


def test_the_size_of_batches_changes_no_prediction(run: Path) -> None:
    module, data = restore(run)
    module.eval()
    found = []
    for data.eval_batch_size, batches in ((1, range(10, 22)), (4, range(3, 8)), (1000, range(1, 2))):
        assert len(data.test_dataloader()) in batches
        found.append(predictions(module, data, "test"))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-5)


def test_what_was_measured_is_not_measured_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run / "robustness.csv").read_bytes()
    assert not evaluate(run, [1, 2])
    assert (run / "robustness.csv").read_bytes() == before


def test_a_new_run_leaves_no_figures_of_the_old_one(made: Callable[..., Path]) -> None:
    again = made("again")
    evaluate(again, [1])
    (again / result.EVALUATION).touch()
    made("again", "overwrite=true")
    assert not list(again.glob("robustness*")) + list(again.glob("evaluation*"))


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_store_that_is_gone_or_other_is_said(made: Callable[..., Path], change: str) -> None:
    run = made(change)
    store = run.parents[4] / f"{change}.h5"
    store.unlink()
    if change == "other":
        source = generate(1, {"train": 40, "valid": 10, "test": 21})
        import_source(source, store, dataset="x", name="x", sha256="", tokenizer="minilm")
    with pytest.raises(UserError, match="no store at" if change == "gone" else "trained on other data") as error:
        evaluate(run, [1])
    assert "\n" not in str(error.value)
    assert not list(run.glob("robustness*"))


def at(missing: Missing, modalities: Sequence[str] = ("text", "audio")) -> list[tuple[Any, ...]]:
    return [(c.mode, c.at, c.mask_seed, c.missing.draw) for c in conditions(missing, modalities, [1, 2])]


def test_a_model_of_one_rate_is_measured_there() -> None:
    keyed = Missing(rate=0.3, train="same")
    assert at(keyed) == [("frames", "0.3", 1, "keyed"), ("frames", "0.3", 2, "keyed")]
    assert at(Missing(rate=0.3, train="same", draw="reference")) == [("frames", "0.3", None, "reference")]
    dropping = Missing(mode="modality", rate=0.3, train="same", absent="learnt")
    assert at(dropping) == at(Missing())  # it has met every subset


def test_one_modality_has_no_subsets() -> None:
    assert {mode for mode, *_ in at(Missing(), ["text"])} == {"frames", "block"}
    assert [a for mode, a, *_ in at(Missing(train="uniform")) if mode == "modality"] == ["text", "audio", "text+audio"]


def test_what_goes_missing_is_what_a_condition_says() -> None:
    for condition in conditions(Missing(), ["text", "audio"], [4, 5]):
        missing = condition.missing
        assert missing.mode == condition.mode
        if condition.mode == "modality":
            assert "+".join(missing.present or ()) == condition.at
        else:
            assert (str(missing.rate), missing.seed) == (condition.at, condition.mask_seed)
    own = [c.missing for c in conditions(Missing(mode="block", rate=0.3, train="same"), ["text"], [4, 5])]
    assert [(missing.mode, missing.rate, missing.seed) for missing in own] == [("block", 0.3, 4), ("block", 0.3, 5)]


def test_a_block_is_not_single_frames(run: Path) -> None:
    found = {(r["mode"], r["at"], r["mask_seed"]): r["mae"] for r in rows(run / "robustness.csv")}
    assert all(found["block", "0.5", seed] != found["frames", "0.5", seed] for seed in "12")


def test_errors_are_the_protocols_and_other_masks_are_measured_anew(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CH-SIMS clips labels and predictions to [-1, 1]."""
    own = made("clipped")
    monkeypatch.setitem(PROTOCOLS, "mosi", SIMS)  # by the range of its labels
    assert evaluate(own, [1])
    errors = {r["id"]: float(r["frames 0.0"]) for r in rows(own / "robustness_errors.csv")}
    left = [r for r in rows(own / "predictions.csv") if r["split"] == "test"]
    label, prediction = (np.array([float(r[name]) for r in left]) for name in ("label", "prediction"))
    assert np.abs(label).max() > 1
    expected = np.abs(prediction.clip(-1, 1) - label.clip(-1, 1))
    np.testing.assert_allclose([errors[r["id"]] for r in left], expected, rtol=0, atol=1e-5)
    assert evaluate(own, [2]) and {r["mask_seed"] for r in rows(own / "robustness.csv")} == {"2", ""}
