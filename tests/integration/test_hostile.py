"""Files and overrides that mean harm end a command in one line: the corpus of experiments/robustness."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import corpus
import fuzz
import pytest
from hostile_pickles import attacks


@pytest.mark.parametrize("name", corpus.CASES)
def test_it_is_refused_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "case"
    folder.mkdir()
    assert corpus.check(name, folder) is None


@pytest.mark.parametrize(
    "name", ["os_system", "posix_system", "eval", "exec", "subprocess", "inst", "obj", "in_an_array_of_objects"]
)
def test_the_pickles_are_real(name: str, tmp_path: Path) -> None:
    pickle.loads(attacks(tmp_path / "ran")[name])
    for _ in range(100):  # a process of its own may take a moment
        if (tmp_path / "ran").exists():
            break
        time.sleep(0.05)
    assert (tmp_path / "ran").exists()


KINDS = ("mmsa 2", "mmsa 5", "mult 4", "misa 0", "mmim 4", "tensors 2", "archive", "table", "npz", "store")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return fuzz.sound(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_changed_is_read_or_refused(kind: str, sound: dict[str, bytes], tmp_path: Path) -> None:
    fuzz.survives(kind, sound[kind], tmp_path)
    fuzz.fuzz(kind, sound[kind], tmp_path, 60, 1)
    assert fuzz.counts["read"] > 0
