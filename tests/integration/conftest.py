"""A training command small enough to run many times: little demo data, a tiny random BERT, two epochs."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def arguments(tiny_bert: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Overrides for a small run below ``tmp_path``, and whatever else is asked for."""
    store = tmp_path_factory.getbasetemp() / "demo.h5"  # made once for all tests

    def build(*overrides: str) -> list[str]:
        return [
            f"runs={tmp_path / 'runs'}",
            f"data.path={store}",
            "data.counts={train: 70, valid: 24, test: 26}",
            f"text_encoder={tiny_bert}",
            "trainer=cpu",
            "trainer.max_epochs=2",
            "trainer.enable_progress_bar=false",
            *overrides,
        ]

    return build


@pytest.fixture
def own_bert(tiny_bert: str, tmp_path: Path) -> tuple[Path, Callable[[], None]]:
    """A copy of the tiny BERT, and a function that puts other weights in its folder."""
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))

    def replace() -> None:
        weights = load_file(folder / "model.safetensors")
        save_file({k: v * 1.5 for k, v in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})

    return folder, replace


@pytest.fixture
def records() -> Callable[[Path], list[Any]]:
    """What W&B keeps of an offline run in its own file: LevelDB's log format after 7 bytes of header."""

    def read(path: Path) -> list[Any]:
        from wandb.proto import wandb_internal_pb2

        data, position, record, found = path.read_bytes(), 7, b"", []
        while position < len(data):
            if (left := 32768 - position % 32768) < 7:  # a block's end that is too short for a header
                position += left
                continue
            _, length, kind = struct.unpack_from("<IHB", data, position)
            record += data[position + 7 : position + 7 + length]
            position += 7 + length
            if kind in (1, 4):  # a whole record, or the last piece of one
                found.append(wandb_internal_pb2.Record.FromString(record))
                record = b""
        return found

    return read


@pytest.fixture
def history(records: Callable[[Path], list[Any]]) -> Callable[[Path], list[dict[str, Any]]]:
    """The rows of an offline run's history."""

    def read(path: Path) -> list[dict[str, Any]]:
        items = [record.history.item for record in records(path) if record.history.item]
        return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row} for row in items]

    return read


@pytest.fixture
def history_keys(history: Callable[[Path], list[dict[str, Any]]]) -> Callable[[Path], set[str]]:
    """Every key in the history of an offline run."""
    return lambda path: {key for row in history(path) for key in row}
