"""``mmsa predict`` from a table with features beside it, from lines of text and from a store, whole and interrupted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.cli import main
from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference import predict
from mmsa_lightning.inference import rows as rows_of
from mmsa_lightning.inference.export import package
from mmsa_lightning.inference.load import load

WORDS = ["fine", "bad", "good", "dull", "great", "awful", "the", "a", "film", "it", "was", "and"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CSV of 60 utterances, and vectors of audio (3) and vision (2) for each, whose features have
    names."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    with (folder / "u.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "split"])
        for i in range(60):
            split = "train" if i < 30 else "valid" if i < 40 else "test"
            writer.writerow([f"v{i}$_$0", " ".join(rng.choice(WORDS, 3 + i % 5)), round(rng.uniform(-3, 3), 1), split])
    ids = np.array([f"v{i}$_$0" for i in range(60)])
    np.savez(folder / "audio.npz", id=ids, features=rng.normal(3, 2, (60, 3)), names=["pitch", "energy", "jitter"])
    np.savez(folder / "vision.npz", id=ids, features=rng.normal(size=(60, 2)))
    return folder


@pytest.fixture(scope="module")
def run(table: Path, tiny_bert: str) -> Path:
    """An epoch of the paper's model on it."""
    features = ["--audio", str(table / "audio.npz"), "--vision", str(table / "vision.npz")]
    stated = ["--dataset", "x", "--label-range", "-3", "3", "--out", str(table / "x.h5")]
    main(["data", "import", str(table / "u.csv"), *stated, *features])
    data = ["data=own", f"data.path={table / 'x.h5'}", f"text_encoder={tiny_bert}", f"runs={table / 'runs'}"]
    main(["train", *data, "trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"])
    (found,) = (path.parent for path in (table / "runs").rglob("result.json"))
    return found


@pytest.fixture(scope="module")
def packed(run: Path, table: Path) -> Path:
    package([run], table / "p.zip")
    return table / "p.zip"


def command(packed: Path, table: Path, out: Path, *more: str) -> list[str]:
    features = ["--audio", str(table / "audio.npz"), "--vision", str(table / "vision.npz")]
    return ["predict", str(packed), str(table / "u.csv"), "--out", str(out), *features, *more]


def test_a_table_gives_what_the_run_left_and_its_metrics(
    packed: Path, table: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(command(packed, table, tmp_path / "p.csv"))
    found = {row["id"]: row for row in rows(tmp_path / "p.csv")}
    assert len(found) == 60
    for row in rows(run / "predictions.csv"):
        own = found[row["id"]]
        assert float(own["prediction"]) == pytest.approx(float(row["prediction"]), abs=1e-5)
        assert int(own["class7"]) == np.clip(np.rint(float(own["prediction"])), -3, 3)
        assert own["class2"] == ("negative" if float(own["prediction"]) < 0 else "non-negative")
        assert (own["label"], own["text"]) == (row["label"], row["text"])
    errors = [abs(float(row["label"]) - float(row["prediction"])) for row in found.values()]
    told = capsys.readouterr()
    assert f"mae        {np.mean(errors):.4f}" in told.out and "of 60 with a label" in told.out
    assert told.err == ""


def test_a_store_a_run_and_its_package_agree(packed: Path, table: Path, run: Path, tmp_path: Path) -> None:
    for name, model in (("run", run), ("package", packed)):
        main(["predict", str(model), str(table / "x.h5"), "--out", str(tmp_path / f"{name}.csv")])
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "package.csv").read_bytes()
    left = {row["id"]: row["prediction"] for row in rows(run / "predictions.csv") if row["split"] == "test"}
    for row in rows(tmp_path / "run.csv"):
        assert float(row["prediction"]) == pytest.approx(float(left[row["id"]]), abs=1e-6)


def test_lines_of_json_hold_the_same(packed: Path, table: Path, tmp_path: Path) -> None:
    main(command(packed, table, tmp_path / "p.csv", "--attention"))
    main(command(packed, table, tmp_path / "p.jsonl", "--attention"))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    for row, line in zip(rows(tmp_path / "p.csv"), lines, strict=True):
        assert (row["id"], float(row["prediction"]), float(row["label"])) == (
            line["id"],
            line["prediction"],
            line["label"],
        )
        shown = [float(word.rpartition(":")[2]) for word in row["attention"].split()]
        best = sorted((weight for _, weight in line["attention"]), reverse=True)[: predict.WORDS]
        assert shown == pytest.approx(best, abs=0.006)
        assert " ".join(word for word, _ in line["attention"]) == row["text"]


class Stop(Exception):
    pass


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_interrupted_command_goes_on_and_ends_with_the_same_bytes(
    packed: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(predict, "CHUNK", 16)
    whole, again = tmp_path / f"whole{suffix}", tmp_path / f"again{suffix}"
    main(command(packed, table, whole))
    written, text = [], predict._text

    def killed(*arguments: object, **others: object) -> str:
        if len(written) == 2:
            raise Stop
        written.append(1)
        return text(*arguments, **others)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(predict, "_text", killed)
        with pytest.raises(Stop):
            main(command(packed, table, again))
    assert not again.exists()
    with (tmp_path / f".again{suffix}.partial").open("a") as file:
        file.write("half a line")  # what was not finished
    counted: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(predict, "_text", lambda *a, **o: counted.append(1) or text(*a, **o))
        main(command(packed, table, again, "--resume"))
    assert len(counted) == 2  # of four
    assert again.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([whole.name, again.name])


def test_another_input_does_not_go_on(
    packed: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predict, "CHUNK", 16)
    out, text = tmp_path / "p.csv", predict._text
    with monkeypatch.context() as patch:
        patch.setattr(predict, "_text", lambda *a, header, **o: text(*a, header=header, **o) if header else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command(packed, table, out))
    lines = (table / "u.csv").read_text().splitlines()
    (tmp_path / "changed.csv").write_text("\n".join([lines[0], lines[1].replace(",", ",oh ", 1), *lines[2:]]))
    for change, words in (
        ([str(tmp_path / "changed.csv")], "was begun with another input; leave out --resume to begin again"),
        ([str(table / "u.csv"), "--attention"], "was begun with another package or other options"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([word for word in command(packed, table, out, "--resume") if word != str(table / "u.csv")] + change)
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_lines_of_text(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package([trained("lmf", "bert", "modalities=[text]")], tmp_path / "p")
    lines = io.TextIOWrapper(io.BytesIO("it was good\nça va\n".encode()))
    monkeypatch.setattr("sys.stdin", lines)
    main(["predict", str(tmp_path / "p"), "-", "--out", str(tmp_path / "p.csv")])
    assert [(row["id"], row["text"], row["label"]) for row in rows(tmp_path / "p.csv")] == [
        ("1", "it was good", ""),
        ("2", "ça va", ""),
    ]
    assert "with a label" not in capsys.readouterr().out


@pytest.mark.parametrize("line", [b"\n", b" \t\r\n"])
def test_a_blank_line_is_said(line: bytes) -> None:
    read = rows_of.lines(io.BytesIO(b"so good\n" + line + b"so bad\n"))
    assert next(read).text == "so good"
    with pytest.raises(UserError, match="line 2 is blank: leave it out"):
        next(read)


def test_features_of_other_utterances_are_not_passed_over(packed: Path, table: Path, tmp_path: Path) -> None:
    """As one that was trained to miss some would do; ids of the table are read without the blanks around them."""
    about = load(packed).about
    (tmp_path / "u.csv").write_text("id,text\n v0$_$0 ,so good\nother,so bad\n")
    features = {"audio": table / "audio.npz"}
    found = list(rows_of.table(tmp_path / "u.csv", about, features, separator=None, encoding=None))
    assert [list(utterance.features) for utterance in found] == [["audio"], []]
    (tmp_path / "u.csv").write_text("id,text\nother,so bad\n")
    words = (
        r"--audio: its ids, such as 'v0\$_\$0', are none of .*u\.csv, such as 'other': no utterance would have audio"
    )
    with pytest.raises(UserError, match=words):
        list(rows_of.table(tmp_path / "u.csv", about, features, separator=None, encoding=None))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--out", "p.txt"], "give a name that ends in .csv or .jsonl"),
        (["--text", "audio.npz"], "this model reads no features of text; leave it out"),
        (["--vision", "audio.npz"], "vision of v0$_$0 has the shape (1, 3): this model reads (steps, 2)"),
        (["--audio", "named.npz"], "audio feature 2 is loudness, but this model was trained with energy there"),
        (["--audio", "few.npz"], "v1$_$0 has no audio, and this model was not trained to miss any"),
        (["--split", "test", "--device", "nonsense"], "nonsense"),
    ],
)
def test_what_does_not_fit_is_one_line(
    packed: Path,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
) -> None:
    ids, features = np.array(["v0$_$0"]), np.ones((1, 3))
    np.savez(table / "few.npz", id=ids, features=features)
    np.savez(table / "named.npz", id=ids, features=features, names=["pitch", "loudness", "jitter"])
    monkeypatch.chdir(table)
    with pytest.raises(SystemExit) as ended:
        main(command(packed, table, tmp_path / "p.csv", *more))
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("id,text\na,good\nb,bad\na,fine\n", "row 4: the id 'a' is that of row 2, too: give each utterance its own"),
        ("id,text,Label\na,good,1\n", "has the column 'Label', which would not be read: call it label"),
    ],
)
def test_a_table_that_says_other_than_it_seems_is_one_line(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, words: str
) -> None:
    (tmp_path / "u.csv").write_text(written)
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(packed), str(tmp_path / "u.csv"), "--out", str(tmp_path / "p.csv")])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in error and error.count("\n") == 1


def test_a_file_of_the_model_is_not_written_over(
    run: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "predictions.csv").read_bytes()
    monkeypatch.chdir(table)
    with pytest.raises(SystemExit) as ended:
        main(command(run, table, run / "predictions.csv"))
    assert ended.value.code == 2 and "would be written over" in capsys.readouterr().err
    assert (run / "predictions.csv").read_bytes() == before


def test_a_store_of_other_data_is_refused(
    packed: Path, trained: Callable[..., Path], store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["predict", str(packed), str(store), "--out", str(tmp_path / "p.csv")])
    width = Store(store).dims["audio"]
    assert f"has audio of width {width}, but this model reads 3 features" in capsys.readouterr().err
