"""What a text encoder saves that reads real word pieces alone, end to end, instead of padded batches.

    python experiments/benchmarks/packing.py --store stores/mosi.h5 --text-encoder mpnet [--order uniform]

A forward and a backward pass over batches of training, each packed and padded in turn, in 32 bits and bf16, of all
steps and of the first token alone: seconds a batch, the fastest of the repeats, and the largest difference between the
two outputs in 32 bits. Batches are drawn as training draws them, of like lengths, or with ``--order uniform`` of any.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from pathlib import Path

import torch

from mmsa_lightning.batch import Padded
from mmsa_lightning.data.sampler import TrainingSampler
from mmsa_lightning.data.store import Store
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.training.trainer import quieten

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--text-encoder", required=True)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--order", choices=("bucket", "uniform"), default="bucket")
    args = parser.parse_args()
    quieten()
    encoder = TextEncoder(args.text_encoder, dropout=0.0)
    tokens = Store(args.store).splits["train"].sequences["tokens"]
    drawn = list(TrainingSampler(tokens.lengths, BATCH, seed=0, order=args.order))[: args.batches]
    batches = [Padded.from_arrays([tokens[i] for i in positions]) for positions in drawn]
    print("| | packed | padded | ratio | largest difference |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for half in (False, True):
        for first in (False, True):
            packed, padded = seconds(encoder, batches, args.repeats, half, first)
            apart = "" if half else f"{difference(encoder, batches, first):.1e}"
            name = f"{'bf16' if half else 'float32'}, {'the first token alone' if first else 'all steps'}"
            print(f"| {name} | {packed:.2f} | {padded:.2f} | {padded / packed:.1f} | {apart} |", flush=True)


def read(encoder: TextEncoder, tokens: Padded, *, packed: bool, first: bool) -> torch.Tensor:
    """Real steps (steps, width), or the first of each utterance (batch, width)."""
    family = encoder.family
    assert family is not None and family.packs, "this family is always padded"
    encoder.family = family if packed else dataclasses.replace(family, packs=False)
    try:
        return encoder.first(tokens) if first else encoder(tokens)[tokens.mask]
    finally:
        encoder.family = family


def seconds(encoder: TextEncoder, batches: list[Padded], repeats: int, half: bool, first: bool) -> tuple[float, float]:
    """Of a forward and a backward pass, packed and padded: the mean over the batches and the fastest of the repeats."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(repeats):
        spent = dict.fromkeys(taken, 0.0)
        for tokens, packed in itertools.product(batches, spent):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                read(encoder, tokens, packed=packed, first=first).float().square().mean().backward()
            encoder.zero_grad()
            spent[packed] += time.perf_counter() - start
        for packed, total in spent.items():
            taken[packed].append(total / len(batches))
    return min(taken[True]), min(taken[False])


@torch.no_grad()
def difference(encoder: TextEncoder, batches: list[Padded], first: bool) -> float:
    """The largest between packed and padded outputs."""
    both = [[read(encoder, tokens, packed=p, first=first) for tokens in batches] for p in (True, False)]
    return max(float((a - b).abs().max()) for a, b in zip(*both, strict=True))


if __name__ == "__main__":
    main()
