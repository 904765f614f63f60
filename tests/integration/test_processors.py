"""Which settings the tests are run under, in what order, and that figures are kept; the suite itself is not run."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import processors
import pytest
import shuffled
from processors import Setting

LEVELS = list(processors.LEVELS)

CODE = """
import os, pytest
@pytest.mark.parametrize("i", range(20))
def test_passes(i): print(i, file=open(__file__ + ".order", "a"))
def test_fails_with_other_threads(): assert os.environ["OMP_NUM_THREADS"] == "1"
@pytest.mark.skip
def test_skips(): ...
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Three files of 22 tests; they note the order in which they ran."""
    (tmp_path / "suite").mkdir()
    for name in "abc":
        (tmp_path / "suite" / f"test_{name}.py").write_text(CODE)
    return tmp_path / "suite"


@pytest.mark.parametrize(("level", "known"), [("default", 1), ("avx2", 2), ("avx512", 3)])
def test_a_processor_runs_what_it_can(level: str, known: int) -> None:
    found = processors.settings(level)
    assert len(set(found)) == len(found) == 3 * known + 5
    together = [s for s in found if s.capability and s.onednn and s.mkl]
    assert {s.capability for s in together} == {*LEVELS[:known]}
    assert all({s.threads for s in together if s.capability == name} == {"1", "2", "4"} for name in LEVELS[:known])
    assert [s.order for s in found if s.order] == ["1", "2"]


def test_what_a_setting_does_not_say_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in processors.VARIABLES:
        monkeypatch.setenv(name, "mine")
    found = processors.environment(Setting(mkl="AVX2", threads="4"))
    assert {name: found[name] for name in processors.VARIABLES if name in found} == {
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OMP_NUM_THREADS": "4",
    }


def test_the_processor_is_known_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    flags = Path("/proc/cpuinfo").read_text().split()
    assert (processors.processor() in ("avx2", "avx512")) == ("avx2" in flags)


def test_order_is_a_function_of_the_seed_and_keeps_files_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def order(seed: str) -> list[Any]:
        monkeypatch.setenv("ORDER_SEED", seed)
        items = [SimpleNamespace(path=Path(name), number=i) for name in "abcd" for i in range(9)]
        shuffled.pytest_collection_modifyitems(items)
        return items

    found = order("1")
    assert found == order("1") != order("2")
    assert sorted(item.number for item in found) == sorted([*range(9)] * 4)
    files = [path for path, _ in itertools.groupby(found, lambda item: item.path)]
    assert len(files) == 4 and files != sorted(files)


def lines(out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What the script prints of two settings; it ends with 1, for there are tests that fail."""
    monkeypatch.setattr(processors, "settings", lambda _: [Setting(threads="1"), Setting(order="7")])
    return [line for line in main(out, monkeypatch, capsys, *arguments).splitlines() if line.startswith(("|", "test"))]


def main(out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # of which this suite needs none, and which take long
    monkeypatch.setattr(processors, "processor", lambda: "avx2")
    monkeypatch.setattr(sys, "argv", ["processors.py", "--out", str(out), *arguments])
    with pytest.raises(SystemExit) as end:
        processors.main()
    assert end.value.code == 1
    printed = capsys.readouterr().out
    assert printed.startswith("left out: avx512, which this processor does not have\n")
    return printed


def test_figures_are_kept_and_what_is_finished_is_not_run_again(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    printed = lines(out, monkeypatch, capsys, str(suite))
    assert printed[0] == "| torch | oneDNN | MKL | threads | order | passed | failed | skipped | minutes |"
    cells = [[cell.strip() for cell in line.split("|")[4:-2]] for line in printed[2:4]]
    assert cells == [["1", "as it is", "63", "0", "3"], ["2", "7", "60", "3", "3"]]
    assert sorted(printed[4:]) == [f"test_{name}::test_fails_with_other_threads" for name in "abc"]
    first, second = (numbers[:20], numbers[20:]) if (numbers := order(suite)) else ([], [])
    assert first == sorted(first) != second

    assert lines(out, monkeypatch, capsys, str(suite)) == printed
    assert len(order(suite)) == 40  # nothing ran
    other = lines(out, monkeypatch, capsys, str(suite), "-k", "fails")
    assert [line.split("|")[6:9] for line in other[2:4]] == [[" 3 ", " 0 ", " 0 "], [" 0 ", " 3 ", " 0 "]]


def order(suite: Path) -> list[int]:
    return [int(line) for line in (suite / "test_a.py.order").read_text().splitlines()]


def test_a_run_that_does_not_end_is_said_and_not_kept(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite / "test_a.py").write_text("import os\ndef test_dies(): os.abort()\n")
    monkeypatch.setattr(processors, "settings", lambda _: [Setting()])
    assert "pytest ended with -6" in main(tmp_path / "out.csv", monkeypatch, capsys, str(suite))
    assert not (tmp_path / "out.csv").exists()
