"""Training steps of this project without Lightning's loop, to be timed or taken apart."""

from __future__ import annotations

from collections.abc import Iterator

from hydra import compose, initialize_config_dir
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.experiment import assembly, config
from mmsa_lightning.training.module import SentimentModule


class Steps:
    """One run's module, data and optimiser, as ``python train.py`` would build them.

    Args:
        overrides: of the config.
    """

    def __init__(self, *overrides: str) -> None:
        with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
            self.config = config.plain(compose("train", list(overrides)))
        self.data: StoreDataModule = assembly.build_data(self.config)
        self.module: SentimentModule = assembly.build_module(self.config, self.data, None)
        self.optimizer = self.module.optimizer(self.module.model)
        self.module.train()

    def batches(self) -> Iterator[Batch]:
        """Of the train split, for ever."""
        loader = self.data.train_dataloader()
        while True:
            yield from loader

    def step(self, batch: Batch, epoch: int = 1) -> None:
        """Forward, loss, backward, clipping and optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        self.module.objective(self.module.model(batch), batch, epoch).total.backward()
        if limit := self.config["trainer"]["gradient_clip_val"]:
            clip = {"norm": clip_grad_norm_, "value": clip_grad_value_}
            clip[self.config["trainer"]["gradient_clip_algorithm"]](self.module.parameters(), limit)
        self.optimizer.step()
