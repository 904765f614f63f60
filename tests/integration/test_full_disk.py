"""Files that cannot grow: one line, earlier results as they were, nothing half-written. The limit is the kernel's."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmsa_lightning import cli
from mmsa_lightning.experiment import run as experiment

TOO_LARGE = os.strerror(errno.EFBIG)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fails(capsys: pytest.CaptureFixture[str], arguments: list[str], size: int | None = None) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        if size is None:
            cli.main(arguments)
        else:
            with files_up_to(size):
                cli.main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "x.csv", tmp_path / "x.h5"
    rows = [f"v{i}$_${i},word number {i},1,{split}" for i, split in enumerate(["train", "valid", "test"] * 50)]
    table.write_text("id,text,label,split\n" + "\n".join(rows))
    command = ["data", "import", str(table), "--dataset", "own", "--out", str(out)]
    assert fails(capsys, command, 5_000) == f"error: cannot write {out}: {TOO_LARGE}"
    assert list(tmp_path.iterdir()) == [table]
    cli.main(command)
    before = contents(tmp_path)
    assert TOO_LARGE in fails(capsys, command, 5_000)
    assert contents(tmp_path) == before


def test_checkpoint(arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["train", *arguments("trainer.max_epochs=1", f"runs={tmp_path / 'other'}")])  # makes the demo data
    train = ["train", *arguments("trainer.max_epochs=1")]
    line = fails(capsys, train, 100_000)
    (run,) = (path.parent for path in (tmp_path / "runs").rglob("config.yaml"))
    assert line == f"error: {run / 'checkpoints' / 'last.ckpt'}: {TOO_LARGE}"
    assert not list((run / "checkpoints").iterdir())
    cli.main([*train, "ckpt_path=last"])  # once there is room again
    assert (run / "result.json").is_file()


def test_result(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = ["train", *arguments("trainer.max_epochs=1")]
    evaluate = experiment._evaluate

    with files_up_to(resource.RLIM_INFINITY), monkeypatch.context() as patch:

        def and_then_it_is_full(*given: Any) -> Any:
            evaluated = evaluate(*given)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            return evaluated

        patch.setattr(experiment, "_evaluate", and_then_it_is_full)
        line = fails(capsys, train)
    (run,) = (path.parent for path in (tmp_path / "runs").rglob("config.yaml"))
    assert line == f"error: {run / 'predictions.csv'}: {TOO_LARGE}"
    assert not (run / "result.json").exists()
    assert not list(run.rglob("*.tmp"))
    cli.main([*train, "ckpt_path=last"])
    assert (run / "result.json").is_file()
