"""Training steps of this project without Lightning's loop, to be timed or taken apart."""

from __future__ import annotations

from collections.abc import Iterator

from hydra import compose, initialize_config_dir

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.experiment import config
from mmsa_lightning.experiment import run as experiment
from mmsa_lightning.training.module import SentimentModule


class Steps:
    """One run's module, data and optimiser, as ``python train.py`` would build them.

    Args:
        overrides: of the config.
    """

    def __init__(self, *overrides: str) -> None:
        with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
            composed = config.plain(compose("train", list(overrides)))
        self.data: StoreDataModule = experiment.build_data(composed)
        self.module: SentimentModule = experiment.build_module(composed, self.data, None)
        self.optimizer = self.module.configure_optimizers()
        self.module.train()

    def batches(self) -> Iterator[Batch]:
        """Of the train split, for ever."""
        loader = self.data.train_dataloader()
        while True:
            yield from loader

    def step(self, batch: Batch) -> None:
        """Forward, loss, backward and optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        self.module.objective(self.module.model(batch), batch, epoch=1).total.backward()
        self.optimizer.step()
