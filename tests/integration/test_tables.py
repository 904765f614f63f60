"""A table from the sweep that fills it to the files that it leaves."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_lightning import cli
from mmsa_lightning.experiment import app

Arguments = Callable[..., list[str]]


def test_a_sweep_fills_its_table(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["none", "bi", "uni_weight", "full"]
    narrow = arguments("data=demo", "seed=1,2", f"+ablation={','.join(rows)}")
    app.main(["-m", "experiment=table5", *narrow])
    results = {path: json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")}
    assert {(r["ablation"], r["seed"]) for r in results.values()} == set(itertools.product(rows, (1, 2)))
    assert len(results) == 8

    out = tmp_path / "tables"
    cli.main(["table", "5", "--out", str(out), *narrow])
    markdown = (out / "table5.md").read_text()
    assert markdown in capsys.readouterr().out
    assert markdown.startswith("Table 5 on demo, text + audio + vision, 26 test utterances.")
    idle = "audio, text, vision, tasks that so changed nothing: uni_weight seed 1, 2; full seed 1, 2."  # of two epochs
    assert f"Chosen before any loss of {idle}" in markdown
    assert {p.name for p in out.iterdir()} == {
        *(f"table5.{kind}" for kind in ("csv", "md", "png", "svg", "tex")),
        *("table5_ranks.png", "table5_ranks.svg", "table5_runs.csv", "table5_effects.csv"),
    }
    with (out / "table5_runs.csv").open() as file:
        listed = {(r["row"], int(r["seed"])): r for r in csv.DictReader(file)}
    assert {key: (r["config_hash"], r["data_hash"]) for key, r in listed.items()} == {
        (r["ablation"], r["seed"]): (r["config_hash"], r["data_hash"]) for r in results.values()
    }
    assert all((tmp_path / "runs" / r["run"] / "result.json") in results for r in listed.values())
    with (out / "table5.csv").open() as file:
        mean = {(r["row"], r["metric"]): float(r["mean"]) for r in csv.DictReader(file)}
    with (out / "table5_effects.csv").open() as file:
        ((part, effect),) = ((r["row"], float(r["difference"])) for r in csv.DictReader(file))
    gained = [mean[a, "mae"] - mean[b, "mae"] for a, b in (("bi", "none"), ("full", "uni_weight"))]
    assert (part, effect) == ("bi", pytest.approx(sum(gained) / 2, abs=2e-4))
    assert "| bi, attention between modalities |" in markdown
    maes = [r["test"]["mae"] for r in results.values() if r["ablation"] == "bi"]
    assert mean["bi", "mae"] == pytest.approx(100 * sum(maes) / 2, abs=1e-4)

    alone = arguments("data=demo", "modalities=[text]", "trainer.max_epochs=1", "seed=1", "+ablation=none,bi")
    app.main(["-m", "experiment=table5", *alone])
    with pytest.raises(SystemExit):
        cli.main(["table", "5", "--out", str(tmp_path / "alone"), *alone])
    assert "these runs read text alone, where there is none" in capsys.readouterr().err

    two = [*narrow[:-1], "+ablation=bi,full"]
    cli.main(["table", "5", "--out", str(out), "--against", "bi", *two])
    assert not (out / "table5_effects.csv").exists()  # of a table that was here before
    assert "MAE of bi minus each other row's" in (out / "table5.md").read_text()
    with (out / "table5.csv").open() as file:
        tested = {r["row"]: r["model_minus_row"] for r in csv.DictReader(file) if r["metric"] == "mae"}
    assert float(tested["full"]) == pytest.approx(mean["bi", "mae"] - mean["full", "mae"], abs=2e-4)
    assert tested["bi"] == ""
    with pytest.raises(SystemExit) as stop:
        cli.main(["table", "2", "--out", str(out), "--against", "bi", "data=demo"])
    assert stop.value.code == 2 and "leave out --against" in capsys.readouterr().err


def test_a_sweep_fills_its_table_of_ch_sims(tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made-up utterances with CH-SIMS's labels: its metrics, its range, no figures of the paper's."""
    lines = ["id,text,label,label_text,label_audio,label_vision,split"]
    for i, split in enumerate(["train"] * 24 + ["valid"] * 6 + ["test"] * 7):
        label = (i * 7 % 11 - 5) / 5
        lines.append(f"v{i}$_$1,so {'good' if label > 0 else 'bad'},{label},{label},{-label},{label},{split}")
    (tmp_path / "label.csv").write_text("\n".join(lines) + "\n")
    store = tmp_path / "sims.h5"
    cli.main(["data", "import", str(tmp_path / "label.csv"), "--dataset", "sims", "--out", str(store)])
    narrow = [
        *("data=sims", f"data.path={store}", f"runs={tmp_path / 'runs'}", f"text_encoder={tiny_bert}", "text=bert"),
        *("trainer=cpu", "trainer.max_epochs=2", "trainer.enable_progress_bar=false", "model=tfn,self_mm", "seed=1"),
    ]
    app.main(["-m", "experiment=table3", *narrow])
    results = {
        r["model"]: r for path in (tmp_path / "runs").rglob("result.json") if (r := json.loads(path.read_text()))
    }
    assert {r["protocol"] for r in results.values()} == {"sims"}
    assert set(results["tfn"]["test"]) == {"mae", "corr", "acc2", "f1", "acc3", "acc5"}

    cli.main(["table", "3", "--out", str(tmp_path / "tables"), *narrow])
    markdown = (tmp_path / "tables" / "table3.md").read_text()
    assert markdown.startswith("Table 3 on sims, text, 7 test utterances.")
    assert "| MAE | Corr | Acc2 | Acc3 | Acc5 | F1 | gen. text |" in markdown
    assert "The paper's figures" not in markdown and "TFN" not in markdown
    with (tmp_path / "tables" / "table3.csv").open() as file:
        records = {(r["row"], r["metric"]): r for r in csv.DictReader(file)}
    for model, result in results.items():
        for metric, value in result["test"].items():
            if value is not None:
                assert float(records[model, metric]["mean"]) == pytest.approx(100 * value, abs=1e-4)
    assert ("tfn", "generated_text") not in records and records["self_mm", "generated_text"]["mean"]
    assert not any(record["paper"] for record in records.values())


def test_a_sweep_fills_its_figure(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow = arguments("data=demo", "seed=1,2")
    app.main(["-m", "experiment=figure3", *narrow])
    cli.main(["figure", "3", "--out", str(tmp_path / "report"), *narrow])
    assert str(tmp_path / "report" / "figure3.png") in capsys.readouterr().out
    assert (tmp_path / "report" / "figure3.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "report" / "figure3.svg").read_text()
    assert "training loss of interactive_attention on demo" in drawn
    # A model that has no result is not in the figure of one that has: with --partial it is left out.
    both = [*narrow, "model=interactive_attention,tfn"]
    cli.main(["figure", "3", "--partial", "--out", str(tmp_path / "both"), *both])
    assert (tmp_path / "both" / "figure3.svg").read_text() == drawn


def test_a_cell_without_a_result_is_named(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.main(["-m", "experiment=table5", *arguments("data=demo", "seed=1", "+ablation=bi")])
    capsys.readouterr()
    command = ["table", "5", "--out", str(tmp_path / "tables"), *arguments("data=demo", "seed=1", "+ablation=bi,uni")]
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: 1 of 2 cells have no result: uni seed 1; --partial leaves them out\n"
    assert not (tmp_path / "tables").exists()
    cli.main([*command, "--partial"])
    assert "Partial: without uni seed 1." in (tmp_path / "tables" / "table5.md").read_text()


def test_results_of_other_data_than_the_store_holds_now_are_not_shown(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["data=demo", "model=lmf", "text=features", "seed=1", "trainer.max_epochs=1"]
    command = arguments(*quick, f"data.path={tmp_path / 'here' / 'demo.h5'}")
    app.main(command)
    other = ["data.generator_seed=2", f"runs={tmp_path / 'others'}"]
    app.main(arguments(*quick, f"data.path={tmp_path / 'there' / 'demo.h5'}", *other))
    table = ["table", "3", "--out", str(tmp_path / "tables"), *command]
    cli.main(table)
    (tmp_path / "there" / "demo.h5").replace(tmp_path / "here" / "demo.h5")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(table)
    assert stop.value.code == 2
    assert f"was trained on other data than {tmp_path / 'here' / 'demo.h5'} holds now" in capsys.readouterr().err
    (tmp_path / "here" / "demo.h5").unlink()
    cli.main(table)  # as where tables are made of runs that came from elsewhere


def test_a_job_that_breaks_does_not_stop_the_sweep(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that is no user's mistake: a model of one's own that divides by zero."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "broken.py").write_text(
        "import torch\n\nclass Broken(torch.nn.Module):\n    def __init__(self, dims):\n        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.zeros(1))\n\n    def forward(self, batch):\n        1 / 0\n"
    )
    (tmp_path / "mine" / "model" / "broken.yaml").write_text("# @package _global_\nmodel:\n  _target_: broken.Broken\n")
    with pytest.raises(SystemExit) as stop:
        app.main(["--config-dir", str(tmp_path / "mine"), "-m", *arguments("model=broken,tfn")])
    assert stop.value.code == 2
    (done,) = (tmp_path / "runs").rglob("result.json")
    assert "tfn" in done.parts
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert error.splitlines()[-1].startswith("error: 1 jobs failed: ")
    assert "broken" in error.splitlines()[-1]


def test_a_run_shows_what_it_attends_to(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.main(arguments("data=demo"))
    (run,) = [path.parent for path in (tmp_path / "runs").rglob("result.json")]
    with (run / "predictions.csv").open() as file:
        test = [row for row in csv.DictReader(file) if row["split"] == "test"]
    error = {row["id"]: abs(float(row["label"]) - float(row["prediction"])) for row in test}
    left = json.loads((run / "attention.json").read_text())
    assert [record["id"] for record in left] == sorted(error, key=lambda id: -error[id])[:3]

    cli.main(["attention", str(run), test[4]["id"], "--out", str(tmp_path / "chosen")])
    assert {path.suffix for path in (tmp_path / "chosen").iterdir()} == {".png", ".svg"}
    drawn = (tmp_path / "chosen").joinpath(f"attention_{test[4]['id'].replace('$', '_')}.svg").read_text()
    words = re.escape(f"{test[4]['id']} (label {float(test[4]['label']):+.1f}, predicted ")
    (predicted,) = re.findall(rf"{words}([+-]\d\.\d\d)\)", drawn)
    assert float(predicted) == pytest.approx(float(test[4]["prediction"]), abs=0.006)  # from the run's own weights
    cli.main(["attention", str(run), "--out", str(tmp_path / "left")])
    assert len(list((tmp_path / "left").iterdir())) == 6
    renamed = [record | {"id": id} for record, id in zip(left, ("片段一$_$0", "a b", "a.b"), strict=True)]
    (run / "attention.json").write_text(json.dumps(renamed))
    cli.main(["attention", str(run), "--out", str(tmp_path / "renamed")])
    stems = {path.stem for path in (tmp_path / "renamed").iterdir()}
    assert stems == {"attention_片段一___0", "attention_a_b", "attention_a_b_"}

    # A version that reads data otherwise would predict something else, and attend to something else.
    kept = (run / "predictions.csv").read_text()
    (first,) = [row for row in csv.DictReader(kept.splitlines()) if row["split"] == "valid"][:1]
    (run / "predictions.csv").write_text(kept.replace(first["prediction"], f"{float(first['prediction']) + 0.2:.4f}"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["attention", str(run), test[4]["id"]])
    assert stop.value.code == 2
    assert f"for {first['id']}, but" in capsys.readouterr().err
    (run / "predictions.csv").write_text(kept)

    for words, wrong in ((str(run), "nobody"), "nobody is in no split"), ((str(tmp_path),), "has no attention.json"):
        with pytest.raises(SystemExit) as stop:
            cli.main(["attention", *words])
        assert stop.value.code == 2
        assert wrong in capsys.readouterr().err
    capsys.readouterr()
    app.main(arguments("data=demo", "model=lmf"))
    (other,) = {path.parent for path in (tmp_path / "runs").rglob("result.json")} - {run}
    assert not (other / "attention.json").exists()
    with pytest.raises(SystemExit):
        cli.main(["attention", str(other), test[4]["id"]])
    assert "LMF has no attention over steps" in capsys.readouterr().err
