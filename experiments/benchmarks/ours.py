"""Train one of this project's models for some epochs, and print what it took as one line of JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import clock
import lightning as L

from mmsa_lightning.experiment import run as experiment
from mmsa_lightning.experiment.app import main as train


class Clock(L.Callback):
    """Times every epoch of training and of validation; Lightning validates within the former."""

    def __init__(self) -> None:
        self.passes = clock.Passes()

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.passes.begin_epoch(len(trainer.datamodule.split("train")))
        self.begun = time.time()

    def on_validation_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.state.fn == "fit":
            self.passes.add("train", len(trainer.datamodule.split("train")), time.time() - self.begun)
        self.begun = time.time()

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.passes.add("evaluation", len(trainer.datamodule.split("valid")), time.time() - self.begun)


def main(overrides: list[str]) -> dict[str, Any]:
    empty = clock.peak()
    timer = Clock()
    build = experiment.build_trainer

    def timed(*args: Any, **kwargs: Any) -> L.Trainer:
        trainer = build(*args, **kwargs)
        trainer.callbacks.insert(0, timer)
        return trainer

    experiment.build_trainer = timed
    first_batch = clock.first_batch()
    with contextlib.redirect_stdout(sys.stderr):
        train(overrides)
    return timer.passes.summary() | {"start": first_batch[0], "empty": empty}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
