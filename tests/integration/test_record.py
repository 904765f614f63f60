"""What the benchmarks keep."""

from __future__ import annotations

from pathlib import Path

import pytest
import record

from mmsa_lightning import files

ROW = {"what": "mosi, minilm", "side": "lmf 32-true", "measure": "training", "ours": "12.0 (11.0–13.0)"}


def test_what_moved_is_told_of_the_last_row_of_the_same_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "speed.csv"
    assert record.keep(path, [ROW | {"value": "3.00 ×"}]) == []
    assert record.keep(path, [ROW | {"value": "3.50 ×"}, ROW | {"side": "tfn", "value": "2.00 ×"}]) == [
        f"lmf 32-true, training: 3.00 × on {files.read_rows(path)[0]['date']}, 3.50 × now"
    ]
    moved = record.keep(path, [ROW | {"value": "4.00 ×"}])
    assert [line.split(": ")[1][:6] for line in moved] == ["3.50 ×"]
    assert [row["value"] for row in files.read_rows(path)] == ["3.00 ×", "3.50 ×", "2.00 ×", "4.00 ×"]
    monkeypatch.setattr(record, "machine", lambda: "another")
    assert record.keep(path, [ROW | {"value": "9.00 ×"}]) == []
    assert record.keep(path, [ROW | {"what": "other data", "value": "9.00 ×"}]) == []


def test_a_kind_of_machine_names_its_processor() -> None:
    assert " cores of " in record.machine()
