"""A whole run, on labels of another scale."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from labelled import make_store, overrides

from mmsa_lightning.experiment.app import main
from mmsa_lightning.experiment.restore import restore


def test_a_run_on_another_scale(tmp_path: Path, tiny_bert: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "x.h5", [-1.0, 1.0])
    short = ["trainer=cpu", "trainer.max_epochs=3", "trainer.enable_progress_bar=false", f"runs={tmp_path / 'runs'}"]
    main([*overrides(store, tiny_bert, "self_mm"), *short])
    (run,) = (path.parent for path in (tmp_path / "runs").rglob("result.json"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[3::2][:2] for line in lines if line[1:2] in (["acc7"], ["acc5"])] == [["undefined", "undefined"]] * 2

    with (run / "generated_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["true_audio"] for row in rows] == ["", "1.0", "", "-1.0", "", "0.0", "", "1.0"]
    assert all(abs(float(row["generated_audio"])) <= 1 for row in rows)
    with (run / "label_histograms.csv").open() as file:
        counts = list(csv.DictReader(file))
    assert list(counts[0])[2] == "-1.0"
    assert all(sum(int(count) for name, count in row.items() if name not in ("epoch", "task")) == 8 for row in counts)
    module, _ = restore(run)
    assert module.objective.limit == 1
