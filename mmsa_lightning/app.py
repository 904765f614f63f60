"""The training command: Hydra composes a config, :func:`mmsa_lightning.experiment.run` runs it."""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mmsa_lightning.config import config_dir, register_resolvers
from mmsa_lightning.errors import UserError, one_line_errors

TRACEBACK = "HYDRA_FULL_ERROR"  # Hydra's own switch: 1 shows tracebacks


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _train(cfg: DictConfig) -> float:
    from mmsa_lightning.experiment import run  # torch and its company, which --help and a wrong override do not need

    with one_line_errors():  # in here, because Hydra announces an error that leaves its job
        return run(cfg, HydraConfig.get())


def main(argv: list[str] | None = None) -> None:
    """``python train.py`` and ``mmsa train``: Hydra's command line, its errors in one line and exit code 2.

    HYDRA_FULL_ERROR=1 shows the traceback of an error in the configuration.

    Args:
        argv: the arguments; the process's own when None.
    """
    if argv is not None:
        sys.argv = ["mmsa train", *argv]
    register_resolvers()
    wanted = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # so that errors reach us instead of being printed by Hydra
    try:
        with one_line_errors():
            try:
                _train()
            except (HydraException, OmegaConfBaseException) as error:
                if wanted == "1":
                    raise
                raise UserError(str(error)) from error
    finally:
        os.environ[TRACEBACK] = wanted or "0"
