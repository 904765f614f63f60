"""Which runs a table is made of: the jobs of the Hydra sweep that fills it, ``conf/experiment/<name>.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.config import config_dir, run_names
from mmsa_lightning.experiment.overrides import explain


@dataclass(frozen=True)
class Cell:
    """One run of a table.

    Attributes:
        row: the ablation in a sweep over ablations, else the model.
        seed: of the run.
        run_dir: where it lies or will lie.
    """

    row: str
    seed: int
    run_dir: Path


def cells(experiment: str, overrides: Sequence[str]) -> list[Cell]:
    """The jobs of ``python train.py -m experiment=<experiment> <overrides>``, in the sweep's order.

    Args:
        experiment: a file of ``conf/experiment`` that sets ``hydra.sweeper.params``.
        overrides: Hydra's, as given to the sweep.

    Raises:
        UserError: Hydra does not take an override, or the experiment is no sweep.
    """
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            chosen = [f"experiment={experiment}"]
            params = compose("train", chosen, return_hydra_config=True).hydra.sweeper.params or {}
            swept = [f"{key}={value}" for key, value in params.items()]
            parsed = OverridesParser.create().parse_overrides([*chosen, *swept, *overrides])
            (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
            axis = "ablation" if "+ablation" in params else "model"
            return [_cell(job, axis) for job in jobs]
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def _cell(job: list[str], axis: str) -> Cell:
    cfg = compose("train", job, return_hydra_config=True)
    return Cell(run_names(cfg.hydra.runtime.choices)[axis], cfg.seed, Path(cfg.hydra.run.dir))
