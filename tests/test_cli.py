import io
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from mmsa_lightning import cli
from mmsa_lightning.cli import main
from mmsa_lightning.experiment import app


@pytest.mark.parametrize(
    "argv", [["--help"], ["data", "--help"], ["data", "import", "--help"], ["data", "encode", "--help"]]
)
def test_help_imports_nothing_heavy(argv):
    code = (
        "import atexit, sys; from mmsa_lightning.cli import main\n"
        "heavy = {'torch', 'transformers', 'h5py', 'numpy', 'hydra'}\n"
        "atexit.register(lambda: print('loaded:', heavy & set(sys.modules)))\n"
        "main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: mmsa")
    assert "loaded: set()" in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["data"],
        ["nonsense"],
        ["data", "import", "x.pkl"],
        ["data", "import", "x", "--dataset", "a", "--split", "1"],
    ],
)
def test_a_wrong_command_line_ends_with_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage: mmsa" in capsys.readouterr().err


@pytest.mark.parametrize("rest", [[], ["data=mosi", "--multirun"], ["--help"], ["+ablation=bi_uni", "-m", "seed=1,2"]])
def test_train_gets_all_that_follows_untouched(monkeypatch, rest):
    got = []
    monkeypatch.setattr(app, "main", got.append)
    main(["train", *rest])
    assert got == [rest]


def test_a_pickle_of_hydras_is_not_loaded(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "seed=1", "--experimental-rerun", "config.pickle"])
    assert end.value.code == 2
    assert "config.pickle names a pickle" in capsys.readouterr().err


ENCODINGS = ["gbk", "latin-1", "cp437", "cp932", "ascii"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("argv", [["table", "--help"], ["data", "inspect", "実験\udcff–ü.h5"], ["models"]])
def test_output_in_any_encoding(monkeypatch, encoding, argv):
    """What it lacks is written as an escape, whether the encoding is that of a terminal or of a file."""
    written = io.BytesIO()
    output = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", output)
    with pytest.raises(SystemExit) if argv != ["models"] else nullcontext() as end:
        main(argv)
    output.flush()
    text = written.getvalue().decode(encoding)
    match argv:
        case ["table", _]:
            assert end.value.code == 0
            assert ("\\u2026" in text or "…" in text) and "--partial" in text
        case ["data", *_]:
            assert end.value.code == 2 and text.startswith("error: no store at ")
            assert text.count("\n") == 1 and "\\udcff" in text
        case ["models"]:
            assert "interactive_attention" in text


def test_inspecting_no_store_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", "inspect", str(tmp_path / "none.h5")])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no store at") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "run_dir", "ids"),
    [
        (["RUN", "-3g5yACwYnA$_$82"], "RUN", ["-3g5yACwYnA$_$82"]),
        (["RUN", "-hnBHBN8p5A$_$16", "a", "--qXJuDtHPw$_$23", "--out", "x"], "RUN", ["a", "-hn", "--q"]),
        (["--out=x", "--", "-run", "-3g5", "--out"], "-run", ["-3g5", "--out"]),
        (["RUN"], "RUN", []),
    ],
)
def test_ids_may_begin_with_a_dash(monkeypatch, words, run_dir, ids):
    got = []
    monkeypatch.setattr(cli, "_attention", got.append)
    main(["attention", *words])
    assert got[0].run_dir == Path(run_dir)
    assert len(got[0].ids) == len(ids)
    assert all(full.startswith(id) for full, id in zip(got[0].ids, ids, strict=True))
    assert got[0].out == Path("x" if any(word.startswith("--out=") or word == "x" for word in words) else "report")


@pytest.mark.parametrize(
    "words",
    [
        ["3", "--out", "x", "model=tfn", "seed=1,2"],
        ["model=tfn", "--out", "x", "3", "seed=1,2"],
        ["--out=x", "model=tfn", "seed=1,2", "3"],
    ],
)
def test_overrides_of_a_table_stand_anywhere(monkeypatch, words):
    pytest.importorskip("matplotlib")
    from mmsa_lightning.report import write

    got = []
    monkeypatch.setattr(write, "write_table", lambda *args, **options: got.append((args, options)) or "")
    main(["table", *words])
    assert got == [(("3", ["model=tfn", "seed=1,2"], Path("x")), {"partial": False})]
