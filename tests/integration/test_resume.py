"""A run that is killed and continued ends like one that was left alone: the same weights and figures, bit for bit."""

from __future__ import annotations

import csv
import json
import os
import random
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from kills import differences, kill, only_run, state
from wandb.cli.cli import cli
from warm import Python

from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.experiment import run as experiment
from mmsa_lightning.experiment.app import main
from mmsa_lightning.files import held
from mmsa_lightning.training import trainer as trainer_module
from mmsa_lightning.training.callbacks import History
from mmsa_lightning.training.module import SentimentModule

ROOT = Path(__file__).parents[2]
EPOCHS = 6
WEIGHTINGS = ("uncertainty", "dwa", "rlw", "pcgrad")  # those that keep something or draw random numbers
WEIGHED = ["model=self_mm", "objective.tanh_weight=false", "trainer.accumulate_grad_batches=2"]  # no tanh: all at once


def kill_after(arguments: list[str], folder: Path, run: Path, epochs: int, pause: float) -> None:
    """Start a run, let it finish ``epochs``, wait a little more, and kill it."""
    process, history = Python([ROOT / "train.py", *arguments], folder), run / "metrics.csv"

    def ready() -> bool:
        return history.is_file() and len(history.read_text().splitlines()) > epochs

    assert kill(process, ready, pause), "the run ended before it could be killed"
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("seed", "extra"),
    [
        (1, []),
        (2, ["optim.schedule={name: linear, warmup: 0.1}", "trainer.accumulate_grad_batches=2"]),
        (
            3,
            [
                "optim.schedule={name: plateau, factor: 0.1, patience: 0}",
                "optim.algorithm=adamw",
                "optim.lr.other=0.02",
            ],
        ),
        (4, ["encoder.freeze=embeddings", "optim.layer_decay=0.5", "objective.generator=crossfit"]),
        (5, ["encoder.lora={rank: 2, alpha: 4, modules: [query, dense]}", "encoder.gradient_checkpointing=true"]),
        (6, ["missing.train=uniform_half", "missing.rate=0.5"]),
    ],
    ids=["constant", "linear", "plateau", "frozen, crossfit", "lora", "missing"],
)
def test_killed_twice_and_continued(
    arguments: Callable[..., list[str]], tmp_path: Path, seed: int, extra: list[str]
) -> None:
    rng = random.Random(seed)
    overrides = arguments("keep_last=true", f"trainer.max_epochs={EPOCHS}", f"seed={seed}", *extra)
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    (whole,) = (path.parent for path in (tmp_path / "whole").rglob("result.json"))
    run = tmp_path / "killed" / whole.relative_to(tmp_path / "whole")

    overrides += [f"runs={tmp_path / 'killed'}"]
    kill_after(overrides, tmp_path, run, epochs=rng.choice([1, 2]), pause=rng.uniform(0, 0.3))
    kill_after([*overrides, "ckpt_path=last"], tmp_path, run, epochs=rng.choice([3, 4]), pause=rng.uniform(0, 0.3))
    assert not (run / "result.json").exists()
    main([*overrides, "ckpt_path=last"])

    assert not differences(run, whole)
    rates = {group["name"]: group["lr"] for group in state(run, "last.ckpt")["optimizer_states"][0]["param_groups"]}
    assert (rates["bert"] != 5e-5) == any("schedule" in override for override in extra), (
        "the schedule has not moved the rates"
    )
    assert (run / "generated_labels.csv").is_file()


LATE = """
import os, signal, sys
from mmsa_lightning.training import checkpoints, trainer
from mmsa_lightning.experiment.app import main

class History(trainer.History):
    def on_train_batch_start(self, trainer, *_):
        if trainer.current_epoch == 4:
            os.kill(os.getpid(), signal.SIGKILL)

checkpoints.SHARE = 0  # none is due after the first, until training ends
trainer.History = History
main(sys.argv[1:])
"""


def test_a_killed_run_repeats_the_epochs_that_no_checkpoint_has(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Its tables have these epochs, and the best weights beside it may be of a later one than its last checkpoint."""
    overrides = arguments("keep_last=true", "trainer.max_epochs=6", "patience=9", "optim.lr.other=0.02")
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    whole = only_run(tmp_path / "whole")
    run = tmp_path / "killed" / whole.relative_to(tmp_path / "whole")
    overrides += [f"runs={tmp_path / 'killed'}"]
    assert Python(["-c", LATE, *overrides], tmp_path).wait() == -signal.SIGKILL
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert state(run, "last.ckpt")["epoch"] == 0 and len((run / "metrics.csv").read_text().splitlines()) == 5
    (run / "checkpoints" / "best.ckpt").write_bytes(b"of another epoch")
    main([*overrides, "ckpt_path=last"])
    assert not differences(run, whole)


@pytest.mark.parametrize("option", ["encoder.freeze=1", "encoder.lora={rank: 2, alpha: 4, modules: [query]}"])
def test_checkpoints_hold_what_trains_and_no_more(
    arguments: Callable[..., list[str]], tmp_path: Path, option: str
) -> None:
    main(arguments("keep_last=true", "trainer.max_epochs=1", option))
    run = only_run(tmp_path / "runs")
    for name in ("best.ckpt", "last.ckpt"):
        kept = [key for key in state(run, name)["state_dict"] if ".bert." in key]
        assert all("lora_" in key for key in kept) and bool(kept) == ("lora" in option)
    (moments,) = state(run, "last.ckpt")["optimizer_states"]
    trains = json.loads((run / "result.json").read_text())["trainable_parameters"]
    assert sum(moment["exp_avg"].numel() for moment in moments["state"].values()) == trains


def test_a_run_that_ran_out_of_memory_goes_on_with_less(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same folder, and to the same end, as checkpointing changes no result."""
    overrides = arguments("keep_last=true")
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    assert interrupt_at(monkeypatch, overrides, (1, 1), signal.SIGTERM) == 128 + signal.SIGTERM
    main([*overrides, "ckpt_path=last", "encoder.gradient_checkpointing=true"])
    assert not differences(only_run(tmp_path / "runs"), only_run(tmp_path / "whole"))


def test_what_is_frozen_must_be_what_it_was(
    arguments: Callable[..., list[str]],
    own_bert: tuple[Path, Callable[[], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where the hash of the encoder's files was not known, and so cannot be compared."""
    bert, replace = own_bert
    overrides = arguments(f"text_encoder={bert}", "trainer.max_epochs=1", "encoder.freeze=1")
    stop_before_the_result(monkeypatch, overrides)
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    saved["hyper_parameters"]["encoder_hash"] = None
    torch.save(saved, last)
    replace()
    refuses(capsys, [*overrides, "ckpt_path=last"], "the encoder that is here has other weights there")


def test_nothing_to_resume_starts_from_the_beginning(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("ckpt_path=last"))
    assert "nothing to resume" in capsys.readouterr().out
    assert list((tmp_path / "runs").rglob("result.json"))


def stop_before_the_result(monkeypatch: pytest.MonkeyPatch, overrides: list[str]) -> None:
    """Train to the end, and die before anything is evaluated."""

    def die(*_: Any) -> None:
        raise KeyError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_evaluate", die)
        with pytest.raises(KeyError, match="killed"):
            main(overrides)


def refuses(capsys: pytest.CaptureFixture[str], overrides: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(overrides)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_a_run_that_was_over_does_not_go_on(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience was over, the process died before its result: the resumed run must not train past its end."""
    overrides = arguments("patience=1", "trainer.max_epochs=30", "optim.lr.other=0.02")
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    killed = [*overrides, f"runs={tmp_path / 'killed'}"]
    stop_before_the_result(monkeypatch, killed)
    main([*killed, "ckpt_path=last"])
    whole, resumed = (
        json.loads((only_run(tmp_path / name) / "result.json").read_text()) for name in ("whole", "killed")
    )
    assert whole["epochs"] < 30
    for outcome in (whole, resumed):
        assert outcome.pop("seconds") > 0
    assert whole == resumed


def test_a_run_continues_where_its_folder_was_moved(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still knows the best epoch so far, though the checkpoint names another folder."""
    overrides = arguments("optim.lr.other=0.02", "patience=9", "keep_last=true")
    main([*overrides, "trainer.max_epochs=6", f"runs={tmp_path / 'whole'}"])
    whole = only_run(tmp_path / "whole")
    part = [*overrides, "trainer.max_epochs=6", f"runs={tmp_path / 'part'}"]

    class Stop(History):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 4:
                raise KeyError("killed")

    Stop.__qualname__ = History.__qualname__  # which its state in the checkpoint goes by
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "History", Stop)
        with pytest.raises(KeyError, match="killed"):
            main(part)
    (tmp_path / "part").rename(tmp_path / "moved")
    main([*part, f"runs={tmp_path / 'moved'}", "ckpt_path=last"])
    moved = only_run(tmp_path / "moved")
    assert not differences(moved, whole)
    assert not (tmp_path / "part").exists()


def test_a_run_does_not_continue_on_other_data(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "made.h5"
    overrides = [a for a in arguments("data=own", f"data.path={path}") if not a.startswith("data.counts")]
    for seed, counts in ((0, {"train": 40, "valid": 9, "test": 8}), (1, {"train": 50, "valid": 9, "test": 8})):
        source = generate(seed, counts)
        import_source(source, path, dataset="mine", name="made", sha256=str(seed), tokenizer="minilm")
        if seed == 0:
            stop_before_the_result(monkeypatch, overrides)
    refuses(capsys, [*overrides, "ckpt_path=last"], "trained on other data")
    main([*overrides, "overwrite=true"])


def test_a_run_does_not_go_on_from_another_encoder(
    arguments: Callable[..., list[str]],
    own_bert: tuple[Path, Callable[[], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bert, replace = own_bert
    overrides = arguments(f"text_encoder={bert}", "trainer.max_epochs=1")
    stop_before_the_result(monkeypatch, overrides)
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    replace()
    refuses(capsys, [*overrides, "ckpt_path=last"], f"{last} is of a run with other weights of the text encoder")
    del saved["hyper_parameters"]  # as an older version wrote it
    torch.save(saved, last)
    main([*overrides, "ckpt_path=last"])


def test_a_killed_run_is_not_thrown_away_by_forgetting_to_resume(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_before_the_result(monkeypatch, arguments())
    refuses(capsys, arguments(), "ckpt_path=last continues it, overwrite=true starts again")
    assert list((tmp_path / "runs").rglob("last.ckpt"))


def test_a_killed_run_does_not_continue_with_other_settings(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the folder that it is named by it cannot; in one of the user's own it could."""
    place = f"hydra.run.dir={tmp_path / 'mine'}"
    stop_before_the_result(monkeypatch, arguments(place))
    words = f"{tmp_path / 'mine'} was begun with other settings"
    refuses(capsys, arguments(place, "ckpt_path=last", "optim.lr.other=0.02"), words)
    refuses(capsys, arguments(place, "ckpt_path=last", "trainer.max_epochs=1"), words)
    written = (tmp_path / "mine" / "config.yaml").read_text()
    (tmp_path / "mine" / "config.yaml").write_text(written[:50])  # a disk that was full
    refuses(capsys, arguments(place, "ckpt_path=last", "optim.lr.other=0.02"), "is of a run with other settings")
    (tmp_path / "mine" / "config.yaml").write_text(written)
    capsys.readouterr()
    main(arguments(place, "ckpt_path=last", "trainer.max_epochs=3"))  # it only goes on for longer
    assert json.loads((tmp_path / "mine" / "result.json").read_text())["epochs"] == 3


def test_a_job_of_slurms_that_begins_a_run_anew_goes_on_with_it_when_it_is_requeued(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = arguments("overwrite=true")
    stop_before_the_result(monkeypatch, overrides)
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    begun = last.read_bytes()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    stop_before_the_result(monkeypatch, overrides)
    assert last.read_bytes() == begun  # training was over: nothing was done again
    main(overrides)
    assert len(list((tmp_path / "runs").rglob("result.json"))) == 1


def test_a_spoilt_checkpoint_is_one_line(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_before_the_result(monkeypatch, arguments())
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    refuses(capsys, arguments("ckpt_path=last"), f"{last} is not a checkpoint")


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_store_that_is_taken_away_while_it_is_read_changes_nothing(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = tmp_path / "made.h5"
    overrides = [a for a in arguments("data=own", f"data.path={path}") if not a.startswith("data.counts")]
    counts = {"train": 40, "valid": 9, "test": 8}

    def make(seed: int) -> None:
        import_source(generate(seed, counts), path, dataset="mine", name="made", sha256="0", tokenizer="minilm")

    make(0)
    main([*overrides, f"runs={tmp_path / 'quiet'}"])
    evaluate = experiment._evaluate

    def disturbed(*given: Any) -> Any:
        make(1) if how == "replaced" else path.unlink()
        return evaluate(*given)

    monkeypatch.setattr(experiment, "_evaluate", disturbed)
    main([*overrides, f"runs={tmp_path / 'disturbed'}"])
    outcomes = [json.loads((only_run(tmp_path / n) / "result.json").read_text()) for n in ("quiet", "disturbed")]
    for outcome in outcomes:
        outcome.pop("seconds")
    assert outcomes[0] == outcomes[1]


def test_wandb_goes_on_with_the_same_run(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = arguments("logger=wandb", "logger.offline=true", "trainer.max_epochs=1")
    stop_before_the_result(monkeypatch, overrides)
    main([*overrides, "ckpt_path=last"])
    ids = [path.stem for path in (tmp_path / "runs").rglob("run-*.wandb")]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    main([*overrides, "overwrite=true"])
    assert len({path.stem for path in (tmp_path / "runs").rglob("run-*.wandb")}) == 2


KILLED = """
import os, signal, sys
from mmsa_lightning.training import trainer
from mmsa_lightning.experiment.app import main

class History(trainer.History):
    def on_train_batch_start(self, trainer, *_):
        if trainer.current_epoch == 1 and trainer.fit_loop.epoch_loop.batch_idx == 2:
            os.kill(os.getpid(), signal.SIGKILL)

trainer.History = History
main(sys.argv[1:])
"""


def test_what_wandb_is_sent_of_a_run_that_was_killed_and_interrupted_is_whole(
    arguments: Callable[..., list[str]],
    records: Callable[[Path], list[Any]],
    history: Callable[[Path], list[dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three folders, one id; the last has every value of ``metrics.csv`` once, and every histogram."""
    overrides = arguments("logger=wandb", "logger.offline=true", "data.batch_size=16", "trainer.max_epochs=4")
    overrides += [f"runs={tmp_path / 'my runs'}"]
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # of this process
    assert Python(["-c", KILLED, *overrides], tmp_path, alone).wait() == -signal.SIGKILL
    overrides += ["ckpt_path=last"]
    assert interrupt_at(monkeypatch, overrides, (2, 1), signal.SIGTERM) == 128 + signal.SIGTERM
    capsys.readouterr()
    main(overrides)

    (line,) = (line for line in capsys.readouterr().out.splitlines() if "wandb sync" in line)
    command = shlex.split(line.partition("to send it: ")[2])
    folders = sorted((tmp_path / "my runs").rglob("offline-run-*"))
    files = [path for folder in folders for path in folder.glob("run-*.wandb")]
    assert len(files) == 3 and len({path.name for path in files}) == 1
    assert command == ["wandb", "sync", str(folders[-1])]
    planned = CliRunner().invoke(cli, [*command[1:], "--dry-run"])
    assert planned.exit_code == 0 and "Would sync 1 run(s)" in planned.output
    # Nor does it go on after what the server may have of the others: it replaces that.
    assert not any(record.run.resume for record in records(files[-1]))

    sent: dict[str, dict[int, list[float]]] = {}
    for row in history(files[-1]):
        for key, value in row.items():
            sent.setdefault(key, {}).setdefault(row.get("epoch", -1) + 1, []).append(value)
    with (only_run(tmp_path / "my runs") / "metrics.csv").open(encoding="utf-8") as file:
        wanted = list(csv.DictReader(file))
    assert [row["epoch"] for row in wanted] == ["1", "2", "3", "4"]
    for key in set(wanted[0]) - {"epoch", "step"}:
        for row in wanted:
            assert sent[key][int(row["epoch"])] == [pytest.approx(float(row[key]))], (key, row["epoch"])
    histograms = [row["ulgm/label_audio/values"] for row in history(files[-1]) if "ulgm/label_audio/values" in row]
    with (only_run(tmp_path / "my runs") / "label_histograms.csv").open(encoding="utf-8") as file:
        counts = [list(row.values())[2:] for row in csv.DictReader(file) if row["task"] == "audio"]
    assert histograms == [list(map(int, row)) for row in counts]


def test_what_was_half_written_is_removed(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before_the_result(monkeypatch, arguments("trainer.max_epochs=1"))
    run = only_run(tmp_path / "runs")
    for name in (".result.json.1.tmp", "checkpoints/.last.ckpt.77.tmp"):
        (run / name).write_bytes(b"half")
    main(arguments("trainer.max_epochs=1", "ckpt_path=last"))
    assert not list(run.rglob("*.tmp"))


def interrupt_at(monkeypatch: pytest.MonkeyPatch, overrides: list[str], batch: tuple[int, int], number: int) -> int:
    """Train until a signal comes in this epoch and batch, both counted from 0; the exit code."""

    class Interrupting(History):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx) == batch:
                os.kill(os.getpid(), number)

    Interrupting.__qualname__ = History.__qualname__  # which its state in the checkpoint goes by
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "History", Interrupting)
        with pytest.raises(SystemExit) as stop:
            main(overrides)
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("number", "batch", "stops", "extra"),
    [
        (signal.SIGTERM, (0, 1), 2, []),
        (signal.SIGINT, (1, 2), 8, ["optim.schedule={name: linear, warmup: 0.1}", "data.num_workers=1"]),
        (signal.SIGTERM, (1, 0), 9, ["trainer.accumulate_grad_batches=4", "model=self_mm"]),
        (signal.SIGTERM, (0, 4), 5, ["data.num_workers=1"]),
        *((signal.SIGTERM, (2, 1), 12, [f"objective.weighting={name}", *WEIGHED]) for name in WEIGHTINGS),
    ],
    ids=["first epoch", "workers", "accumulated", "last batch", *WEIGHTINGS],
)
def test_interrupted_within_an_epoch_and_continued(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    batch: tuple[int, int],
    stops: int,
    extra: list[str],
) -> None:
    """Five batches an epoch. ``stops``: after how many of the run its checkpoint is. Accumulated, one is left over."""
    if "objective.weighting=pcgrad" in extra:
        pytest.importorskip("torchjd", reason="needs TorchJD: the extra jd")
    overrides = arguments("keep_last=true", "data.batch_size=16", "trainer.max_epochs=3", *extra)
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    overrides += [f"runs={tmp_path / 'stopped'}"]
    assert interrupt_at(monkeypatch, overrides, batch, number) == 128 + number
    assert "ckpt_path=last continues" in capsys.readouterr().err
    (last,) = (tmp_path / "stopped").rglob("last.ckpt")
    progress = torch.load(last, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert progress["total"]["processed"] == stops
    main([*overrides, "ckpt_path=last"])

    assert not differences(only_run(tmp_path / "stopped"), only_run(tmp_path / "whole"))


def test_two_ranks_are_stopped_and_go_on(
    arguments: Callable[..., list[str]], tmp_path: Path, forked_ranks: None
) -> None:
    overrides = arguments("trainer=ddp_cpu", "data.batch_size=8", "trainer.max_epochs=4", "keep_last=true")
    main([*overrides, f"runs={tmp_path / 'whole'}"])
    overrides += [f"runs={tmp_path / 'stopped'}"]
    process = Python([ROOT / "train.py", *overrides], tmp_path, os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not list((tmp_path / "stopped").rglob("metrics.csv")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert process.stderr.count("ckpt_path=last continues") == 1
    assert "Traceback" not in process.stderr
    main([*overrides, "ckpt_path=last"])
    assert not differences(only_run(tmp_path / "stopped"), only_run(tmp_path / "whole"))
    assert (only_run(tmp_path / "stopped") / "generated_labels.csv").is_file()


def run_of(folder: Path, setting: str) -> Path:
    (found,) = (path.parent for path in folder.rglob("config.yaml") if setting in path.read_text().splitlines())
    return found


QUICK = ("text=features", "modalities=[audio,vision]")
STILL = "optim.lr={bert: 0, audio: 0, video: 0, other: 0}"  # never better than after the first epoch


@pytest.mark.parametrize(
    ("given", "shorter", "longer", "epochs", "ends"),
    [
        (["patience=9"], ["trainer.max_epochs=2"], ["trainer.max_epochs=4"], 2, 4),
        (["trainer.max_epochs=9", STILL], ["patience=1"], ["patience=3"], 2, 4),
        ([STILL], ["patience=2", "trainer.max_epochs=2"], ["patience=3", "trainer.max_epochs=9"], 2, 4),
        (["patience=1", STILL], ["trainer.max_epochs=5"], ["trainer.max_epochs=9"], 2, 2),
    ],
    ids=["epochs", "patience", "both", "over"],
)
def test_a_longer_run_goes_on_from_a_shorter_one(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    shorter: list[str],
    longer: list[str],
    epochs: int,
    ends: int,
) -> None:
    """And ends as if it had been that long from its start."""
    overrides = arguments("keep_last=true", "model=self_mm", *QUICK, *given)
    main([*overrides, *longer, f"runs={tmp_path / 'whole'}"])
    main([*overrides, *shorter])
    before = only_run(tmp_path / "runs")
    if given == [STILL]:  # as of a run that was killed: last.ckpt has them
        (before / "checkpoints" / "best.ckpt").unlink()
    left = {path: path.read_bytes() for path in before.rglob("*") if path.is_file()}
    capsys.readouterr()
    main([*overrides, *longer, "ckpt_path=last"])
    over = "; patience=1 was over by then" if ends == epochs else ""
    assert f"continues from {before} ({epochs} epochs){over}\n" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before.rglob("*") if path.is_file()} == left

    whole = only_run(tmp_path / "whole")
    run = tmp_path / "runs" / whole.relative_to(tmp_path / "whole")
    assert not differences(run, whole)
    assert json.loads((run / "result.json").read_text())["epochs"] == ends
    assert (run / "generated_labels.csv").is_file() and (run / "label_histograms.csv").is_file()


@pytest.mark.parametrize(
    ("shorter", "longer", "words"),
    [
        (["keep_last=true", "model.rank=2"], [], "nothing to resume"),
        (["keep_last=true", "seed=2"], [], "nothing to resume"),
        (["keep_last=true", "trainer.max_epochs=3"], [], "nothing to resume"),
        (
            ["keep_last=true", "optim.schedule={name: linear, warmup: 0.1}"],
            ["optim.schedule={name: linear, warmup: 0.1}"],
            "is shorter, but optim.schedule=linear depends on trainer.max_epochs: starting from the beginning",
        ),
    ],
    ids=["another model", "another seed", "longer", "schedule"],
)
def test_where_no_shorter_run_leads_here_it_is_said(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shorter: list[str],
    longer: list[str],
    words: str,
) -> None:
    main(arguments("model=lmf", *QUICK, "trainer.max_epochs=1", *shorter))
    main(arguments("model=lmf", *QUICK, *longer, "ckpt_path=last"))
    assert words in capsys.readouterr().out
    history = (run_of(tmp_path / "runs", "  max_epochs: 2") / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in history] == ["epoch", "1", "2"]


def test_a_run_that_max_epochs_ended_can_be_continued_and_one_that_patience_ended_says_how(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("model=lmf", *QUICK, "trainer.max_epochs=1"))
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    assert "a larger one with ckpt_path=last continues this run" in capsys.readouterr().out
    main(arguments("model=lmf", *QUICK, "ckpt_path=last"))
    assert f"continues from {last.parents[1]} (1 epochs)" in capsys.readouterr().out

    main(arguments("model=tfn", *QUICK, "trainer.max_epochs=4", "patience=1", STILL))
    assert "continues this run" not in capsys.readouterr().out
    assert not [path for path in (tmp_path / "runs").rglob("last.ckpt") if "tfn" in path.parts]
    main(arguments("model=tfn", *QUICK, "trainer.max_epochs=5", "patience=1", STILL, "ckpt_path=last"))
    assert "kept no last.ckpt (a run that patience ended keeps it only with keep_last=true)" in capsys.readouterr().out


def test_a_shorter_run_that_is_at_work_or_spoilt_is_one_line(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("model=lmf", *QUICK, "trainer.max_epochs=1", "keep_last=true"))
    run = only_run(tmp_path / "runs")
    with held(run):
        refuses(capsys, arguments("model=lmf", *QUICK, "ckpt_path=last"), f"another process is at work in {run}")
    (run / "checkpoints" / "last.ckpt").write_bytes(b"none")
    refuses(capsys, arguments("model=lmf", *QUICK, "ckpt_path=last"), "last.ckpt is not a checkpoint of a run")


def test_a_run_is_not_continued_by_another_number_of_processes(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which trainer.devices=auto may come to on another machine, in the same folder."""
    overrides = arguments("model=lmf", *QUICK, "trainer.devices=auto")
    stop_before_the_result(monkeypatch, overrides)
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    saved["callbacks"]["Interruption"]["processes"] = 4
    torch.save(saved, last)
    refuses(capsys, [*overrides, "ckpt_path=last"], "began with 4 processes, but now there are 1")
    main([*overrides, "overwrite=true"])
    (path,) = (tmp_path / "runs").rglob("result.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"processes": 4}))
    refuses(capsys, overrides, "holds a result for other numbers of processes")


def test_a_run_is_not_continued_in_another_precision(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which trainer.precision=auto may come to on another machine, in the same folder."""
    overrides = arguments("model=lmf", *QUICK, "trainer.precision=auto")
    monkeypatch.setattr(trainer_module, "processor_has_bf16", lambda: True)
    stop_before_the_result(monkeypatch, overrides)
    assert "trainer.precision=auto: bf16-mixed" in capsys.readouterr().out
    monkeypatch.setattr(trainer_module, "processor_has_bf16", lambda: False)
    refuses(capsys, [*overrides, "ckpt_path=last"], "is of a run in bf16-mixed, and on this machine")
    main([*overrides, "overwrite=true"])
    (path,) = (tmp_path / "runs").rglob("result.json")
    assert json.loads(path.read_text())["precision"] == "32-true"
    assert "  precision: auto" in (path.parent / "config.yaml").read_text().splitlines()
    monkeypatch.setattr(trainer_module, "processor_has_bf16", lambda: True)
    refuses(capsys, overrides, "holds a result for other precision")


def test_an_interrupt_while_test_is_read_says_how_to_go_on(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(_: SentimentModule) -> None:
        raise KeyboardInterrupt  # a signal itself is ignored where tests run side by side

    overrides = arguments("trainer.max_epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(SentimentModule, "on_test_start", interrupted, raising=False)
        with pytest.raises(SystemExit) as stop:
            main(overrides)
    assert stop.value.code == 128 + signal.SIGINT
    assert "ckpt_path=last continues" in capsys.readouterr().err
    main([*overrides, "ckpt_path=last"])
    assert json.loads(next(tmp_path.rglob("result.json")).read_text())["epochs"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_an_interrupt_says_how_to_go_on(
    arguments: Callable[..., list[str]], tmp_path: Path, number: signal.Signals
) -> None:
    process = Python([ROOT / "train.py", *arguments("trainer.max_epochs=1000", "patience=1000")], tmp_path)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not list(tmp_path.rglob("metrics.csv")):
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait() == 128 + number
    assert "ckpt_path=last continues" in process.stderr
    assert "Traceback" not in process.stderr
