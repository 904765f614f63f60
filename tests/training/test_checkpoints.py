"""What is written, when, and of which moment; that a killed run goes on from it is in integration/test_resume.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn

from mmsa_lightning.training import checkpoints, ranks
from mmsa_lightning.training.checkpoints import SHARE, BackgroundCheckpointIO, Last
from mmsa_lightning.training.interruption import Interruption


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def state(step: int, value: float, size: int = 3) -> dict[str, Any]:
    """As little as a checkpoint holds; every tensor is ``value``."""
    moments = [{"state": {0: {"step": torch.tensor(value), "exp_avg": torch.full((size,), value)}}}]
    return {"global_step": step, "state_dict": {"w": torch.full((size,), value)}, "optimizer_states": moments}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that writes nothing before this is set; at most one at a time writes to it."""
    let, alone, save = threading.Event(), threading.Lock(), torch.save

    def wait(checkpoint: dict[str, Any], file: BinaryIO) -> None:
        assert alone.acquire(blocking=False), "two writes at once"
        assert let.wait(60)
        save(checkpoint, file)
        alone.release()

    monkeypatch.setattr(torch, "save", wait)
    yield let
    let.set()


def test_what_is_written_is_of_the_moment_it_was_saved(tmp_path: Path, disk: threading.Event) -> None:
    io, saved = BackgroundCheckpointIO(), state(1, 1.0) | {"rows": [{"epoch": 1}]}
    io.save_checkpoint(saved, tmp_path / "last.ckpt")
    assert not list(tmp_path.glob("*.ckpt"))  # and yet training goes on
    saved["state_dict"]["w"] += 1
    saved["optimizer_states"][0]["state"][0]["exp_avg"].zero_()
    saved["rows"].append({"epoch": 2})
    disk.set()
    io.teardown()
    written = read(tmp_path / "last.ckpt")
    assert written["state_dict"]["w"].tolist() == [1, 1, 1]
    assert written["optimizer_states"][0]["state"][0]["exp_avg"].tolist() == [1, 1, 1]
    assert written["rows"] == [{"epoch": 1}]
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_write_waits_for_the_one_before(tmp_path: Path, disk: threading.Event) -> None:
    io = BackgroundCheckpointIO()
    io.save_checkpoint(state(1, 1.0), tmp_path / "last.ckpt")
    threading.Timer(0.1, disk.set).start()
    io.save_checkpoint(state(2, 2.0), tmp_path / "last.ckpt")
    io.teardown()
    assert read(tmp_path / "last.ckpt")["global_step"] == 2


def test_the_versions_of_modules_are_kept(tmp_path: Path) -> None:
    io, module = BackgroundCheckpointIO(), nn.BatchNorm1d(2)
    io.save_checkpoint({"global_step": 1, "state_dict": module.state_dict()}, tmp_path / "last.ckpt")
    io.teardown()
    assert read(tmp_path / "last.ckpt")["state_dict"]._metadata == module.state_dict()._metadata  # type: ignore[attr-defined]


@pytest.mark.parametrize("asks", ["due", "save_checkpoint", "teardown"])
def test_what_cannot_be_written_is_told_of_once_and_leaves_the_earlier_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    """At the next moment that has to do with checkpoints; the best weights, which may fit, are written anyway."""
    path, io, save = tmp_path / "last.ckpt", BackgroundCheckpointIO(), torch.save
    io.save_checkpoint(state(1, 1.0), tmp_path / "best.ckpt")
    io.save_checkpoint(state(1, 1.0), path)

    def fail_half_way(checkpoint: dict[str, Any], file: BinaryIO) -> None:
        if "best" not in checkpoint:
            save(checkpoint, file)
            return
        file.write(b"PK")
        raise OSError(28, "disk full")

    io._wait()
    monkeypatch.setattr(torch, "save", fail_half_way)
    io.save_checkpoint(state(2, 2.0), path)
    assert io.writing is not None
    while not io.writing.done():
        time.sleep(0.01)
    arguments = [state(3, 3.0), path] if asks == "save_checkpoint" else []
    with pytest.raises(OSError, match=r"disk full.*last\.ckpt"):
        getattr(io, asks)(*arguments)
    if asks == "due":  # the exception's own end
        with pytest.raises(OSError, match="disk full"):
            io.teardown()
    io.teardown()
    io.write_best()
    assert read(path)["global_step"] == 1
    assert read(tmp_path / "best.ckpt")["global_step"] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_the_best_weights_are_in_the_last_checkpoint_until_the_end(tmp_path: Path) -> None:
    io = BackgroundCheckpointIO()
    for step in (1, 2):
        if step == 1:
            io.save_checkpoint(
                {"global_step": 1, "state_dict": {"w": torch.full((9000,), 1.0)}}, tmp_path / "best.ckpt"
            )
        io.save_checkpoint(state(step, float(step), 9000), tmp_path / "last.ckpt")
        io._wait()
        written = read(tmp_path / "last.ckpt")
        assert (written["global_step"], written["best"]["global_step"]) == (step, 1)
        assert written["state_dict"]["w"].unique().tolist() == [step]
        assert written["best"]["state_dict"]["w"].unique().tolist() == [1]
        # Weights and one moment; a second time the weights, where they are others.
        assert (tmp_path / "last.ckpt").stat().st_size // 36000 == 1 + step
        io.teardown()
        assert not (tmp_path / "best.ckpt").exists()
    io.write_best()
    assert read(tmp_path / "best.ckpt")["global_step"] == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_that_goes_on_has_the_best_weights_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """Not those of a later epoch, which the file beside it may have. Rank 0 writes them, and nobody else."""
    (tmp_path / "run").mkdir()
    torch.save(state(7, 7.0) | {"best": state(4, 4.0)}, tmp_path / "run" / "last.ckpt")
    torch.save(state(9, 9.0), tmp_path / "run" / "best.ckpt")
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.setattr(ranks, "rank", lambda: rank)
    io = BackgroundCheckpointIO()
    loaded = io.load_checkpoint(moved / "last.ckpt", weights_only=True)
    assert loaded["global_step"] == 7 and "best" not in loaded
    io.write_best()
    assert read(moved / "best.ckpt")["global_step"] == (9 if rank else 4)


def test_an_older_checkpoint_has_its_best_weights_beside_it(tmp_path: Path) -> None:
    io = BackgroundCheckpointIO()
    for name in ("best.ckpt", "last.ckpt"):
        torch.save(state(7, 7.0), tmp_path / name)
    assert io.load_checkpoint(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 7
    io.write_best()
    assert read(tmp_path / "best.ckpt")["global_step"] == 7


def test_writing_takes_its_share_of_the_time_and_no_more(
    tmp_path: Path, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    io = BackgroundCheckpointIO()
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    assert io.due()  # nothing was written yet
    io.save_checkpoint(state(1, 1.0), tmp_path / "last.ckpt")
    assert io.writing is not None
    now[0] += 1e6
    assert not io.due()  # still at it
    now[0] = 102.0
    disk.set()
    assert io.writing.result() == (2.0, 102.0)
    now[0] = 102.0 + 2 / SHARE - 0.01
    assert not io.due()
    now[0] += 0.02
    assert io.due()


class Noted(Interruption):
    """A signal comes in epoch ``comes``, counted from 0, after its last step."""

    def __init__(self, path: Path, comes: int | None) -> None:
        super().__init__(path)
        self.comes = comes

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.received = 15 if trainer.current_epoch == self.comes else 0

    def stop(self, trainer: L.Trainer) -> None:
        trainer.strategy.checkpoint_io.teardown()
        raise KeyError(trainer.current_epoch)


class Stopping(L.Callback):
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch == 2


@pytest.mark.parametrize(
    ("due", "comes", "extra", "saved"),
    [
        ([True, False, False, True, False], None, [], [0, 3, 4]),
        ([False] * 5, None, [], [4]),
        ([False] * 5, None, [Stopping()], [2]),
        ([False] * 5, 1, [], [1]),
        ([False] * 5, 4, [], [4]),
    ],
    ids=["due", "max_epochs", "patience", "signal", "signal in the last epoch"],
)
def test_the_state_is_saved_when_it_is_due_and_whenever_training_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    due: list[bool],
    comes: int | None,
    extra: list[Any],
    saved: list[int],
) -> None:
    io, path, found = BackgroundCheckpointIO(), tmp_path / "last.ckpt", []
    save = BackgroundCheckpointIO.save_checkpoint

    def noted(self: BackgroundCheckpointIO, checkpoint: dict[str, Any], *given: Any, **options: Any) -> None:
        found.append(checkpoint["epoch"])
        save(self, checkpoint, *given, **options)

    monkeypatch.setattr(BackgroundCheckpointIO, "save_checkpoint", noted)
    interruption = Noted(path, comes)
    trainer = L.Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=False,
        callbacks=[interruption, *extra, Last(path, io, interruption)],
        plugins=[io],
        limit_train_batches=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    monkeypatch.setattr(io, "due", lambda: due[trainer.current_epoch])
    if comes == 1:
        with pytest.raises(KeyError, match="2"):  # once epoch 1 is logged
            trainer.fit(BoringModel())
    else:
        trainer.fit(BoringModel())
    assert found == saved
    assert read(path)["epoch"] == saved[-1]
