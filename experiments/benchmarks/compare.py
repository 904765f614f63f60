"""MMSA 2.2.1 and this project side by side: the same pickle, model, encoder, batch size and number of threads.

    python experiments/benchmarks/compare.py                             # made-up utterances, some minutes
    python experiments/benchmarks/compare.py --store stores/mosi.h5 --record experiments/benchmarks/results/speed.csv

Both sides run in turn, each time in a new process, over the same epochs; the first epoch warms up and does not count.
Printed are the median over all counted passes, their lowest and highest, and the ratio of the best passes, which are
those that a machine which others use disturbed least. ``--record`` keeps them, and says what moved since the last time
on the same kind of machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import child
import made
import record
import source
import torch
from transformers import BertConfig, BertModel

from mmsa_lightning.models.layers import minilm

HERE = Path(__file__).parent
MEASURES = {  # unit and whether more is better
    "train": ("training, utterances/s", True),
    "epoch": ("training utterances/s of whole epochs", True),
    "evaluation": ("evaluation, utterances/s", True),
    "start": ("start to the end of the first batch, s", False),
    "peak": ("peak memory, MiB", False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="whose utterances are trained on; made up without it")
    parser.add_argument("--counts", type=int, nargs=3, default=[320, 96, 96], help="how many are made up")
    parser.add_argument(
        "--encoder", choices=["minilm", "base"], default="minilm", help="base: BERT-base, random weights"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="what both sides train on")
    parser.add_argument("--precisions", nargs="+", default=["32-true"], help="of this project, as trainer.precision")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["self_mm"], help="of this project, against MMSA's Self-MM")
    parser.add_argument("--record", type=Path, help="the CSV that keeps the figures")
    args = parser.parse_args()
    if args.epochs < 3:
        parser.error("--epochs: at least 3, for the first warms up and the last one has no next to end it")
    with tempfile.TemporaryDirectory() as folder:
        report(args, measure(args, Path(folder)))


def measure(args: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each run of each side took, by side."""
    pickle, store = folder / "aligned_50.pkl", folder / "mosi.h5"
    if not args.store:
        made.write(folder / "made.h5", dict(zip(("train", "valid", "test"), args.counts, strict=True)), 15)
    source.write(pickle, args.store or folder / "made.h5")
    encoder, width = (minilm.directory(), 384) if args.encoder == "minilm" else (bert_base(folder / "bert"), 768)
    start = time.time()
    child.imported(pickle, store)
    print(f"import: {time.time() - start:.1f} s for {pickle.stat().st_size / 1e6:.0f} MB", file=sys.stderr)

    jobs = {
        "MMSA self_mm": (
            "theirs.py",
            [str(pickle), str(encoder), width, args.batch_size, args.epochs, str(folder), args.device],
        )
    }
    for model, precision in itertools.product(args.models, args.precisions):
        overrides = [
            f"model={model}",
            "data=mosi",
            f"text_encoder={encoder}",
            f"data.batch_size={args.batch_size}",
            f"trainer.accelerator={'gpu' if args.device == 'cuda' else 'cpu'}",
            f"trainer.precision={precision}",
            *child.settings(store, args.epochs, folder / "runs"),
        ]
        jobs[f"{model} {precision}"] = ("ours.py", overrides)
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in jobs}
    for _ in range(args.repeats):
        for side, (script, given) in jobs.items():
            found[side].append(child.run(HERE / script, json.dumps(given), threads=args.threads))
            print(f"{side}: {found[side][-1]}", file=sys.stderr)
    return found


def report(args: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> None:
    """A Markdown table on standard output, and what is kept."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("mmsa", "torch", "lightning", "transformers"))
    what = (
        f"{args.store.stem if args.store else ' / '.join(map(str, args.counts))}, {args.encoder}, batches of "
        f"{args.batch_size}, {args.device}, {args.threads} threads"
    )
    print(f"\n{what}; {args.epochs} epochs, {args.repeats} runs a side; {record.machine()}; {versions}\n")
    first, *others = found
    print(f"|  | {first} | {' | '.join(f'{side} | ratio' for side in others)} |")
    print(f"| --- | {' | '.join(['---:'] * (1 + 2 * len(others)))} |")
    kept = []
    for measure, (name, more) in MEASURES.items():
        values = {side: _all(runs, measure) for side, runs in found.items()}
        best = max if more else min
        cells = [_cell(values[first])]
        for side in others:
            ratio = best(values[side]) / best(values[first])
            cells += [_cell(values[side]), f"{ratio if more else 1 / ratio:.2f} ×"]
            kept.append({"side": side, "measure": name, "value": cells[-1], "ours": cells[-2], "mmsa": cells[0]})
        print(f"| {name} | {' | '.join(cells)} |")
    if args.record:
        moved = record.keep(args.record, [{"what": what, **row, "versions": versions} for row in kept])
        print("\n" + ("\n".join(moved) or "nothing was kept of this on such a machine before"))


def _all(runs: list[dict[str, Any]], measure: str) -> list[float]:
    return [value for run in runs for value in (run[measure] if isinstance(run[measure], list) else [run[measure]])]


def _cell(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def bert_base(folder: Path) -> Path:
    """A directory with BERT-base of random weights, and MiniLM's tokenizer, which is BERT's."""
    torch.manual_seed(0)
    BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(minilm.directory() / name, folder)
    return folder


if __name__ == "__main__":
    main()
