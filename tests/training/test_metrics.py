"""Metrics of a whole split, in one process and in several.

Run as a script, this file is the processes of the distributed tests: ``python test_metrics.py FOLDER`` computes every
case of ``CASES`` with real gloo processes, and each writes what it got to FOLDER.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import warm
from torch import Tensor
from torch.utils.data import DistributedSampler

from mmsa_lightning.training.metrics import SplitMetric, distinct, sentiment_metrics
from mmsa_lightning.training.protocols import MOSI, SIMS, Protocol, mae

SAMPLES = 229  # the validation split of MOSI: odd, so that 2 and 3 processes both leave a remainder


def split(samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Float32 predictions, labels in thirds, and indices; all (samples,)."""
    rng = np.random.default_rng(seed)
    target = rng.integers(-9, 10, samples) / 3
    prediction = target + rng.normal(0, 1.2, samples)
    return torch.from_numpy(prediction).float(), torch.from_numpy(target).float(), torch.arange(samples)


def computed(
    prediction: Tensor, target: Tensor, index: Tensor, batch: int = 32, protocol: Protocol = MOSI
) -> dict[str, float]:
    metrics = sentiment_metrics("", protocol)
    for start in range(0, len(index), batch):
        metrics.update(*(tensor[start : start + batch] for tensor in (prediction, target, index)))
    return {name: value.item() for name, value in metrics.compute().items()}


def exact(values: dict[str, float]) -> dict[str, str]:
    """Every bit of the values, and NaN equal to itself."""
    return {name: float(value).hex() for name, value in values.items()}


# ------------------------------------------------------------------------------------------------ the metric classes


@pytest.mark.parametrize("batch", [1, 7, 32, 228, 229])
def test_batches_do_not_matter(batch: int) -> None:
    assert exact(computed(*split(), batch=batch)) == exact(computed(*split(), batch=SAMPLES))


def test_order_does_not_matter() -> None:
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(3))
    prediction, target, index = split()
    assert exact(computed(prediction[order], target[order], index[order])) == exact(computed(prediction, target, index))


def test_repeats_are_dropped() -> None:
    again = torch.cat([torch.arange(SAMPLES), torch.arange(11), torch.arange(5)])
    prediction, target, index = split()
    assert exact(computed(prediction[again], target[again], index[again])) == exact(computed(prediction, target, index))


def test_distinct_keeps_the_first_of_each_in_order() -> None:
    prediction, target, index = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 2, 9, 4]])
    prediction, target = distinct(prediction, target, index)
    assert (prediction.tolist(), target.tolist()) == ([2, 4, 1], [6, 8, 5])


def test_names_and_one_set_of_states() -> None:
    metrics = sentiment_metrics("val/", MOSI)
    prediction, target, index = split()
    metrics.update(torch.full_like(prediction, torch.nan), target, index)  # where comparing states would find no group
    metrics.update(prediction, target, index)
    assert set(metrics.compute()) == {f"val/{name}" for name in MOSI.metrics} == set(metrics.keys())
    assert len(metrics.compute_groups) == 1
    members = [member for _, member in metrics.items(copy_state=False)]
    assert len(members) == len(MOSI.metrics)
    for name in ("prediction", "target", "index"):
        assert len({id(getattr(member, name)) for member in members}) == 1
        assert len(getattr(members[0], name)) == 2


def test_collections_are_apart() -> None:
    first, second = sentiment_metrics("val/", MOSI), sentiment_metrics("test/", MOSI)
    first.update(*split())
    second.update(*split(40, seed=1))
    assert list(exact(second.compute()).values()) == list(exact(computed(*split(40, seed=1))).values())
    assert list(exact(first.compute()).values()) == list(exact(computed(*split())).values())


def test_reset_and_accumulation() -> None:
    metrics = sentiment_metrics("", MOSI)
    metrics.update(*split(50, seed=9))
    metrics.compute()
    metrics.reset()
    parts = [tensor.split(100) for tensor in split()]
    for batch in zip(*parts, strict=True):
        metrics.update(*batch)
        metrics.compute()  # in the middle: neither stale afterwards nor destructive
    assert exact(metrics.compute()) == exact(computed(*split()))


def test_forward_gives_the_batch_and_accumulates() -> None:
    metrics = sentiment_metrics("", MOSI)
    parts = [tensor.split(100) for tensor in split()]
    for batch in zip(*parts, strict=True):
        assert exact(metrics(*batch)) == exact(computed(*batch))
    assert exact(metrics.compute()) == exact(computed(*split()))


def test_states_are_wide_and_detached() -> None:
    prediction, target, index = split()
    metrics = sentiment_metrics("", MOSI).to(torch.bfloat16)  # as a module in bf16-true would
    with torch.autocast("cpu", dtype=torch.bfloat16):
        metrics.update(prediction.bfloat16().requires_grad_(), target, index.int())
        found = metrics.compute()
    for member in metrics.values():
        assert isinstance(member, SplitMetric)
        assert [state.dtype for state in (*member.prediction, *member.target)] == [torch.float64] * 2
        assert member.index[0].dtype == torch.int64
        assert not member.prediction[0].requires_grad
    assert all(value.dtype == torch.float64 for value in found.values())
    assert exact(found) == exact(computed(prediction.bfloat16().double(), target.double(), index))


def test_a_limit_clips_prediction_and_target_in_every_metric() -> None:
    prediction, target, index = split()
    clipped = prediction.clamp(-1, 1), target.clamp(-1, 1), index
    assert exact(computed(prediction, target, index, protocol=SIMS)) == exact(computed(*clipped, protocol=SIMS))
    assert computed(prediction, target, index)["mae"] != computed(*clipped)["mae"]


@pytest.mark.parametrize("protocol", [MOSI, SIMS], ids=lambda protocol: protocol.name)
def test_nan_prediction_is_no_class(protocol: Protocol) -> None:
    prediction, target, index = split()
    prediction[3] = torch.nan
    assert all(math.isnan(value) for value in computed(prediction, target, index, protocol=protocol).values())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("protocol", [MOSI, SIMS], ids=lambda protocol: protocol.name)
def test_no_samples_is_nan(protocol: Protocol) -> None:
    assert all(value.isnan() for value in sentiment_metrics("", protocol).compute().values())


@pytest.mark.parametrize("shapes", [((4, 1), (4,), (4,)), ((4,), (4,), (3,)), ((4, 1), (4, 1), (4, 1)), ((), (), ())])
def test_wrong_shapes(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"must all be \(batch,\), got"):
        SplitMetric(mae).update(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda() -> None:
    metrics = sentiment_metrics("", MOSI).to("cuda")
    metrics.update(*(tensor.to("cuda") for tensor in split()))
    assert all(isinstance(m, SplitMetric) and m.prediction[0].is_cuda for m in metrics.values())
    assert exact(metrics.compute()) == exact(computed(*split()))


# ------------------------------------------------------------------------------------------------- several processes


def _dealt(rank: int, world: int) -> Tensor:
    """As Lightning deals a split out: padded with repeats."""
    return torch.tensor(list(DistributedSampler(range(SAMPLES), world, rank, shuffle=False)))  # type: ignore[arg-type]


def _shuffled(rank: int, world: int) -> Tensor:
    return torch.tensor(list(DistributedSampler(range(SAMPLES), world, rank, shuffle=True)))  # type: ignore[arg-type]


def _unequal(rank: int, world: int) -> Tensor:
    return torch.arange(SAMPLES).split([200, 29, 0][:world])[rank]


WORLDS = (2, 3)
CASES: dict[str, Callable[[int, int], Tensor]] = {"dealt": _dealt, "shuffled": _shuffled, "unequal": _unequal}


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for world in WORLDS:  # one after the other in the same processes, since importing torch is what takes long
        if rank < world:
            dist.init_process_group("gloo", f"file://{folder}/rendezvous{world}", rank=rank, world_size=world)
            found = _every_case(rank, world)
            Path(folder, f"{world}-{rank}.json").write_text(json.dumps(found))
            dist.destroy_process_group()


def _every_case(rank: int, world: int) -> dict[str, dict[str, str]]:
    metrics, found = sentiment_metrics("", MOSI), {}
    prediction, target, index = split()
    for name, deal in CASES.items():
        for batch in deal(rank, world).split(32):
            if len(batch):  # a process without samples never updates
                metrics.update(prediction[batch], target[batch], index[batch])
        found[name] = exact(metrics.compute())
        metrics.reset()
    return found


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which real worlds of 2 and 3 processes wrote."""
    folder = tmp_path_factory.mktemp("processes")
    warm.start()
    torch.multiprocessing.start_processes(_process, (str(folder),), nprocs=max(WORLDS), start_method="forkserver")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_processes_equal_one_process_to_the_last_digit(processes: Path, world: int, case: str) -> None:
    dealt = [CASES[case](rank, world) for rank in range(world)]
    assert torch.cat(dealt).unique().numel() == SAMPLES
    if case != "unequal":
        assert sum(map(len, dealt)) == {2: 230, 3: 231}[world]  # there are repeats to drop
    expected = exact(computed(*split()))
    for rank in range(world):
        assert json.loads((processes / f"{world}-{rank}.json").read_text())[case] == expected
