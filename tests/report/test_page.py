"""The page: all that it promises, nothing from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import Page, finished

from mmsa_lightning.cli import main
from mmsa_lightning.errors import UserError
from mmsa_lightning.report.cells import find_cells
from mmsa_lightning.report.page import write_page


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    finished(tmp_path / "runs", "tfn", 1, {"near": 1.1, "far": -1.0})
    run_dir = finished(tmp_path / "runs", "interactive_attention", 1, {"near": 1.0, "far": -2.0})
    (run_dir / "generated_labels.csv").write_text("id,label,generated_text\na,1.0,1.5\nb,-1.0,1.0\n")
    bins = [f"{-3 + i / 10:.1f}" for i in range(60)]
    rows = [["epoch", "task", *bins], ["1", "text", *["1"] * 60], ["2", "text", *["0"] * 60]]
    (run_dir / "label_histograms.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    steps = {"text": ["[CLS]", "good", "[SEP]"]}
    record = {"id": "v$_$1", "split": "test", "label": 1.0, "prediction": 0.5, "steps": steps}
    (run_dir / "attention.json").write_text(json.dumps([record | {"weights": {"text": [[1.0, 0.0, 0.0]] * 3}}]))
    return tmp_path / "runs"


def test_the_page_needs_nothing_else_and_shows_every_part(runs: Path, tmp_path: Path):
    write_page([runs], tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    # All rows together and against one another, two of each row, the labels and the attention of one of them.
    assert len(page.addresses) == 3 + 2 * 2 + 2
    assert "interactive_attention: attention in v$_$1 (label +1.0, predicted +0.50), seed 1" in page.titles
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    card, results, intervals, minus_best, tests, largest, generated = page.tables
    assert card[1] == ["utterances", "0", "0", "0", "0", "2", "0", "0", "1.00", "0.00"]
    assert [row[:4] for row in results[1:]] == [
        ["interactive_attention", "minilm", "1", "150.00"],
        ["tfn", "minilm", "1", "105.00"],
    ]
    assert [row[:2] for row in minus_best[1:]] == [["interactive_attention", minus_best[1][1]], ["tfn", "best"]]
    low, high = (float(end.replace("−", "-")) for end in minus_best[1][1].split(" to "))
    assert (low + high) / 2 == pytest.approx(45, abs=0.1)
    assert [row[0] for row in intervals[1:]] == ["interactive_attention", "tfn"]
    assert any("Smallest difference that could have been shown" in words for words in page.words)
    assert tests[1][:2] == ["tfn", "+45.00"]  # (0 + 3) / 2 against (.1 + 2) / 2
    assert largest[1] == ["far", "+1.0", "-2.00", "-1.00", "<b>far</b> & more"]
    assert generated[1] == ["b", "-1.00", "+1.00"]
    assert "seed: 1\n" in page.words


def test_a_page_to_publish_has_no_utterance_in_it(runs: Path, tmp_path: Path):
    main(["report", str(runs), "--out", str(tmp_path / "report.html"), "--no-utterances"])
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert len(page.addresses) == 3 + 2 + 1 and len(page.tables) == 5  # all else is there
    assert not [title for title in page.titles if "predicted against true" in title]
    for id, words in (("near", "near"), ("far", "far</b> &amp; more"), ("v$_$1", "good")):
        assert f">{id}<" not in text and words not in text
    assert "Largest errors" not in text and "<h2>Settings</h2>" in text


def test_any_row_can_be_tested(runs: Path, tmp_path: Path):
    write_page([runs], tmp_path / "report.html", against="tfn")
    page = Page((tmp_path / "report.html").read_text())
    assert "MAE of tfn minus each other row's" in page.titles
    assert page.tables[4][1][:2] == ["interactive_attention", "−45.00"]
    with pytest.raises(UserError, match="--against lmf: the rows are interactive_attention; tfn"):
        write_page([runs], tmp_path / "none.html", against="lmf")
    assert not (tmp_path / "none.html").exists()


def test_the_page_shows_what_the_data_are_measured_by(tmp_path: Path):
    known = {"data": "sims", "protocol": "sims", "label_range": [-1, 1]}
    for model in ("tfn", "interactive_attention"):
        run_dir = finished(tmp_path / "runs", model, 1, {"near": 1.2, "far": -3.0}, **known)
    (run_dir / "generated_labels.csv").write_text("id,label,generated_text,true_text\na,1,1,1\nb,-1,0,.5\nc,1,-1,0\n")
    (run_dir / "metrics.csv").write_text("epoch,ulgm/corr_true_text,ulgm/mae_true_text\n1,0.5,0.25\n2,0.25,0.5\n")
    written = write_page([tmp_path / "runs"], tmp_path / "report.html", tmp_path / "labels")
    assert written[:2] == [tmp_path / "report.html", tmp_path / "labels" / "agreement.csv"]
    assert all(path.is_file() for path in written)
    page = Page((tmp_path / "report.html").read_text())
    card, results, _, _, _, agreement, *_ = page.tables
    assert [row[:3] for row in agreement[1:]] == [
        ["the label itself", "", "0.00"],  # 1 -1 1 with 1 .5 0
        ["interactive_attention", "1", "50.00"],
    ]
    assert any(title.startswith("Correlation of generated labels with true ones by epoch") for title in page.titles)
    assert card[0][1:12] == ["-1", "-0.8", "-0.6", "-0.4", "-0.2", "0", "+0.2", "+0.4", "+0.6", "+0.8", "+1"]
    assert results[0] == ["", "text", "n", "MAE", "Corr", "Acc2", "Acc3", "Acc5", "F1", "gen. text"]
    assert any("Metrics of CH-SIMS: predictions clipped to [−1, 1]." in words for words in page.words)
    assert any("the utterances' own label reaches text" in words for words in page.words)


@pytest.mark.parametrize("there", ["result.json", "checkpoints"])
def test_what_is_no_page_is_not_written_over(runs: Path, there: str):
    run_dir = next(path.parent for path in runs.rglob("result.json"))
    (run_dir / "checkpoints").mkdir(exist_ok=True)
    before = (run_dir / "result.json").read_bytes()
    with pytest.raises(UserError, match=f"{there} exists and is no page; give another --out"):
        write_page([runs], run_dir / there)
    assert (run_dir / "result.json").read_bytes() == before


def test_files_of_labels_are_refused_where_no_true_ones_are_known(runs: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"runs: no run has generated labels beside true ones.*leave out --labels"):
        write_page([runs], tmp_path / "report.html", tmp_path / "labels")
    write_page([runs], tmp_path / "report.html")
    assert "Agreement of generated labels" not in (tmp_path / "report.html").read_text()


def test_the_page_says_how_many_parameters_train_where_some_do_not(runs: Path, tmp_path: Path):
    finished(tmp_path / "runs", "lmf", 1, {"near": 1.1, "far": -1.0}, trainable_parameters=400)
    finished(tmp_path / "runs", "mfn", 1, {"near": 1.1, "far": -1.0}, trainable_parameters=1000)
    write_page([runs], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("1,000 parameters, cpu") == 3
    assert text.count("1,000 parameters, of which 400 train, cpu") == 1


def test_runs_that_differ_in_a_setting_are_rows_of_their_own(tmp_path: Path):
    values = {"near": 1.1, "far": -1.0}
    for seed, generator in enumerate(("ulgm", "ulgm", "crossfit"), start=1):
        config = f"runs: runs{seed}\nobjective:\n  generator: {generator}\n  limit: null\n"
        finished(tmp_path / generator, "self_mm", seed, values, config=config)
    finished(tmp_path, "lmf", 1, values)  # whose settings are not compared with another model's
    names = ["lmf", "self_mm", "self_mm, objective.generator=crossfit"]
    assert list(dict.fromkeys(cell.row for cell in find_cells([tmp_path]))) == names
    write_page([tmp_path], tmp_path / "report.html")
    _, results, *_ = Page((tmp_path / "report.html").read_text()).tables
    assert {row[0]: row[2] for row in results[1:]} == dict(zip(names, ["1", "2", "1"], strict=True))
    finished(tmp_path / "again", "self_mm", 3, values, config="objective:\n  limit: null\n  generator: crossfit\n")
    with pytest.raises(UserError, match=r"two runs of self_mm, objective\.generator=crossfit seed 3"):
        find_cells([tmp_path])
