"""Metrics against scikit-learn and SciPy, in one process and in several.

Run as a script, this file is the processes of the distributed tests: ``python test_metrics.py FOLDER`` computes every
case of ``CASES`` with real gloo processes, and each writes what it got to FOLDER.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import warm
from torch import Tensor
from torch.utils.data import DistributedSampler

from mmsa_lightning.training.metrics import METRICS, SplitMetric, corr, distinct, mae, sentiment_metrics

SAMPLES = 229  # the validation split of MOSI: odd, so that 2 and 3 processes both leave a remainder


def split(samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Float32 predictions, labels in thirds, and indices; all (samples,)."""
    rng = np.random.default_rng(seed)
    target = rng.integers(-9, 10, samples) / 3
    prediction = target + rng.normal(0, 1.2, samples)
    return torch.from_numpy(prediction).float(), torch.from_numpy(target).float(), torch.arange(samples)


def computed(prediction: Tensor, target: Tensor, index: Tensor, batch: int = 32) -> dict[str, float]:
    metrics = sentiment_metrics("")
    for start in range(0, len(index), batch):
        metrics.update(*(tensor[start : start + batch] for tensor in (prediction, target, index)))
    return {name: value.item() for name, value in metrics.compute().items()}


def exact(values: dict[str, float]) -> dict[str, str]:
    """Every bit of the values, and NaN equal to itself."""
    return {name: float(value).hex() for name, value in values.items()}


# ---------------------------------------------------------------------------------------------- against references


def reference(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The protocol in numpy, scikit-learn and SciPy."""
    from scipy.stats import pearsonr
    from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

    def both(name: str, true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        if not len(true):
            return {f"acc2_{name}": math.nan, f"f1_{name}": math.nan}
        f1 = f1_score(true, predicted, average="weighted")
        return {f"acc2_{name}": accuracy_score(true, predicted), f"f1_{name}": f1}

    def classes(values: np.ndarray, limit: int) -> np.ndarray:
        return np.round(np.clip(values, -limit, limit)).astype(int)

    constant = np.ptp(prediction) == 0 or np.ptp(target) == 0
    kept = target != 0
    return {
        "mae": mean_absolute_error(target, prediction),
        "corr": math.nan if constant else pearsonr(prediction, target).statistic,
        "acc7": accuracy_score(classes(target, 3), classes(prediction, 3)),
        "acc5": accuracy_score(classes(target, 2), classes(prediction, 2)),
        **both("has0", target >= 0, prediction >= 0),
        **both("non0", target[kept] > 0, prediction[kept] > 0),
    }


def _inputs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    labels = rng.integers(-9, 10, 200) / 3
    halves = rng.integers(-8, 9, 200) / 2  # ties of rounding, beyond the clip, and exact zeros
    return {
        "random": (labels + rng.normal(0, 1, 200), labels),
        "far": (1e6 + 10 * rng.normal(0, 1, 200), labels),
        "tied": (halves, rng.integers(-6, 7, 200) / 2),
        "perfect": (labels, labels),
        "opposite": (-labels, labels),
        "constant prediction": (np.full(200, 0.1), labels),  # the mean of 200 times 0.1 is not exactly 0.1
        "zero prediction": (np.zeros(200), labels),
        "constant label": (halves, np.full(200, -1.4)),
        "zero label": (halves, np.zeros(200)),
        "both constant": (np.full(200, 0.7), np.full(200, 0.7)),
        "two": (np.array([0.2, -0.3]), np.array([1.0, 2.0])),
        "one": (np.array([0.5]), np.array([0.4])),
        "one, labelled zero": (np.array([-0.5]), np.array([0.0])),
    }


@pytest.mark.parametrize("case", _inputs())
def test_equals_the_reference(case: str) -> None:
    prediction, target = _inputs()[case]
    tensors = torch.from_numpy(prediction), torch.from_numpy(target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        free = {name: function(*tensors) for name, function in METRICS.items()}
        whole = computed(*tensors, torch.arange(len(target)))
    assert all(value.dtype == torch.float64 and value.shape == () for value in free.values())
    assert {name: value.item() for name, value in free.items()} == pytest.approx(whole, rel=0, abs=0, nan_ok=True)
    assert whole == pytest.approx(reference(prediction, target), rel=1e-9, abs=1e-12, nan_ok=True)


def test_undefined_is_nan() -> None:
    labels = torch.tensor([-1.0, 0.0, 2.0]).double()
    constant, zeros = torch.full_like(labels, 0.1), torch.zeros_like(labels)
    assert corr(constant, labels).isnan()
    assert corr(labels, constant).isnan()
    assert corr(labels[:1], labels[:1]).isnan()
    assert [name for name, function in METRICS.items() if function(labels, zeros).isnan()] == [
        "corr",
        "acc2_non0",
        "f1_non0",
    ]
    assert all(function(labels[:0], labels[:0]).isnan() for function in METRICS.values())


def test_accuracies_of_classes_are_left_undefined_on_another_scale() -> None:
    stars = torch.tensor([1.0, -3.0, 0.2, 5.0])
    values = {}
    for classes in (True, False):
        metrics = sentiment_metrics("", classes=classes)
        metrics.update(stars, stars, torch.arange(4))
        values[classes] = {name: float(value) for name, value in metrics.compute().items()}
    assert list(values[False]) == list(values[True])
    assert set(values[True].values()) == {0.0, 1.0}
    assert {name for name, value in values[False].items() if math.isnan(value)} == {"acc7", "acc5"}
    assert all(values[False][name] == values[True][name] for name in METRICS if name not in ("acc7", "acc5"))


@pytest.mark.parametrize(
    ("name", "value", "rounded"),
    [
        *[("acc7", 0.5, 0), ("acc7", 1.5, 2), ("acc7", 2.5, 2), ("acc7", -2.5, -2), ("acc7", 0.50001, 1)],
        *[("acc7", 3.7, 3), ("acc7", -9.0, -3), ("acc5", -0.5, 0), ("acc5", 1.5, 2), ("acc5", 3.7, 2)],
    ],
)
def test_rounding_by_hand(name: str, value: float, rounded: int) -> None:
    values, classes = torch.full((7,), value).double(), torch.arange(-3, 4).double()
    limit = int(name[-1]) // 2
    expected = (classes.clamp(-limit, limit) == rounded).double().mean()
    assert METRICS[name](values, classes) == expected > 0
    assert METRICS[name](classes, values) == expected


def test_zero_by_hand() -> None:
    prediction = torch.tensor([0.0, 0.0, 0.0, -1.0]).double()
    target = torch.tensor([1.0, 0.0, -1.0, -1.0]).double()
    found = {name: function(prediction, target).item() for name, function in METRICS.items() if "2" in name}
    # with zeros: predicted + + + -, true + + - -; without: predicted - - -, true + - -
    assert found == {"acc2_has0": 3 / 4, "acc2_non0": 2 / 3}
    f1 = METRICS["f1_has0"](prediction, target), METRICS["f1_non0"](prediction, target)
    assert f1 == pytest.approx((1 / 2 * 4 / 5 + 1 / 2 * 2 / 3, 2 / 3 * 4 / 5 + 1 / 3 * 0))


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
    metrics = sentiment_metrics("val/")
    prediction, target, index = split()
    metrics.update(torch.full_like(prediction, torch.nan), target, index)  # where comparing states would find no group
    metrics.update(prediction, target, index)
    assert set(metrics.compute()) == {f"val/{name}" for name in METRICS} == set(metrics.keys())
    assert len(metrics.compute_groups) == 1
    members = [member for _, member in metrics.items(copy_state=False)]
    assert len(members) == len(METRICS)
    for name in ("prediction", "target", "index"):
        assert len({id(getattr(member, name)) for member in members}) == 1
        assert len(getattr(members[0], name)) == 2


def test_collections_are_apart() -> None:
    first, second = sentiment_metrics("val/"), sentiment_metrics("test/")
    first.update(*split())
    second.update(*split(40, seed=1))
    assert list(exact(second.compute()).values()) == list(exact(computed(*split(40, seed=1))).values())
    assert list(exact(first.compute()).values()) == list(exact(computed(*split())).values())


def test_reset_and_accumulation() -> None:
    metrics = sentiment_metrics("")
    metrics.update(*split(50, seed=9))
    metrics.compute()
    metrics.reset()
    parts = [tensor.split(100) for tensor in split()]
    for batch in zip(*parts, strict=True):
        metrics.update(*batch)
        metrics.compute()  # in the middle: neither stale afterwards nor destructive
    assert exact(metrics.compute()) == exact(computed(*split()))


def test_forward_gives_the_batch_and_accumulates() -> None:
    metrics = sentiment_metrics("")
    parts = [tensor.split(100) for tensor in split()]
    for batch in zip(*parts, strict=True):
        assert exact(metrics(*batch)) == exact(computed(*batch))
    assert exact(metrics.compute()) == exact(computed(*split()))


def test_states_are_wide_and_detached() -> None:
    prediction, target, index = split()
    metrics = sentiment_metrics("").to(torch.bfloat16)  # as a module in bf16-true would
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


def test_nan_prediction_is_no_class() -> None:
    prediction, target, index = split()
    prediction[3] = torch.nan
    assert all(math.isnan(value) for value in computed(prediction, target, index).values())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_samples_is_nan() -> None:
    assert all(value.isnan() for value in sentiment_metrics("").compute().values())


@pytest.mark.parametrize("shapes", [((4, 1), (4,), (4,)), ((4,), (4,), (3,)), ((4, 1), (4, 1), (4, 1)), ((), (), ())])
def test_wrong_shapes(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"must all be \(batch,\), got"):
        SplitMetric(mae).update(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda() -> None:
    metrics = sentiment_metrics("").to("cuda")
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
    metrics, found = sentiment_metrics(""), {}
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
