"""How near a training step comes to what the machine can multiply.

    python experiments/benchmarks/roofline.py [--store stores/mosi.h5] [--precisions 32-true bf16-mixed]

Prints the measured rate of matrix products (square ones, and those of the encoder's layers), the operations of a step
as torch counts them, the share of that rate that whole steps reach, and what they spend their time on.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import made
import torch
from steps import Steps
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from mmsa_lightning import memory
from mmsa_lightning.batch import Batch
from mmsa_lightning.training.trainer import quieten

STEPS = 12
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")
KINDS = {  # of dropout without its product with x
    "matrix products": PRODUCTS,
    "optimiser": ("aten::_fused_adam_", "aten::_fused_adamw_"),
    "dropout": ("aten::random_", "aten::ge"),
    "activations": ("aten::gelu", "aten::gelu_backward", "aten::_softmax", "aten::_softmax_backward_data"),
    "normalisation": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "copies and zeros": ("aten::copy_", "aten::fill_", "aten::index_select", "aten::index_copy"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="whose utterances are trained on; made up without it")
    parser.add_argument("--models", nargs="+", default=["self_mm", "interactive_attention"])
    parser.add_argument("--precisions", nargs="+", choices=["32-true", "bf16-mixed"], default=["32-true"])
    args = parser.parse_args()
    quieten()
    memory.keep_freed()  # as a run does
    with tempfile.TemporaryDirectory() as folder:
        store = args.store or Path(folder) / "made.h5"
        if not args.store:
            made.write(store, {"train": 1024, "valid": 8, "test": 8}, 15)
        for model, precision in itertools.product(args.models, args.precisions):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
                measure(f"{model}, {precision}", model, store)


def measure(name: str, model: str, store: Path) -> None:
    steps = Steps(f"model={model}", "data=own", f"data.path={store}", "text_encoder=minilm", "data.batch_size=32")
    batches = list(itertools.islice(steps.batches(), STEPS))
    steps.step(batches[0])
    with FlopCounterMode(display=False) as counter:
        for batch in batches:
            steps.step(batch)
    operations = counter.get_total_flops() / STEPS
    seconds, peak, layers = [], [], []
    for _ in range(3):  # in turn, for a machine's speed changes
        peak.append(product(2048, 2048, 2048, 5))
        layers.append(product(480, 384, 1536, 60))
        start = time.perf_counter()
        for batch in batches:
            steps.step(batch)
        seconds.append((time.perf_counter() - start) / STEPS)
    step, best = min(seconds), max(*peak, *layers)
    print(f"{name}: matrix products reach {max(peak):.0f} GFLOP/s (2048³), {max(layers):.0f} (480 x 384 x 1536)")
    print(f"  a step: {operations / 1e9:.1f} GFLOP in {1000 * step:.0f} ms: {operations / 1e9 / step / best:.0%} of it")
    for kind, share in shares(steps, batches).items():
        print(f"  {share:6.1%} {kind}")


def product(m: int, k: int, n: int, repeats: int) -> float:
    """GFLOP/s of a matrix product m x k x n, in bfloat16 under autocast."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
    a @ b
    start = time.perf_counter()
    for _ in range(repeats):
        a @ b
    return 2e-9 * m * k * n * repeats / (time.perf_counter() - start)


def shares(steps: Steps, batches: list[Batch]) -> dict[str, float]:
    """Of the time of a step, by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for batch in batches:
            steps.step(batch)
    times = {event.key: event.self_cpu_time_total for event in found.key_averages()}
    total = sum(times.values())
    known = {kind: sum(times.get(name, 0) for name in names) / total for kind, names in KINDS.items()}
    return known | {"all else": 1 - sum(known.values())}


if __name__ == "__main__":
    main()
