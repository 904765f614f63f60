from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.objectives import multitask
from mmsa_lightning.objectives.generator import LabelGenerator
from mmsa_lightning.objectives.multitask import MultiTask
from mmsa_lightning.training.callbacks import LOOK, Finite, GeneratedLabels, History, Patience
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.trainer import MONITOR


class Tiny(nn.Module):
    """Reads the first step of audio alone, and has an auxiliary task for text and audio."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.ModuleDict({name: nn.Linear(5, 3) for name in ("fusion", "text", "audio")})
        self.head = nn.ModuleDict({name: nn.Linear(3, 1) for name in self.hidden})

    def forward(self, batch: Batch) -> ModelOutput:
        features = {name: layer(batch.sequence("audio").values[:, 0]) for name, layer in self.hidden.items()}
        tasks = {name: self.head[name](feature).squeeze(-1) for name, feature in features.items()}
        return ModelOutput(tasks.pop("fusion"), tasks, features)


def fit(
    batch: Batch, folder: Path, callbacks: list[L.Callback], epochs: int, generator: str = "ulgm", **options: Any
) -> L.Trainer:
    torch.manual_seed(0)
    objective = MultiTask(
        tanh_weight=True, ratio_weight=True, detach_ratio=True, positive=">", limit=3.0, generator=generator
    )
    objective.setup(batch.label, {"fusion": 3, "text": 3, "audio": 3})

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": model.parameters(), "name": "other"}], lr=0.1)

    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader([batch], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(SentimentModule(Tiny(), objective, optimizer, seed=1), loader, loader, **options)
    return trainer


def _deviations(values: list[float]) -> list[float]:
    return [v - sum(values) / len(values) for v in values]


def _correlation(a: list[float], b: list[float]) -> float:
    a, b = _deviations(a), _deviations(b)
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_generated_labels_are_measured_against_the_truth(batch: Batch, tmp_path: Path) -> None:
    truth = [2.0, -1.0, 0.5, -3.0]
    trainer = fit(
        batch,
        tmp_path,
        [GeneratedLabels(batch.label.numpy(), {"text": np.array(truth, np.float32)}, 3.0, tmp_path / "h.csv")],
        epochs=3,
    )
    labels = {m: label.tolist() for m, label in trainer.lightning_module.objective.generated_labels().items()}
    assert labels["text"] != batch.label.tolist()  # they have moved
    expected = {"ulgm/corr_true_text": _correlation(labels["text"], truth)}
    expected["ulgm/mae_true_text"] = sum(abs(a - b) for a, b in zip(labels["text"], truth, strict=True)) / 4
    own = batch.label.tolist()
    for m in ("text", "audio"):
        expected[f"ulgm/std_{m}"] = math.sqrt(sum(d * d for d in _deviations(labels[m])) / 4)
        expected[f"ulgm/corr_{m}"] = _correlation(labels[m], own)
        expected[f"ulgm/flipped_{m}"] = sum((a > 0) != (b > 0) for a, b in zip(labels[m], own, strict=True)) / 4
        expected[f"ulgm/clamped_{m}"] = sum(abs(a) >= 3 for a in labels[m]) / 4
    logged = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("ulgm/")}
    assert logged == pytest.approx(expected, abs=1e-5)


def test_labels_that_lost_their_sign_are_warned_of_once(
    batch: Batch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a generator that turns them all in the second epoch."""

    class Turning(LabelGenerator):
        def update(self, index: torch.Tensor, features: dict[str, torch.Tensor], epoch: int) -> None:
            for task in self.tasks:
                self.label(task)[index] = batch.label * (-1 if epoch > 1 else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(multitask.GENERATORS, "turning", Turning)
        labels = GeneratedLabels(batch.label.numpy(), {}, 3.0, tmp_path / "h.csv")
        fit(batch, tmp_path, [labels], epochs=4, generator="turning")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert said == [
        "warning: after epoch 2 the generated text labels have lost their sign (correlation with the label -1.00, 100% "
        "of signs changed): objective.generator=crossfit keeps it"
    ]
    again = GeneratedLabels(batch.label.numpy(), {}, 3.0, tmp_path / "h.csv")
    again.load_state_dict(labels.state_dict())
    assert again.warned


def test_histograms_of_generated_labels_by_epoch(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    trainer = fit(batch, tmp_path, [GeneratedLabels(batch.label.numpy(), {}, 3.0, path)], epochs=2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["task"]) for row in rows] == [
        ("1", "text"),
        ("1", "audio"),
        ("2", "text"),
        ("2", "audio"),
    ]
    bins = list(rows[0])[2:]
    assert (bins[0], bins[30], bins[-1], len(bins)) == ("-3.0", "0.0", "2.9", 60)
    labels = trainer.lightning_module.objective.generated_labels()["text"].tolist()
    counted = {name: sum(-3 + i / 10 <= label < -2.9 + i / 10 for label in labels) for i, name in enumerate(bins)}
    assert {name: int(rows[2][name]) for name in bins} == counted
    again = GeneratedLabels(batch.label.numpy(), {}, 3.0, path)
    again.load_state_dict(next(c for c in trainer.callbacks if isinstance(c, GeneratedLabels)).state_dict())
    assert len(again.rows) == 4


def test_truth_that_is_not_known_is_left_out(batch: Batch, tmp_path: Path) -> None:
    truth = {"text": np.float32([2.0, np.nan, 0.5, -3.0]), "audio": np.float32([np.nan, np.nan, np.nan, 1.0])}
    trainer = fit(batch, tmp_path, [GeneratedLabels(batch.label.numpy(), truth, 3.0, tmp_path / "h.csv")], epochs=3)
    labels = trainer.lightning_module.objective.generated_labels()["text"].tolist()
    expected = _correlation([labels[i] for i in (0, 2, 3)], [2.0, 0.5, -3.0])
    assert float(trainer.callback_metrics["ulgm/corr_true_text"]) == pytest.approx(expected, abs=1e-5)
    assert trainer.callback_metrics["ulgm/corr_true_audio"].isnan()  # of one label


def test_histograms_reach_to_the_limit_and_lose_no_label(batch: Batch, tmp_path: Path) -> None:
    batch.label = torch.tensor([1.0, -1.0, 0.31, -0.01])
    for limit, bins in ((1.0, [59, 0, 39, 29]), (0.25, [59, 0, 59, 28])):
        path = tmp_path / f"{limit}.csv"
        fit(
            batch, tmp_path, [GeneratedLabels(batch.label.numpy(), {}, limit, path)], epochs=1
        )  # labels have not moved yet
        counts = [int(count) for count in list(rows(path)[0].values())[2:]]
        assert {i: count for i, count in enumerate(counts) if count} == Counter(bins)
    names = [float(name) for name in list(rows(path)[0])[2:]]
    assert names == pytest.approx([-0.25 + i / 120 for i in range(60)], abs=1e-4)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_history_has_a_row_an_epoch(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    trainer = fit(batch, tmp_path, [History(path)], epochs=3)
    written = rows(path)
    assert [(row["epoch"], row["step"]) for row in written] == [("1", "1"), ("2", "2"), ("3", "3")]
    assert len({row["train/loss"] for row in written}) == 3
    last = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {name: float(value) for name, value in written[-1].items()} == {"epoch": 3, "step": 3} | last


def test_a_resumed_run_continues_its_history(batch: Batch, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole.csv", tmp_path / "halves.csv"
    fit(batch, tmp_path, [History(whole)], epochs=4)
    fit(batch, tmp_path, [History(halves)], epochs=2).save_checkpoint(tmp_path / "half.ckpt")
    halves.unlink()  # what the checkpoint holds is enough
    fit(batch, tmp_path, [History(halves)], epochs=4, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert halves.read_text() == whole.read_text()


def test_a_history_that_cannot_be_written_leaves_the_earlier_whole(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.csv"
    history = History(path)
    trainer = fit(batch, tmp_path, [history], epochs=1)
    before = path.read_text()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(csv.DictWriter, "writerows", fail)
    with pytest.raises(OSError, match="disk full"):
        history.on_train_epoch_end(trainer, trainer.lightning_module)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("waited", "stopped", "expected"), [(0, 0, False), (2, 0, False), (3, 0, True), (0, 2, True)])
def test_patience_that_was_over_stays_over(waited: int, stopped: int, expected: bool) -> None:
    """By waiting in vain, or by a value that was not a number, which no wait counts."""
    patience, trainer = Patience("valid/mae", patience=3), L.Trainer(logger=False, enable_checkpointing=False)
    patience.load_state_dict(patience.state_dict() | {"wait_count": waited, "stopped_epoch": stopped})
    patience.on_train_start(trainer, L.LightningModule())
    assert trainer.should_stop is expected


def test_a_loss_that_is_no_number_stops_before_the_epoch_is_kept(batch: Batch, tmp_path: Path) -> None:
    """The term, the step and the utterances are named; what was written is of the epochs before."""
    ids = ["a", "b", "c", "d"]
    fit(batch, tmp_path, [Finite(ids, MONITOR), History(tmp_path / "good.csv")], epochs=2)
    assert len((tmp_path / "good.csv").read_text().splitlines()) == 3

    class Breaking(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 1:
                torch.nn.init.constant_(pl_module.model.head["fusion"].weight, torch.inf)  # type: ignore[union-attr]

    words = r"step 2 .*total (nan|inf), multimodal (nan|inf)\), with utterances a, b, c, d"
    with pytest.raises(UserError, match=words):
        fit(batch, tmp_path, [Breaking(), Finite(ids, MONITOR), History(tmp_path / "broken.csv")], epochs=3)
    assert len((tmp_path / "broken.csv").read_text().splitlines()) == 2


def test_a_model_that_the_last_step_of_an_epoch_broke_is_not_kept(batch: Batch, tmp_path: Path) -> None:
    """Its loss was still a number: nothing but validation has seen what the step made of the weights."""

    class Breaking(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            if trainer.is_last_batch and trainer.current_epoch == 1:
                torch.nn.init.constant_(pl_module.model.head["fusion"].weight, torch.nan)  # type: ignore[union-attr]

    finite, history = Finite(["a", "b", "c", "d"], MONITOR), History(tmp_path / "broken.csv")
    with pytest.raises(UserError, match=r"valid/mae is not a number after epoch 2, .*optim\.lr"):
        fit(batch, tmp_path, [Breaking(), finite, history], epochs=2)
    assert len((tmp_path / "broken.csv").read_text().splitlines()) == 2


def test_a_long_epoch_is_looked_at_on_the_way_and_its_first_broken_step_is_named() -> None:
    trainer = L.Trainer(logger=False, enable_checkpointing=False)
    finite, module = Finite([str(i) for i in range(LOOK)], MONITOR), L.LightningModule()
    with pytest.raises(UserError, match=rf"multimodal inf\), with utterances {LOOK - 2};"):
        for i in range(2 * LOOK):
            loss = torch.tensor(1.0 if i < LOOK - 2 else torch.inf)
            outputs = {"losses": {"total": torch.tensor(1.0), "multimodal": loss}, "index": torch.tensor([i % LOOK])}
            finite.on_train_batch_end(trainer, module, outputs, None, i)
    assert i == LOOK - 1


def test_a_checkpoint_within_an_epoch_is_not_made_of_a_loss_that_is_no_number() -> None:
    finite, trainer, module = (
        Finite(["a", "b"], MONITOR),
        L.Trainer(logger=False, enable_checkpointing=False),
        L.LightningModule(),
    )
    index = torch.tensor([1])
    for loss in (1.0, torch.nan):
        outputs = {"losses": {"total": torch.tensor(loss)}, "index": index}
        finite.on_train_batch_end(trainer, module, outputs, None, 0)
    with pytest.raises(UserError, match=r"total nan\), with utterances b;"):
        finite.on_save_checkpoint(trainer, module, {})


@pytest.mark.parametrize(("patience", "over"), [(1, True), (3, False)])
def test_a_run_that_is_given_more_patience_goes_on(patience: int, over: bool) -> None:
    trainer, given = L.Trainer(logger=False, enable_checkpointing=False), Patience("valid/mae", patience=patience)
    given.load_state_dict(Patience("valid/mae", patience=1).state_dict() | {"wait_count": 1, "stopped_epoch": 2})
    given.on_train_start(trainer, L.LightningModule())
    assert (trainer.should_stop, given.patience) == (over, patience)


def logged(
    labels: list[float], made: list[float], truth: list[float] | None = None, own: float = 3.0
) -> dict[str, float]:
    """What is logged of labels that an objective with the limit ``own`` made of text."""
    found: dict[str, float] = {}
    objective = SimpleNamespace(limit=own, generated_labels=lambda: {"text": torch.tensor(made)})
    module: Any = SimpleNamespace(objective=objective, log=lambda name, value: found.update({name: float(value)}))
    trainer: Any = SimpleNamespace(current_epoch=0, is_global_zero=False, loggers=[])
    truths = {} if truth is None else {"text": np.array(truth, np.float32)}
    GeneratedLabels(np.array(labels, np.float32), truths, 3.0, Path("x.csv")).on_train_epoch_end(trainer, module)
    return found


def test_a_label_of_zero_has_no_sign_to_lose() -> None:
    assert logged([1, -1, 0, 2], [-1.0, -1.0, 0.3, 2.0])["ulgm/flipped_text"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("off", [0.0, 1e-7])
def test_labels_at_the_objectives_own_limit_are_clamped_ones(off: float) -> None:
    """To rounding: an average of labels at the limit may lie below it."""
    assert logged([1, -1, 1, 1], [0.5 - off, off - 0.5, 0.2, 0.1], own=0.5)["ulgm/clamped_text"] == 0.5


def test_the_error_is_of_what_is_known() -> None:
    assert logged([1, -1, 1], [1.0, -1.0, 1.0], [2.0, math.nan, -2.0])["ulgm/mae_true_text"] == pytest.approx(2.0)


@pytest.mark.parametrize(("agreement", "flipped"), [(0.3, 0.6), (-0.1, 0.2)])
def test_signs_are_lost_by_either_measure(agreement: float, flipped: float, capsys: pytest.CaptureFixture[str]) -> None:
    labels = GeneratedLabels(np.zeros(3, np.float32), {}, 3.0, Path("x.csv"))
    trainer: Any = SimpleNamespace(current_epoch=0, is_global_zero=True)
    labels._warn(trainer, "text", agreement, flipped)
    assert "have lost their sign" in capsys.readouterr().out
