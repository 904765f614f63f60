"""What a sweep's jobs have in common, from Hydra's hooks; nothing is trained and no GPU is needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from mmsa_lightning import memory
from mmsa_lightning.experiment import sweep
from mmsa_lightning.experiment.config import config_dir
from mmsa_lightning.experiment.sweep import Sweep

Compose = Callable[..., DictConfig]


@pytest.fixture
def composed() -> Iterator[Compose]:
    """A function that composes a sweep's config, and gives it the overrides that only the sweeper reads."""

    def build(*overrides: str, swept: tuple[str, ...] = ()) -> DictConfig:
        cfg = compose("train", [*overrides], return_hydra_config=True)
        OmegaConf.set_readonly(cfg.hydra, False)
        with open_dict(cfg):
            cfg.hydra.mode = RunMode.MULTIRUN
            cfg.hydra.overrides.task = [*cfg.hydra.overrides.task, *swept]
            cfg.hydra.job.num = 0
        return cfg

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        yield build


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is in no sweep, and leaves what the hooks change as it was."""
    monkeypatch.setattr(sweep, "_slot", None)
    for name in (sweep.THREADS, sweep.VISIBLE):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that it is put back, whatever it becomes
        monkeypatch.delenv(name)


def hooks(cfg: DictConfig) -> Sweep:
    given = OmegaConf.to_container(cfg.hydra.callbacks.sweep)
    return Sweep(given["longest_first"])  # type: ignore[call-overload, index]


def jobs(cfg: DictConfig) -> list[list[str]]:
    """The jobs that Hydra's sweeper makes of a config, as it makes them."""
    words = [f"{name}={values}" for name, values in (cfg.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*words, *cfg.hydra.overrides.task])
    (found,) = BasicSweeper.split_arguments(overrides, None)
    return found


def test_what_takes_longest_starts_first(composed: Compose) -> None:
    cfg = composed("experiment=table3", swept=("model=lmf,mult,mine,tfn", "seed=1,2"))
    before = jobs(cfg)
    hooks(cfg).on_multirun_start(cfg)
    after = jobs(cfg)
    assert sorted(map(sorted, after)) == sorted(map(sorted, before))
    assert [job[0] for job in after] == [f"model={name}" for name in ("mine", "mult", "tfn", "lmf") for _ in (1, 2)]


def test_a_pattern_is_what_it_stands_for(composed: Compose) -> None:
    cfg = composed("data=demo", swept=("model=glob(m*)", "seed=1,2"))
    given = hooks(cfg)
    given.on_multirun_start(cfg)
    assert given.progress is not None and given.progress.total == 8
    assert [job[0] for job in jobs(cfg)[::2]] == [f"model={name}" for name in ("mult", "misa", "mag_bert", "mfn")]


def test_also_where_the_seed_is_named_first(composed: Compose) -> None:
    cfg = composed("data=demo", swept=("seed=1,2", "+ablation=none,full", "model.bi=true"))
    hooks(cfg).on_multirun_start(cfg)
    rows = [next(word for word in job if "ablation" in word) for job in jobs(cfg)]
    assert rows == ["+ablation=full"] * 2 + ["+ablation=none"] * 2


def test_every_row_of_the_tables_has_a_place(composed: Compose) -> None:
    for experiment in ("table3", "table5"):
        cfg = composed(f"experiment={experiment}")
        known = cfg.hydra.callbacks.sweep.longest_first
        for name, values in cfg.hydra.sweeper.params.items():
            assert name == "seed" or sorted(known[name]) == sorted(values.split(","))


@pytest.mark.parametrize(
    ("overrides", "gpus", "at_once"),
    [
        ([], 0, 1),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"], 0, 3),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=30"], 0, 10),
        (["hydra/launcher=joblib"], 0, 5),
        (["hydra/launcher=joblib"], 1, 1),
        (["hydra/launcher=joblib"], 4, 4),
        (["hydra/launcher=joblib", "trainer.devices=2"], 4, 2),
        (["hydra/launcher=joblib", "trainer=cpu"], 4, 5),
    ],
)
def test_how_many_run_at_once(
    composed: Compose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    overrides: list[str], gpus: int, at_once: int
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setattr(memory, "available", lambda: 100 * 2**30)
    cfg = composed("data=demo", *overrides, swept=("model=tfn,lmf", "seed=1,2,3,4,5"))
    hooks(cfg).on_multirun_start(cfg)
    assert capsys.readouterr().out == f"sweep: 10 runs, {at_once} at once\n"
    if "n_jobs" in cfg.hydra.launcher and not any("n_jobs" in word for word in overrides):
        assert cfg.hydra.launcher.n_jobs == at_once


def as_worker(cfg: DictConfig, found: Sweep, out: Path, **environment: str) -> dict[str, str | None]:
    """What a new process of a sweep's launcher has in its environment once it has begun a job; this one stays as it is.

    Joblib's processes import what they need anew; here one is forked, which holds its slot until it ends.
    """
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.environ.update(environment)
        cfg.hydra.runtime.output_dir = str(out)
        found.on_job_start(cfg, task_function=print)
        os.write(theirs, f"{os.environ.get(sweep.VISIBLE)} {os.environ.get(sweep.THREADS)}".encode())
        os.close(theirs)
        time.sleep(300)  # as a process that has more to do
        os._exit(0)
    visible, threads = os.read(ours, 1000).decode().split()
    return {"visible": visible, "threads": threads, "process": str(child)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this test forks")
@pytest.mark.parametrize(
    ("overrides", "environment", "seen"),
    [
        ([], {}, ["0", "1"]),
        ([], {"CUDA_VISIBLE_DEVICES": "5,GPU-aa,7,3"}, ["5", "GPU-aa"]),
        (["trainer.devices=2"], {}, ["0,1", "2,3"]),
        (["trainer.devices=auto"], {}, ["0,1", "2,3"]),
        (["trainer.devices=[1]"], {}, ["0,1,2,3", "0,1,2,3"]),  # of which the run takes that one
    ],
)
def test_each_process_has_a_device_of_its_own(
    composed: Compose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    overrides: list[str], environment: dict[str, str], seen: list[str]
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    cfg = composed("data=demo", *launcher, *overrides, swept=("seed=1,2,3",))
    found = hooks(cfg)
    found.on_multirun_start(cfg)
    workers: list[dict[str, Any]] = []
    try:
        workers += [as_worker(cfg, found, tmp_path, **environment) for _ in range(2)]
        assert [worker["visible"] for worker in workers] == seen
        os.kill(int(workers[0]["process"]), 9)
        os.waitpid(int(workers[0]["process"]), 0)
        workers[0] = as_worker(cfg, found, tmp_path, **environment)
        assert workers[0]["visible"] == seen[0]  # of one that is gone
    finally:
        for worker in workers:
            os.kill(int(worker["process"]), 9)
            os.waitpid(int(worker["process"]), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this test forks")
@pytest.mark.parametrize(
    ("devices", "given", "threads"), [(1, False, "4"), (2, False, "2"), (8, False, "1"), (2, True, "4")]
)
def test_ranks_share_the_threads_of_their_process(
    composed: Compose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, devices: int, given: bool, threads: str
) -> None:
    """Joblib has given it four; unless the user gave each rank so many."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    cfg = composed("trainer=ddp_cpu", f"trainer.devices={devices}", *launcher, swept=("seed=1,2",))
    if given:
        monkeypatch.setenv(sweep.THREADS, "4")
    found = hooks(cfg)
    found.on_multirun_start(cfg)
    worker = as_worker(cfg, found, tmp_path, OMP_NUM_THREADS="4")
    os.kill(int(worker["process"] or 0), 9)
    os.waitpid(int(worker["process"] or 0), 0)
    assert worker["threads"] == threads


@pytest.mark.parametrize(
    ("there", "outcome", "line"),
    [
        (False, 1.5, "valid MAE 1.5000; sweep: 1 of 1 done"),
        (True, 1.5, "valid MAE 1.5000; sweep: 1 of 1 done"),
        (False, float("inf"), "failed; sweep: 1 of 1 done, 1 failed"),
        (False, None, "failed; sweep: 1 of 1 done, 1 failed"),  # raised in a process of the launcher's
    ],
)
def test_a_job_is_told_of_when_it_ends(
    composed: Compose, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    there: bool, outcome: float | None, line: str
) -> None:  # fmt: skip
    freed: list[int] = []
    monkeypatch.setattr(memory, "let_go", lambda: freed.append(1))
    cfg = composed("data=demo", "model=lmf", swept=("seed=1",))
    cfg.hydra.runtime.output_dir = str(tmp_path)
    if there:
        (tmp_path / "result.json").touch()
    found = hooks(cfg)
    found.on_multirun_start(cfg)
    found.on_job_start(cfg, task_function=print)
    done = JobReturn(status=JobStatus.COMPLETED if outcome else JobStatus.FAILED)
    done.return_value = outcome if outcome else ValueError("broken")
    found.on_job_end(cfg, done)
    assert capsys.readouterr().out.splitlines()[1:] == [f"lmf (full) on demo, seed 1: {line}"]
    assert freed == [1]
    assert found.progress is not None
    assert ("answered" in found.progress.path.read_text()) == there


@pytest.mark.parametrize("overrides", [[], ["hydra/launcher=slurm"], ["hydra/launcher=submitit_local"]])
def test_a_single_run_and_one_on_a_cluster_are_left_alone(
    composed: Compose, capsys: pytest.CaptureFixture[str], overrides: list[str]
) -> None:
    cfg = composed("data=demo", *overrides, swept=("model=lmf,mult",) if overrides else ())
    if not overrides:
        cfg.hydra.mode = RunMode.RUN
    found = hooks(cfg)
    found.on_multirun_start(cfg)
    found.on_job_start(cfg, task_function=print)
    found.on_job_end(cfg, JobReturn())
    found.on_multirun_end(cfg)
    assert capsys.readouterr().out == ""
    assert not overrides or cfg.hydra.overrides.task[-1] == "model=lmf,mult"
