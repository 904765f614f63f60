"""Several processes do what one does. Real processes, gloo, on the CPU."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hydra import compose, initialize_config_dir

from mmsa_lightning.batch import Batch
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import run as experiment
from mmsa_lightning.experiment.config import config_dir, plain
from mmsa_lightning.models.output import ModelOutput
from mmsa_lightning.training import ranks

# In 64 bits nothing hides behind rounding. In 32, Adam makes steps of a gradient that is zero but for its last digit,
# and labels are ratios of distances: one in a hundred ends more than 1e-5 apart, one 1.3e-4 on an older processor; with
# Self-MM and MISA more.
RUNS: dict[str, tuple[str, ...]] = {  # model, precision, and what else its config says
    "interactive_attention": ("interactive_attention", "64-true"),
    "self_mm": ("self_mm", "64-true"),
    "misa": ("misa", "64-true"),
    "interactive_attention in 32 bits": ("interactive_attention", "32-true"),
    "frozen in part": (
        "self_mm",
        "64-true",
        "encoder.freeze=embeddings",
        "encoder.gradient_checkpointing=true",
        "optim.layer_decay=0.5",
    ),
    "lora, crossfit": (
        "self_mm",
        "64-true",
        "encoder.lora={rank: 2, alpha: 4, modules: [query, dense]}",
        "objective.generator=crossfit",
    ),
    "with gaps": (
        "misa",
        "64-true",
        "missing.mode=modality",
        "missing.train=uniform_half",
        "missing.absent=learnt",
    ),
    "uncertainty": ("self_mm", "64-true", "objective.weighting=uncertainty"),
    # Without tanh every task has a loss from the start, and four epochs are enough for rates of two.
    "dwa": ("self_mm", "64-true", "objective.weighting=dwa", "objective.tanh_weight=false"),
    "rlw": ("self_mm", "64-true", "objective.weighting=rlw", "objective.tanh_weight=false"),
}
FOUR = ["interactive_attention"]  # more processes than two concern no model in particular
WITHIN = {"64-true": 1e-9, "32-true": 1e-4}
LABELS_WITHIN = WITHIN | {"32-true": 1e-3}
EPOCHS, STEPS = 4, 8  # labels are generated from the second epoch on

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_ranks")]


def config(model: str, bert: str, store: Path, world: int, precision: str = "32-true", *more: str) -> dict[str, Any]:
    """Epochs of three batches of 24, accumulated by twos, the last of them left over and short; no dropout."""
    overrides = [
        f"model={model}",
        f"text_encoder={bert}",
        f"data.path={store}",
        "data.counts={train: 71, valid: 24, test: 26}",
        f"data.batch_size={24 // world}",
        "data.eval_batch_size=5",
        "trainer=ddp_cpu",
        f"trainer.devices={world}",
        f"trainer.precision={precision}",
        f"trainer.max_epochs={EPOCHS}",
        "trainer.accumulate_grad_batches=2",
        "trainer.enable_progress_bar=false",
        "keep_last=true",
        "patience=99",
        *more,
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        made = plain(compose("train", overrides))
    return without_dropout(made)


def without_dropout(node: Any, inside: bool = False) -> Any:
    if isinstance(node, dict):
        return {name: without_dropout(value, inside or "dropout" in name) for name, value in node.items()}
    return 0.0 if inside else node


def train(configs: dict[str, dict[str, Any]], folder: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, made in configs.items():
            experiment._run(made, {"data": "demo", "model": name, "ablation": "full"}, folder / name, None, True)
    finally:
        torch.set_num_threads(threads)  # other tests follow in this process


@pytest.fixture(scope="module")
def trained(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory, forked_ranks: None) -> Path:
    """The folder of the run directories, ``<processes>/<run>``."""
    folder = tmp_path_factory.mktemp("ranks")
    for world, names in {1: [*RUNS], 2: [*RUNS], 4: FOUR}.items():
        configs = {
            name: config(model, tiny_bert, folder / "demo.h5", world, *options)
            for name, (model, *options) in RUNS.items()
            if name in names
        }
        place = folder / str(world)
        train(configs, place) if world == 1 else ranks.launch(train, (configs, place), world)
    return folder


@pytest.mark.parametrize(("name", "world"), [*((name, 2) for name in RUNS), *((name, 4) for name in FOUR)])
def test_ranks_train_as_one_process_with_the_whole_batch(name: str, world: int, trained: Path) -> None:
    one, several = (trained / str(w) / name for w in (1, world))
    precision = RUNS[name][1]
    states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (one, several)]
    assert states[0]["global_step"] == states[1]["global_step"] == STEPS
    for key, value in states[0]["state_dict"].items():  # weights; generated labels, banks and centres
        close = (LABELS_WITHIN if ".label_" in key else WITHIN)[precision]
        found = states[1]["state_dict"][key]
        torch.testing.assert_close(found, value, atol=close, rtol=close, msg=lambda m, key=key: f"{key}: {m}")
        assert value.all() or not key.endswith("log_b"), "learned weights have not moved"
    rows = [list(csv.DictReader((run / "metrics.csv").open())) for run in (one, several)]
    assert len(rows[0]) == len(rows[1]) == EPOCHS
    for a, b in zip(*rows, strict=True):
        figures = {key: float(a[key]) for key in a if key.startswith(("train/", "valid/mae"))}
        assert {key: float(b[key]) for key in figures} == pytest.approx(figures, abs=WITHIN[precision])


def figures(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("result.json")
    result = json.loads(path.read_text())
    rows = list(csv.DictReader((path.parent / "predictions.csv").open()))
    return {"valid": result["valid"], "test": result["test"], "predictions": rows}


def test_metrics_are_the_same_to_the_last_digit(tiny_bert: str, tmp_path: Path) -> None:
    """229 and 686 utterances, which neither two nor three ranks divide evenly; the weights stay as they began."""
    found = {}
    for world in (1, 2, 3):
        made = config("lmf", tiny_bert, tmp_path / "demo.h5", world)
        made["data"] |= {"counts": {"train": 24, "valid": 229, "test": 686}, "eval_batch_size": 50}
        made["optim"]["lr"] = dict.fromkeys(made["optim"]["lr"], 0.0)
        made["trainer"]["max_epochs"] = 1
        made |= {"text": "features", "modalities": ["audio", "vision"]}
        place = tmp_path / str(world)
        arguments = ({"lmf": made}, place)
        train(*arguments) if world == 1 else ranks.launch(train, arguments, world)
        found[world] = figures(place)
    assert len(found[1]["predictions"]) == 229 + 686
    assert found[1] == found[2] == found[3]


def fails_on_rank_1(how: str) -> None:
    if ranks.rank() == 1:
        if how == "mistake":
            raise UserError("the disk is full")
        if how == "fault":
            raise KeyError("nobody knows")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


@pytest.mark.parametrize(
    ("how", "error", "reason"),
    [
        ("mistake", UserError, "^rank 1 of 2: the disk is full$"),
        ("killed", UserError, "^rank 1 of 2: Signal 9 .*SIGKILL"),
        ("fault", RuntimeError, "(?s)^rank 1 of 2: Traceback.*nobody knows"),
    ],
)
def test_a_rank_that_fails_ends_the_others(how: str, error: type[Exception], reason: str) -> None:
    start, handler, environment = time.monotonic(), signal.getsignal(signal.SIGTERM), dict(os.environ)
    with pytest.raises(error, match=reason):
        ranks.launch(fails_on_rank_1, (how,), 2)
    assert time.monotonic() - start < 60
    assert signal.getsignal(signal.SIGTERM) == handler
    assert os.environ == environment  # a number of threads for the ranks is not for others


def test_processes_meet_where_the_host_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda name="": "no-such-host.invalid")  # what torch would tell them
    assert ranks.launch(os.getenv, ("MASTER_ADDR",), 1) == "localhost"


TORCHRUN = {
    **{"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},
    **{"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},
}
JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
TASK = JOB | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0"}
LEFT_BEHIND: dict[str, dict[str, str]] = {
    "nothing": {},
    "an image": {"LOCAL_RANK": "0"},
    "another rank": {"RANK": "1", "LOCAL_RANK": "1", "NODE_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "4"},
    "an address": {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"},
    "a part of torchrun": {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    "a shell of salloc": JOB,
    "a batch script": JOB | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
    "srun --pty": TASK | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1", "PMI_SIZE": "2"},
}


@pytest.fixture
def of_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    def set_to(variables: dict[str, str]) -> None:
        for name in TORCHRUN | TASK | {"SLURM_STEP_NUM_TASKS": "", "TORCHELASTIC_USE_AGENT_STORE": ""}:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_variables_that_somebody_left_start_nothing(left: str, of_environment: Callable[..., None]) -> None:
    of_environment(LEFT_BEHIND[left])
    assert ranks.rank() == 0
    assert ranks.missing(2, nodes=1)
    assert not ranks.missing(1, nodes=1)
    with pytest.raises(UserError, match=r"trainer\.num_nodes=2: start the run on each node"):
        ranks.missing(4, nodes=2)


@pytest.mark.parametrize(
    ("launcher", "variables"), [("torchrun", TORCHRUN), ("srun", TASK | {"SLURM_STEP_NUM_TASKS": "2"})]
)
def test_ranks_that_were_started_are_as_many_as_are_wanted(
    launcher: str, variables: dict[str, str], of_environment: Callable[..., None]
) -> None:
    of_environment(variables)
    assert ranks.rank() == 1
    assert not ranks.missing(2, nodes=1)
    for wanted in (1, 4):
        with pytest.raises(UserError, match=f"^{launcher} started 2 processes, .* asks for {wanted}"):
            ranks.missing(wanted, nodes=1)


def test_a_torchrun_that_is_over_is_not_waited_for(of_environment: Callable[..., None]) -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = str(server.getsockname()[1])
        of_environment(TORCHRUN | {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": port})
        assert not ranks.missing(2, nodes=1)
    with pytest.raises(UserError, match=f"no torchrun answers at localhost:{port}"):
        ranks.missing(2, nodes=1)


def share_of(values: torch.Tensor) -> torch.Tensor:
    return values[dist.get_rank() :: dist.get_world_size()].clone()


def whole_batch() -> tuple[list[int], list[float], list[float], dict[int, float]]:
    """Five utterances, of which the first is repeated for the second of two ranks."""
    dist.init_process_group("gloo")
    index, label = torch.tensor([4, 0, 3, 1, 2, 4]), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 1.0])
    prediction = share_of(label * 10).requires_grad_()
    output, batch = ranks.whole(ModelOutput(prediction), Batch(share_of(index), share_of(label)))
    (output.prediction * batch.label).sum().backward()
    assert prediction.grad is not None
    held = ranks.merge({dist.get_rank(): 0.5})
    return batch.index.tolist(), output.prediction.tolist(), prediction.grad.tolist(), held


def test_a_batch_is_put_together_in_its_order_without_repeats() -> None:
    index, prediction, gradient, held = ranks.launch(whole_batch, (), 2)
    assert index == [4, 0, 3, 1, 2]
    assert prediction == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert gradient == [2.0, 6.0, 10.0]  # of rank 0's three, times two ranks: DDP takes the mean
    assert held == {0: 0.5, 1: 0.5}
