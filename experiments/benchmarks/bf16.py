"""Train one run, and print its validation MAE after every epoch as one line of JSON.

On a processor without bf16, products of bf16 matrices are computed of the same rounded numbers in float32, and rounded:
what one that has it computes, and this one would take twenty times as long for.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from mmsa_lightning.experiment.app import main as train
from mmsa_lightning.models.layers.precision import processor_has_bf16

aten = torch.ops.aten
PRODUCTS = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
}


class WideProducts(TorchDispatchMode):
    """Computes bf16 products in float32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in PRODUCTS or not _is_half(args[0]):
            return func(*args, **kwargs)
        return tree_map(torch.Tensor.bfloat16, func(*tree_map(_wide, args), **tree_map(_wide, kwargs)))


def _is_half(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16


def _wide(x: Any) -> Any:
    return x.float() if _is_half(x) else x


def main(overrides: list[str], run_dir: Path) -> list[float]:
    products = contextlib.nullcontext() if processor_has_bf16() else WideProducts()
    with products, contextlib.redirect_stdout(sys.stderr):
        train([*overrides, f"hydra.run.dir={run_dir}"])
    with (run_dir / "metrics.csv").open() as file:
        return [float(row["valid/mae"]) for row in csv.DictReader(file)]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), Path(sys.argv[2]))))
