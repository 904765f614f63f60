"""What a training step costs beside the model's own arithmetic, in ms of the processor.

    OMP_NUM_THREADS=1 python experiments/benchmarks/overhead.py --store stores/mosi_frozen.h5

Each model on features trains some epochs in Lightning's loop as ``python train.py`` builds it. After each of them a
model of the same config takes as many steps without it, on the same batches, held in memory: forward, loss, backward,
clipping, the optimiser. The difference is the overhead: reading batches, and what Lightning and this project do around
a step. Left out are validation, what follows it, and the first epoch, which warms up. Processor time, for the machine
may be busy with something else; medians over the epochs. Reading the batches alone stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from steps import Steps

from mmsa_lightning.training.trainer import build_trainer, quieten

MODELS = ["tfn", "lmf", "mfn", "raven", "mult", "interactive_attention", "self_mm"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="with text features")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    quieten()
    print("| model | step | own arithmetic | overhead | share | of which reading |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for model in args.models:
        overrides = [f"model={model}", "data=mosi", f"data.path={args.store.absolute()}", "text=features"]
        step, own, reading = (statistics.median(ms) for ms in measure(overrides, args.epochs))
        share = 1 - own / step
        print(f"| {model} | {step:.2f} | {own:.2f} | {step - own:.2f} | {share:.0%} | {reading:.2f} |", flush=True)


def measure(overrides: list[str], epochs: int) -> tuple[list[float], list[float], list[float]]:
    """ms a step of each epoch but the first: in Lightning's loop, without it, and of reading the batches alone."""
    length = ["patience=99", f"trainer.max_epochs={epochs + 1}"]
    overrides = [*overrides, "trainer=cpu", "trainer.enable_progress_bar=false", *length]
    steps, beside = Steps(*overrides), Beside(Steps(*overrides))
    train = steps.data.store.splits["train"]
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            steps.config["trainer"],
            Path(folder),
            patience=steps.config["patience"],
            train=train,
            label_limit=steps.data.store.meta.label_limit,
            model=steps.module.model,
            objective=steps.module.objective,
        )
        trainer.callbacks.insert(0, beside)  # type: ignore[attr-defined]
        trainer.fit(steps.module, datamodule=steps.data)
    return beside.looped[1:], beside.bare[1:], beside.reading[1:]


class Beside(L.Callback):
    """Times each epoch of training, and then the same without the loop.

    Args:
        steps: of the same run.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.looped: list[float] = []
        self.bare: list[float] = []
        self.reading: list[float] = []

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.begun = time.process_time()

    def on_validation_start(self, trainer: L.Trainer, *_: Any) -> None:
        def passed() -> float:
            before, self.begun = self.begun, time.process_time()
            return 1000 * (self.begun - before) / trainer.num_training_batches

        self.looped.append(passed())
        sampler = trainer.train_dataloader.sampler  # type: ignore[union-attr]
        batches = [trainer.train_dataloader.dataset[positions] for positions in sampler]  # type: ignore[union-attr]
        self.reading.append(passed())
        with torch.enable_grad():
            for batch in batches:
                self.steps.step(batch, trainer.current_epoch + 1)
        self.bare.append(passed())


if __name__ == "__main__":
    main()
