"""Train MMSA 2.2.1's own Self-MM for some epochs, and print what it took as one line of JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clock
import MMSA
import torch
from MMSA.config import get_config_regression
from MMSA.data_loader import MMDataLoader
from MMSA.models import AMIO
from MMSA.trains import ATIO
from MMSA.utils import setup_seed


class Enough(Exception):
    """As many epochs as were asked for: MMSA itself trains until early stopping."""


class Noted:
    """A loader that knows when it was last begun. MMSA goes through it once before its first epoch, for the labels."""

    def __init__(self, loader: Any, passes: clock.Passes) -> None:
        self.loader = loader
        self.passes = passes
        self.labelled = False

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.labelled:
            self.passes.begin_epoch(len(self.loader.dataset))
        self.labelled = True
        self.begun = time.time()
        return iter(self.loader)


def main(
    pickle: str, encoder: str, width: int, batch_size: int, epochs: int, folder: str, device: str
) -> dict[str, Any]:
    args = get_config_regression("self_mm", "mosi", Path(MMSA.__file__).parent / "config" / "config_regression.json")
    args.update(  # which sets attributes, too
        {
            "featurePath": pickle,
            "custom_feature": None,
            "feature_T": None,
            "feature_A": None,
            "feature_V": None,
            "need_data_aligned": True,
            "pretrained": encoder,
            "text_out": width,
            "batch_size": batch_size,
            "train_mode": "regression",
            "device": torch.device(device),
            "model_save_path": Path(folder) / "model.pth",
            "cur_seed": 1,
            "early_stop": epochs + 1,
        }
    )
    setup_seed(1)
    opened = time.time()
    loaders = MMDataLoader(args, num_workers=0)
    args["train_samples"] = len(loaders["train"].dataset)
    loading = time.time() - opened
    model = AMIO(args).to(args["device"])
    trainer = ATIO().getTrain(args)
    passes = clock.Passes()
    evaluate = trainer.do_test
    train = loaders["train"] = Noted(loaders["train"], passes)

    def timed(model: Any, loader: Any, mode: str) -> Any:
        """What MMSA calls after each epoch of training."""
        start = time.time()
        passes.add("train", args["train_samples"], start - train.begun)
        found = evaluate(model, loader, mode=mode)
        passes.add("evaluation", len(loader.dataset), time.time() - start)
        if len(passes.rates["train"]) == epochs:
            raise Enough
        return found

    trainer.do_test = timed
    first_batch = clock.first_batch()
    with contextlib.suppress(Enough):
        trainer.do_train(model, loaders)
    return passes.summary() | {"loading": loading, "start": first_batch[0]}


if __name__ == "__main__":
    print(json.dumps(main(*json.loads(sys.argv[1]))))
