import subprocess
import sys

import pytest

from mmsa_lightning import app
from mmsa_lightning.cli import main


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


def test_inspecting_no_store_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", "inspect", str(tmp_path / "none.h5")])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no store at") and error.count("\n") == 1
