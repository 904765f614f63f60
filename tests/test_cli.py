import io
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from mmsa_lightning.cli import main
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import app


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["data", "--help"],
        ["data", "import", "--help"],
        ["data", "encode", "--help"],
        ["data", "tokenize", "--help"],
        ["check", "-h"],
        ["new", "model", "--help"],
    ],
)
def test_help_imports_nothing_heavy(argv):
    code = (
        "import atexit, sys; from mmsa_lightning.cli import main\n"
        "heavy = {'torch', 'transformers', 'h5py', 'numpy', 'hydra', 'rich'}\n"
        "atexit.register(lambda: print('loaded:', heavy & set(sys.modules)))\n"
        "main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: mmsa")
    assert "loaded: set()" in done.stdout


def test_an_interrupted_command_is_one_line(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmsa_lightning.data.store.Store", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(["data", "inspect", "some.h5"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


LARGE = {"torch", "torch._dynamo", "lightning", "torchmetrics", "transformers", "hydra", "matplotlib", "scipy"}
NEEDLESS = {"scipy.signal", "scipy.optimize", "pandas", "sklearn", "peft", "wandb", "joblib", "submitit", "optuna"}
REPORTS = {"hydra", "matplotlib", "scipy"}
# transformers brings dynamo and scipy; older ones scikit-learn, where it is installed, and with it joblib.
ENCODERS = {"torch", "torch._dynamo", "transformers", "scipy", "scipy.optimize", "sklearn", "joblib"}


@pytest.mark.parametrize(
    ("argv", "allowed"),
    [
        (["data", "inspect", "none.h5"], set()),
        (["train", "--help"], {"hydra"}),
        (["table", "5", "runs=none"], REPORTS),
        (["report", "none"], REPORTS),
        (["compare", "a.csv", "b.csv"], REPORTS | {"torch"}),
        pytest.param(["predict", "none", "stub.csv", "--out", "x.csv"], ENCODERS, marks=pytest.mark.slow),
        pytest.param(["models"], ENCODERS | {"hydra"}, marks=pytest.mark.slow),
        pytest.param(
            ["train", "data=own", "data.path=none.h5"],
            LARGE | ENCODERS | {"scipy.signal"},  # torchmetrics brings matplotlib and scipy
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_command_imports_what_it_uses(argv, allowed, tmp_path):
    """What is large, and no more of it; that some end with 2, for want of files, comes after the imports."""
    (tmp_path / "stub.csv").touch()
    code = (
        "import atexit, sys; from mmsa_lightning.cli import main\n"
        f"large = {LARGE | NEEDLESS}\n"
        "atexit.register(lambda: print('loaded:', *large & set(sys.modules)))\n"
        "main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr
    assert set(done.stdout.rpartition("loaded:")[2].split()) <= allowed


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


@pytest.mark.parametrize("command", [["table", "3"], ["robustness", "runs"], ["evaluate", "runs", "--store", "x.h5"]])
def test_a_folder_to_write_to_that_is_a_file_is_said_before_anything_is_done(capsys, tmp_path, command):
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(SystemExit) as end:
        main([*command, "--out", str(tmp_path / "x.csv")])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: --out {tmp_path / 'x.csv'} is a file; give a folder\n"


@pytest.mark.parametrize("number", ["0", "-2", "-10"])
def test_no_jobs_at_once_are_refused(capsys, number):
    with pytest.raises(SystemExit) as end:
        main(["train", "-m", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={number}", "seed=1,2"])
    assert end.value.code == 2
    assert f"n_jobs={number}: give 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("launcher", ["slurm", "submitit_slurm"])
def test_jobs_for_slurm_where_there_is_none_are_refused(capsys, tmp_path, monkeypatch, launcher):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    override = f"hydra/launcher={launcher}"
    with pytest.raises(SystemExit) as end:
        main(["train", "-m", override, "seed=1,2"])
    assert end.value.code == 2 and f"error: {override}: there is no SLURM on this machine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    main(["train", "--cfg", "job", override])
    assert capsys.readouterr().out.startswith("seed: 1\n")


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("hydra.sweeper.n_trials=0", "give 1 or more"),
        ("hydra.sweeper.n_jobs=-1", "give 1 or more"),
        ("hydra.sweeper.max_batch_size=0", "give 1 or more"),
        ("hydra.sweeper.params.seed=1", "what is swept over is given by itself, such as seed=1,2"),
        ("hydra.run.dir=", "give a run's folder"),
        ("hydra.sweep.subdir=''", "give a run's folder"),
        ("hydra.verbose={a:1}", "give true, false or a list"),
        ("hydra.verbose=3", "give true, false or a list"),
    ],
)
def test_a_setting_of_hydras_that_no_run_could_follow_is_refused(capsys, tmp_path, monkeypatch, override, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train", "-m", "experiment=search", override, "data=mosi", "data.path=none.h5"])
    assert end.value.code == 2
    assert f"{override}: {why}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patience: [1\nseed: 2\n", "odd.yaml, line 3: not YAML (expected ',' or ']', but got ':')"),
        ('runs: "${a"\n', "'${a'"),
    ],
)
def test_a_config_of_ones_own_that_cannot_be_read_is_one_line(capsys, tmp_path, text, said):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "odd.yaml").write_text(f"# @package _global_\n{text}")
    with pytest.raises(SystemExit) as end:
        main(["train", "--config-dir", str(tmp_path), "model=odd"])
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed and printed.count("\n") == 1


ENCODINGS = ["gbk", "latin-1", "cp437", "cp932", "ascii"]


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--nope"], "--nope"),
        (["tabel", "3"], "'tabel'. Did you mean 'table'?"),
        (["table", "--partail", "3"], "--partail"),
        (["data", "import", "x.csv"], "'--dataset'"),
        (["data", "import", "x.csv", "--dataset", "a", "--split", "1"], "'--split' requires 3"),
        (["data", "import", "x.csv", "--dataset", "a", "--label-range", "low", "1"], "'--label-range'"),
        (["data", "inspect", "a", "実験"], "実験"),
        (["new", "model"], "'NAME'"),
        (["compare", "runs"], "'B'"),
        (["info", "all"], "(all)"),
    ],
)
@pytest.mark.parametrize("columns", ["40", "200"])
def test_a_mistake_is_named_in_one_line(argv, named, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert named in printed.err and "; usage: mmsa " in printed.err


def test_as_a_module_and_its_version():
    from importlib.metadata import version

    command = [sys.executable, "-m", "mmsa_lightning.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"mmsa-lightning {version('mmsa-lightning')}\n")


@pytest.fixture
def got(monkeypatch):
    """What the importer is called with, in place of an import."""
    from mmsa_lightning.data import importer

    calls = []

    def import_file(*args, **options):
        calls.append((args, options))
        raise UserError("enough")

    monkeypatch.setattr(importer, "import_file", import_file)
    return calls


@pytest.mark.parametrize(
    ("words", "tokenizer", "keep_case"),
    [
        ([], None, False),
        (["--text-encoder", "minilm"], "minilm", False),
        (["--tokenizer", "a/b"], "a/b", False),
        (["--tokenizer", "a/b", "--text-encoder", "a/b", "--keep-case"], "a/b", True),
    ],
)
def test_a_text_encoder_has_an_older_name(got, words, tokenizer, keep_case):
    with pytest.raises(SystemExit):
        main(["data", "import", "x.csv", "--dataset", "mine", *words])
    ((_, options),) = got
    assert (options["tokenizer"], options["keep_case"]) == (tokenizer, keep_case)


def test_two_text_encoders_are_refused(got, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", "import", "x.csv", "--dataset", "mine", "--tokenizer", "minilm", "--text-encoder", "a/b"])
    printed = capsys.readouterr().err
    assert end.value.code == 2 and not got and printed.count("\n") == 1
    assert "--text-encoder a/b and its older name, --tokenizer minilm, differ" in printed


def test_negative_numbers_and_an_older_name_are_read(got):
    options = ["--label-range", "-1", "-.5", "--dataset", "mine", "--text-features", "t.npz", "--split", "7", "2", "1"]
    with pytest.raises(SystemExit):
        main(["data", "import", *options, "--", "-x.csv"])
    ((args, options),) = got
    assert args == (Path("-x.csv"), "mine", Path("stores/mine.h5"))
    given = {name: value for name, value in options.items() if value}
    assert given == {"label_range": (-1.0, -0.5), "text": Path("t.npz"), "split": (7.0, 2.0, 1.0)}


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["info", "--help"])
def test_a_reader_that_has_had_enough_is_no_error(argument):
    """As ``mmsa info | head``: the other end is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mmsa_lightning.cli", argument]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mmsa da", ["dashboard", "data"]),
        ("mmsa data ", ["encode", "extract", "import", "inspect", "tokenize"]),
        ("mmsa table --pa", ["--partial"]),
        ("mmsa data import --text-", ["--text-encoder"]),
        ("mmsa train --m", []),
    ],
)
def test_bash_completes(line, words):
    typed = line.split(" ")
    environment = os.environ | {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(typed) - 1),
        "_MMSA_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mmsa_lightning.cli"], env=environment, capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == words


def test_the_script_for_bash_asks_mmsa():
    command = [sys.executable, "-m", "mmsa_lightning.cli", "--show-completion", "bash"]
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    asked = subprocess.run(["bash", "-c", f"{script}\ncomplete -p mmsa"], capture_output=True, text=True, check=True)
    assert asked.stdout == "complete -o default -F _mmsa_completion mmsa\n"
    assert "_MMSA_COMPLETE=complete_bash" in script


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
    pytest.importorskip("matplotlib")
    from mmsa_lightning.report import write

    got = []
    monkeypatch.setattr(write, "write_attention", lambda *args: got.append(args) or [])
    main(["attention", *words])
    ((found_dir, found_ids, out, own_model),) = got
    assert own_model is None
    assert found_dir == Path(run_dir)
    assert len(found_ids) == len(ids)
    assert all(full.startswith(id) for full, id in zip(found_ids, ids, strict=True))
    assert out == Path("x" if any(word.startswith("--out=") or word == "x" for word in words) else "report")


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
    assert got == [(("3", ["model=tfn", "seed=1,2"], Path("x")), {"partial": False, "against": None})]
