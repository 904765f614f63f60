"""What a training step takes on a GPU: time, share of it in which the GPU computes, kernels, memory.

    python experiments/benchmarks/gpu.py --store stores/mosi.h5                 # BERT-base of random weights
    python experiments/benchmarks/gpu.py --store stores/mosi.h5 --settings encoder.freeze=6 ...   # beside those
    python experiments/benchmarks/gpu.py --store stores/mosi.h5 --compile       # its text encoder compiled, beside

Steps of training without Lightning's loop, after a warm-up, as they come: batches of every length. MMSA's Self-MM on
the same card: compare.py --device cuda.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import compare
import torch
from steps import Steps
from torch.profiler import ProfilerActivity, profile

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.text_encoder import TextEncoder

WARM_UP, PROFILED = 8, 5


@dataclasses.dataclass(frozen=True)
class Step:
    """Seconds, the share of them in which the GPU computed, kernels, and the most bytes allocated."""

    seconds: float
    busy: float
    kernels: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--text-encoder", help="a directory; BERT-base of random weights without it")
    parser.add_argument("--models", nargs="+", default=["interactive_attention", "self_mm"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bf16"], default=["float32", "bf16"])
    parser.add_argument("--settings", nargs="+", default=[], help="each measured beside the config as it is")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--compile", action="store_true", help="the text encoder by torch.compile, beside")
    args = parser.parse_args()
    torch.backends.cuda.enable_cudnn_sdp(False)  # as the trainer does
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| model | batch | precision | setting | ms a step | GPU busy | kernels a step | peak memory, MiB |")
    print("| --- | ---: | --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        encoder = args.text_encoder or compare.bert_base(Path(folder) / "bert")
        settings = ["", *args.settings, *(["compiled"] if args.compile else [])]
        for model, size, precision, setting in itertools.product(
            args.models, args.batch_sizes, args.precisions, settings
        ):
            found = measure(model, args.store, str(encoder), size, precision == "bf16", setting, args.steps)
            print(
                f"| {model} | {size} | {precision} | {setting} | {1000 * found.seconds:.1f} | {found.busy:.0%} "
                f"| {found.kernels:.0f} | {found.peak / 2**20:.0f} |",
                flush=True,
            )


def measure(model: str, store: Path, encoder: str, size: int, half: bool, setting: str, steps: int) -> Step:
    """Of one model, alone on the GPU, with one setting changed."""
    compiled = setting == "compiled"
    overrides = [f"model={model}", "data=mosi", f"data.path={store}", f"text_encoder={encoder}"]
    run = Steps(*overrides, f"data.batch_size={size}", *([] if compiled or not setting else [setting]))
    run.module.to("cuda")
    run.optimizer = run.module.configure_optimizers()
    if compiled:
        for part in run.module.modules():
            if isinstance(part, TextEncoder):
                part.bert.compile(dynamic=True)
    batches = (batch.pin_memory().to("cuda", non_blocking=True) for batch in run.batches())

    def step(batch: Batch) -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            run.step(batch)

    torch.cuda.reset_peak_memory_stats()
    seconds(step, itertools.islice(batches, WARM_UP))
    taken = seconds(step, itertools.islice(batches, steps)) / steps
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        seconds(step, itertools.islice(batches, PROFILED))
    kernels = [event for event in profiled.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(event.device_time_total for event in kernels) / 1e6 / PROFILED
    return Step(taken, busy / taken, len(kernels) / PROFILED, torch.cuda.max_memory_allocated())


def seconds(step: Callable[[Batch], None], batches: itertools.islice[Batch]) -> float:
    """From the first batch to the end of the last step's kernels."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("gpu.py: torch finds no GPU here")
    main()
