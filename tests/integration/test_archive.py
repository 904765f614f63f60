"""Runs that are published without their data, and made whole again from it."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import archive
import pytest

from mmsa_lightning.experiment import app

Arguments = Callable[..., list[str]]


def test_runs_come_back_to_the_byte_and_carry_no_utterance(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = arguments("model=lmf", "text=features", "trainer.max_epochs=1")
    app.main(["-m", *own, "seed=1,2"])
    runs = sorted(path.parent for path in (tmp_path / "runs").rglob("result.json"))
    packed = tmp_path / "runs.zip"
    archive.main(["pack", str(tmp_path / "runs"), "--out", str(packed)])

    with (runs[0] / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    with zipfile.ZipFile(packed) as found:
        content = "\n".join(found.read(name).decode() for name in found.namelist())
    assert rows[0]["prediction"] in content
    assert not any(row["id"] in content or row["text"] in content for row in rows)

    (store,) = (word.removeprefix("data.path=") for word in own if word.startswith("data.path="))
    archive.main(["unpack", str(packed), "--store", store, "--out", str(tmp_path / "again")])
    for run in runs:
        made = tmp_path / "again" / run.relative_to(tmp_path / "runs")
        for name in ("result.json", "config.yaml", "metrics.csv", "predictions.csv"):
            assert (made / name).read_bytes() == (run / name).read_bytes()

    (runs[0] / "result.json").write_text("{}")
    for command, words in (
        (["unpack", str(packed), "--store", store, "--out", str(tmp_path / "runs")], "is a run of your own"),
        (["unpack", store, "--store", store, "--out", str(tmp_path / "new")], "is no archive of runs"),
        (["pack", str(tmp_path / "runs"), str(tmp_path / "again"), "--out", str(tmp_path / "2")], "would be one run"),
    ):
        with pytest.raises(SystemExit) as end:
            archive.main(command)
        assert end.value.code == 2 and words in capsys.readouterr().err
    assert (runs[0] / "result.json").read_text() == "{}"
    (runs[0] / "result.json").unlink()  # not finished yet
    with pytest.raises(SystemExit):
        archive.main(["unpack", str(packed), "--store", store, "--out", str(tmp_path / "runs")])
    assert "is a run of your own" in capsys.readouterr().err and not (runs[0] / "result.json").exists()

    content = bytearray(packed.read_bytes())
    content[len(content) // 3] ^= 255
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(SystemExit) as end:
        archive.main(["unpack", str(tmp_path / "damaged.zip"), "--store", store, "--out", str(tmp_path / "none")])
    assert end.value.code == 2 and "damaged.zip" in capsys.readouterr().err

    other = tmp_path / "other.h5"
    app.main([*[w for w in own if not w.startswith("data.path=")], f"data.path={other}", "data.generator_seed=7"])
    with pytest.raises(SystemExit) as end:
        archive.main(["unpack", str(packed), "--store", str(other), "--out", str(tmp_path / "wrong")])
    assert end.value.code == 2
    assert "was not trained on what" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "wrong").rglob("*") if path.is_file()]


def test_a_member_that_is_no_part_of_a_run_is_refused(tmp_path: Path, arguments: Arguments) -> None:
    own = arguments("model=lmf", "text=features", "trainer.max_epochs=1")
    app.main(own)
    (store,) = (word.removeprefix("data.path=") for word in own if word.startswith("data.path="))
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as bad:
        bad.writestr("../../out/config.yaml", "seed: 1")
    with pytest.raises(SystemExit):
        archive.main(["unpack", str(tmp_path / "runs.zip"), "--store", store, "--out", str(tmp_path / "a" / "b")])
    assert not (tmp_path / "out").exists()
