"""Runs on data from which something is missing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from kills import only_run, state

from mmsa_lightning import cli
from mmsa_lightning.experiment.app import main
from mmsa_lightning.experiment.restore import restore

Arguments = Callable[..., list[str]]


def test_vectors_of_dropped_modalities_are_trained_and_kept(arguments: Arguments, tmp_path: Path) -> None:
    options = ["missing.mode=modality", "missing.train=uniform_half", "missing.rate=0.5", "missing.absent=learnt"]
    main(arguments(*options, "model=misa", "trainer.max_epochs=1"))
    run = only_run(tmp_path / "runs")
    module, data = restore(run)
    vectors = module.model.absent.vectors
    assert set(vectors) == {"audio", "vision"} and all(v.any() for v in vectors.values())
    with (run / "predictions.csv").open() as file:
        left = [float(row["prediction"]) for row in csv.DictReader(file) if row["split"] == "test"]
    batch = data.split("test")[list(range(len(left)))]
    assert batch.dropped is not None and batch.dropped.any()
    with torch.no_grad():
        assert module.eval().model(batch).prediction.tolist() == pytest.approx(left, abs=1e-5)

    cli.main(["robustness", str(run), "--out", str(tmp_path / "out"), "--mask-seeds", "1"])
    assert "| misa [modality, uniform_half, learnt] |" in (tmp_path / "out" / "auilc.md").read_text()
    assert (tmp_path / "out" / "robustness_modality.png").read_bytes().startswith(b"\x89PNG")
    cli.main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "misa [modality, uniform_half, learnt] (modality 0.5 missing)" in page
    for title in ("frames and word pieces are missing", "only some modalities are there"):
        assert f'alt="demo, test where {title}"' in page and f"test utterances where {title}: " in page


def test_masks_that_leave_everything_change_nothing(arguments: Arguments, tmp_path: Path) -> None:
    """The weights after two epochs, bit for bit; with masks that leave something out they are others."""
    options = {"complete": [], "rate 0": ["missing.train=same"], "some": ["missing.train=same", "missing.rate=0.2"]}
    found = {}
    for name, more in options.items():
        main(arguments(*more, f"runs={tmp_path / name}"))
        found[name] = state(only_run(tmp_path / name), "last.ckpt")["state_dict"]

    def same(other: str) -> bool:
        return all(torch.equal(value, found[other][key]) for key, value in found["complete"].items())

    assert same("rate 0") and not same("some")
