"""One run in several processes, its ranks: how they are started, and how they see each other's share of a batch.

Every rank computes the loss of the whole batch, from the outputs of all, so that an objective need not know of ranks: a
mean, the ratio of losses, a moment of the batch and the generated labels are those of one process, on every rank.
"""

from __future__ import annotations

import builtins
import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mmsa_lightning.batch import Batch
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.output import ModelOutput

# All that torchrun sets for a rank. An image or a shell may have some of it left over, with no torchrun at work.
TORCHRUN = {"TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}


def environment() -> ClusterEnvironment:
    """What started this process: torchrun (or :func:`launch`), srun with a task a rank, or nothing of the kind.

    Raises:
        UserError: SLURM's job was not asked for in the way that Lightning needs.
    """
    if os.environ.keys() >= TORCHRUN:
        return TorchElasticEnvironment()
    # Of a step, which srun starts. SLURM_NTASKS is of the job: its batch script and salloc's shell have it, too.
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and SLURMEnvironment.detect():
        try:
            return SLURMEnvironment(auto_requeue=False)  # a run has that done itself, see Interruption
        except RuntimeError as error:
            raise UserError(f"SLURM: {error}") from error
    return LightningEnvironment()


def rank() -> int:
    """This process's number among those that were started together; 0 for a process of its own."""
    return environment().global_rank()


def missing(processes: int, nodes: int) -> bool:
    """Whether several ``processes`` are wanted on this machine, and nobody has started them yet.

    Raises:
        UserError: as many were not started, or by nobody who is still there; or they are for several ``nodes``.
    """
    started = environment()
    if isinstance(started, LightningEnvironment):
        if nodes > 1:
            raise UserError(f"trainer.num_nodes={nodes}: start the run on each node, with torchrun or srun")
        return processes > 1
    launcher = "srun" if isinstance(started, SLURMEnvironment) else "torchrun"
    if (world := started.world_size()) != processes:
        raise UserError(
            f"{launcher} started {world} processes, but trainer.devices on trainer.num_nodes={nodes} asks for "
            f"{processes}: make both numbers equal (trainer=ddp trainer.devices=…)"
        )
    if launcher == "torchrun" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        _answers(started.main_address, started.main_port)
    return False


def _answers(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise UserError(
            f"torchrun's variables are set, but no torchrun answers at {host}:{port} ({error}); to run without it: "
            "env -u TORCHELASTIC_RUN_ID python train.py …"
        ) from error


def launch(function: Callable[..., Any], arguments: tuple[Any, ...], processes: int) -> Any:
    """Call ``function`` in ``processes`` new processes of this machine, as torchrun would.

    If one of them fails or is killed, the others are stopped within seconds.

    Returns:
        what rank 0 returned.

    Raises:
        UserError: the mistake or the signal that the rank that failed first ended with.
        RuntimeError: any other error of it.
        SystemExit: this process was asked to stop; so were they.
    """
    for name in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # reported in one line below
    environment = dict(os.environ)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",  # else the name of the host, which offline may have no address: they wait for it
        max_restarts=0,
        monitor_interval=0.5,
    )
    # Handed on to the ranks, which save and stop, see Interruption. (Older versions of torch hand on the first two.)
    config.signals_to_handle = "SIGTERM,SIGINT,SIGUSR1,SIGUSR2"
    names = config.signals_to_handle.split(",")
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names if hasattr(signal, name)}
    try:
        return elastic_launch(config, function)(*arguments)[0]
    except SignalException as stopped:
        raise SystemExit(128 + stopped.sigval) from None
    except ChildFailedError as error:
        raise _reason(error, processes) from None
    finally:
        # What was set for the ranks must not affect what this process does next.
        for number, handler in before.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(environment)


def _reason(error: ChildFailedError, processes: int) -> Exception:
    """What the rank that failed first ended with: a mistake in one line, a kill, or any other error's traceback."""
    number, failure = error.get_first_failure()
    said = failure.error_file_data.get("message")
    if not isinstance(said, dict):
        return UserError(f"rank {number} of {processes}: {failure.message}")
    kind, _, reason = said["message"].partition(": ")
    if kind == UserError.__name__ or issubclass(getattr(builtins, kind, object), OSError):
        return UserError(f"rank {number} of {processes}: {reason}")
    return RuntimeError(f"rank {number} of {processes}: {said['extraInfo']['py_callstack']}")


class _Gather(torch.autograd.Function):
    """(batch, ...) of every rank -> (ranks · batch, ...), dealt out as :class:`TrainingSampler` does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # All ranks have this loss, each hands back the gradient of its own share, and DDP takes the mean over ranks.
        return gradient[dist.get_rank() :: dist.get_world_size()] * dist.get_world_size()


def whole(output: ModelOutput, batch: Batch) -> tuple[ModelOutput, Batch]:
    """Gather the outputs, positions and labels of a whole batch from all ranks, in the order of that batch.

    After DDP has taken the mean over ranks, the gradient of a loss of them is that of one process with the whole batch.
    Utterances that were repeated to give every rank the same number are left out. With one process nothing changes.

    Args:
        output: of this rank; its ``attention`` is not gathered.
        batch: of this rank; its sequences are not gathered.
    """
    if not _together():
        return output, batch
    index = _Gather.apply(batch.index)
    distinct = len(index.unique())  # repeats stand at the end

    def gather(x: Tensor) -> Tensor:
        return _Gather.apply(x)[:distinct]

    return ModelOutput(
        gather(full(output.prediction)),
        {task: gather(full(prediction)) for task, prediction in output.tasks.items()},
        {name: gather(full(feature)) for name, feature in output.features.items()},
    ), Batch(index[:distinct], gather(batch.label))


def merge(shares: dict[int, float]) -> dict[int, float]:
    """The union of what every rank holds."""
    return {key: value for share in of_all(shares) for key, value in share.items()}


def of_all(value: Any) -> list[Any]:
    """What every rank holds, by its number."""
    if not _together():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _together() -> bool:
    """Whether this process trains with others."""
    return dist.is_available() and dist.is_initialized()
