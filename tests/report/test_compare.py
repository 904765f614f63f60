"""The figures of a comparison against scikit-learn, SciPy and by hand, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pages import Page, finished
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from mmsa_lightning import cli
from mmsa_lightning.report import compare
from mmsa_lightning.report.sides import Pair, pair, read_side

IDS = [f"u{i}" for i in range(60)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two seeds of one row and one of another, on labels with a decimal, 0 among them."""
    rng = np.random.default_rng(0)
    labels = np.array([*rng.uniform(-3, 3, 57).round(1), 0, -3, 3])
    for model, seed, noise in (("tfn", 1, 0.8), ("tfn", 2, 0.8), ("lmf", 1, 1.3)):
        values = (labels + rng.normal(0, noise, 60)).round(4)
        named = (dict(zip(IDS, column.tolist(), strict=True)) for column in (values, labels))
        finished(tmp_path, model, seed, *named, config=f"model: {{rank: 3, width: {noise}}}\n")
    return tmp_path / "tfn", tmp_path / "lmf"


@pytest.fixture
def both(folders: tuple[Path, Path]) -> Pair:
    return pair(*map(read_side, folders))


def csv_of(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def number(cell: str) -> float:
    return float(cell.replace("−", "-"))


def test_metrics_are_scikit_learns(both: Pair):
    grid = compare.metrics_grid(both)
    label, nonzero = both.labels, both.labels != 0
    expected = {}
    for row, side in (("A", both.a), ("B", both.b)):
        found = [
            [
                mean_absolute_error(label, p),
                np.corrcoef(label, p)[0, 1],
                accuracy_score(label.clip(-3, 3).round(), p.clip(-3, 3).round()),
                accuracy_score(label >= 0, p >= 0),
                accuracy_score(label[nonzero] > 0, p[nonzero] > 0),
                f1_score(label >= 0, p >= 0, average="weighted"),
                f1_score(label[nonzero] > 0, p[nonzero] > 0, average="weighted"),
            ]
            for p in side.predictions
        ]
        expected[row] = 100 * np.array(found)  # (seeds, metrics)
    a, b = expected["A"], expected["B"]
    assert grid.rows[0] == ["A", "2", *(f"{m:.2f} ± {s:.2f}" for m, s in zip(a.mean(0), a.std(0, ddof=1), strict=True))]
    assert grid.rows[1] == ["B", "1", *(f"{m:.2f}" for m in b[0])]
    np.testing.assert_allclose([number(cell) for cell in grid.rows[2][2:]], a.mean(0) - b[0], atol=0.006)
    assert (0, 2) in grid.bold and (1, 2) not in grid.bold  # less noise, lower MAE


def test_the_difference_is_that_of_a_paired_test(both: Pair):
    difference = np.abs(both.a.predictions - both.labels).mean(0) - np.abs(both.b.predictions - both.labels).mean(0)
    ((_, value, interval, p, a_nearer, b_nearer, equal),) = compare.difference_grid(both).rows
    assert number(value) == pytest.approx(100 * difference.mean(), abs=0.006)
    normal = stats.ttest_1samp(100 * difference, 0).confidence_interval(0.95)
    assert [number(end) for end in interval.split(" to ")] == pytest.approx([normal.low, normal.high], abs=3)
    assert p == "< 0.0001" and stats.ttest_1samp(difference, 0).pvalue < 1e-4
    assert [int(a_nearer), int(b_nearer), int(equal)] == [(difference < 0).sum(), (difference > 0).sum(), 0]
    np.testing.assert_allclose(compare.gains(both), difference)


def test_what_one_side_always_does_better_is_no_chance(tmp_path: Path):
    rows = [(f"u{i}", (i % 7) - 3.0) for i in range(20)]
    a = csv_of(tmp_path / "a.csv", ["id,label,prediction", *(f"{id},{label},{label + 0.5}" for id, label in rows)])
    b = csv_of(tmp_path / "b.csv", ["id,prediction", *(f"{id},{label - 1.5}" for id, label in rows)])
    grid = compare.difference_grid(pair(read_side(a), read_side(b)))
    assert grid.rows == [["A − B", "−100.00", "−100.00 to −100.00", "< 0.0001", "20", "0", "0"]]


def test_bins_and_movements_by_hand(tmp_path: Path):
    # Errors of A: u (1 + 3) / 2, v 1, w .5, x 0. Of B: u 1.5, v 1, w 0, x 2.
    labels = {"u": 3.0, "v": 1.0, "w": 1.5, "x": -1.0}
    for seed, u in ((1, 2.0), (2, 6.0)):
        finished(tmp_path, "tfn", seed, {"u": u, "v": 2.0, "w": 1.0, "x": -1.0}, labels)
    finished(tmp_path, "lmf", 1, {"u": 1.5, "v": 0.0, "w": 1.5, "x": 1.0}, labels)
    both = pair(read_side(tmp_path / "tfn"), read_side(tmp_path / "lmf"))
    grid = compare.bins_grid(both)
    assert grid.rows == [
        ["-1", "1", "0.00", "200.00", "−200.00", "0"],
        ["+1", "1", "100.00", "100.00", "+0.00", "0"],
        ["+2", "1", "50.00", "0.00", "+50.00", "1"],  # 1.5 goes to the even class
        ["+3", "1", "200.00", "150.00", "+50.00", "1"],
    ]
    assert grid.bold == {(0, 2), (1, 2), (1, 3), (2, 3), (3, 3)}
    # The mean of u is 4, nearer to 3 than 1.5 is; but each seed's error counts, and B's is smaller.
    assert [line[:5] for line in compare.moved(both)] == [
        ("u", "+3.0", "+4.00", "+1.50", "B by 0.50"),
        ("v", "+1.0", "+2.00", "+0.00", "equal"),
        ("x", "-1.0", "-1.00", "+1.00", "A by 2.00"),
        ("w", "+1.5", "+1.00", "+1.50", "B by 0.50"),
    ]
    ((_, *cells),) = compare.predictions_grid(both).rows
    a, b = [4, 2, 1, -1], [1.5, 0, 1.5, 1]
    assert cells[:5] == ["+1.50", "+1.00", "+0.50", "1.75", "2.50"]
    assert cells[5:] == [f"{stats.pearsonr(a, b).statistic:.3f}", "50.0 %"]


def test_the_page_shows_every_part_and_needs_nothing_else(folders: tuple[Path, Path], tmp_path: Path):
    compare.write_comparison(*folders, tmp_path / "new" / "compare.html")
    page = Page((tmp_path / "new" / "compare.html").read_text())
    what, changed, metrics, difference, predictions, bins, moved = page.tables
    assert what[:5] == [
        ["", "A", "B"],
        ["name", "tfn", "lmf"],
        ["from", *map(str, folders)],
        ["data", "demo", "demo"],
        ["seeds", "1, 2", "1"],
    ]
    assert changed == [["setting", "A", "B"], ["model.width", "0.8", "1.3"]]
    assert "60 utterances for which both have a prediction. Measured by the protocol mosi" in " ".join(page.words)
    assert [row[0] for row in metrics] == ["", "A", "B", "A − B"]
    assert difference[0][1:4] == ["Δ MAE", "95 % interval", "p"]
    assert predictions[1][0] == "predictions"
    assert sum(int(row[1]) for row in bins[1:]) == 60
    assert moved[0] == ["id", "label", "A", "B", "nearer", "text"] and len(moved) == 1 + compare.SHOWN

    tags = [tag for tag, _ in page.elements]
    assert "script" not in tags and "b" not in tags
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert len(page.addresses) == len(page.titles) == 2 and all(page.titles)
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.elements if tag == "th")
    assert [tag for tag in tags if tag in ("h1", "h2", "h3")] == ["h1", *["h2"] * 6]
    assert ("html", {"lang": "en"}) in page.elements
    assert any(attributes.get("name") == "viewport" for tag, attributes in page.elements if tag == "meta")
    assert int(difference[1][4]) + int(difference[1][5]) == 60
    assert f"A is nearer for {difference[1][4]}, B is nearer for {difference[1][5]}" in page.titles[1]


def test_texts_ids_and_names_are_escaped(tmp_path: Path):
    wicked = "<script>alert('x')</script>"
    names = [tmp_path / f"{name}<img src=x>.csv" for name in "ab"]
    for path, shift in zip(names, (0, 1), strict=True):
        rows = [f'"{wicked}{i}",{i + shift},1,"{wicked} & ""quoted"""' for i in range(3)]
        csv_of(path, ["id,prediction,label,text", *rows])
    compare.write_comparison(*names, tmp_path / "compare.html")
    page = Page((tmp_path / "compare.html").read_text())
    assert not {"script", "b"} & {tag for tag, _ in page.elements}
    assert all(address.startswith("data:") for address in page.addresses)
    *_, moved = page.tables
    assert moved[1][0] == f"{wicked}0" and moved[1][-1] == f'{wicked} & "quoted"'


def test_without_labels_predictions_alone_are_compared(tmp_path: Path):
    a = csv_of(tmp_path / "a.csv", ["id,prediction", "u,1", "v,2", "x,0"])
    b = csv_of(tmp_path / "b.csv", ["id,prediction", "v,-1", "w,0", "u,1.5"])
    compare.write_comparison(a, b, tmp_path / "compare.html")
    page = Page((tmp_path / "compare.html").read_text())
    words = " ".join(page.words)
    assert "2 utterances for which both have a prediction. 1 of A and 1 of B are left out" in words
    assert "predictions alone are compared" in words and "MAE" not in words and "protocol" not in words
    what, predictions, moved = page.tables
    assert what[1:] == [["name", "a.csv", "b.csv"], ["from", str(a), str(b)]]
    assert predictions[1][1:6] == ["+1.50", "+0.25", "+1.25", "1.75", "3.00"]
    assert moved == [["id", "A", "B", "text"], ["v", "+2.00", "-1.00", ""], ["u", "+1.00", "+1.50", ""]]
    assert page.titles[1].endswith("B is higher for 1, A is higher for 1, mean +1.250.")


def test_where_some_labels_are_known_errors_are_of_these(tmp_path: Path):
    a = csv_of(tmp_path / "a.csv", ["id,prediction,label", "u,1,0", "v,2,2", "x,0,"])
    b = csv_of(tmp_path / "b.csv", ["id,prediction", "u,0.5", "v,-1", "x,-3"])
    compare.write_comparison(a, b, tmp_path / "compare.html")
    page = Page((tmp_path / "compare.html").read_text())
    assert "Of 2 the label is known; errors are of these alone." in " ".join(page.words)
    _, metrics, difference, predictions, bins, moved = page.tables
    assert [row[2] for row in metrics[1:]] == ["50.00", "175.00", "−125.00"]
    assert difference[1][4:] == ["1", "1", "0"]
    assert predictions[1][5] == "3.00"
    assert [row[1] for row in bins[1:]] == ["1", "1"]
    assert [row[4] for row in moved[1:]] == ["A by 3.00", "", "B by 0.50"]


def test_the_command_says_where_the_page_is_or_what_is_wrong(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "page.html"
    cli.main(["compare", *map(str, folders), "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n" and out.is_file()
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", str(folders[0]), str(folders[0]), "--out", str(tmp_path / "none.html")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("error: A and B both hold ") and error.count("\n") == 1
    assert not (tmp_path / "none.html").exists()
    read = next(folders[1].rglob("predictions.csv"))
    before = read.read_bytes()
    with pytest.raises(SystemExit):
        cli.main(["compare", *map(str, folders), "--out", str(read)])
    assert "would be written over" in capsys.readouterr().err and read.read_bytes() == before
