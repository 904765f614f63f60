"""Which runs a table is made of: the jobs of a Hydra sweep, ``conf/experiment``, or the finished ones in folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.config import config_hash, identifying, plain, run_names
from mmsa_lightning.experiment.overrides import composing
from mmsa_lightning.report.names import flat, row_name, settings, told_apart, with_settings


@dataclass(frozen=True)
class Cell:
    """One run of a table.

    Attributes:
        row: the name of its row, see :mod:`mmsa_lightning.report.names`.
        seed: of the run.
        run_dir: where it lies or will lie.
        config_hash: that its result must have; None: whichever it has.
        store: of the data that it is trained on; None: whichever.
    """

    row: str
    seed: int
    run_dir: Path
    config_hash: str | None = None
    store: Path | None = None


def cells(experiment: str, overrides: Sequence[str]) -> list[Cell]:
    """The jobs of ``python train.py -m experiment=<experiment> <overrides>``, in the sweep's order.

    A row has the name of its ablation in a sweep over ablations, else of its model, and the settings in which it
    differs from others of that name.

    Args:
        experiment: a file of ``conf/experiment`` that sets ``hydra.sweeper.params``.
        overrides: Hydra's, as given to the sweep.

    Raises:
        UserError: Hydra does not take an override, the experiment is no sweep, or two jobs are one of the table.
    """
    with composing(overrides):
        chosen = [f"experiment={experiment}"]
        params = compose("train", chosen, return_hydra_config=True).hydra.sweeper.params or {}
        swept = [f"{key}={value}" for key, value in params.items()]
        parsed = OverridesParser.create().parse_overrides([*chosen, *swept, *overrides])
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        axis = "ablation" if "+ablation" in params else "model"
        # One config for all seeds of a row: composing takes a tenth of a second, and nothing depends on the seed.
        rows = [tuple(word for word in job if not word.startswith("seed=")) for job in jobs]
        composed: dict[tuple[str, ...], DictConfig] = {}
        for row, job in zip(rows, jobs, strict=True):
            if row not in composed:
                composed[row] = compose("train", job, return_hydra_config=True)
        own = {row: flat(identifying(plain(cfg), ["seed"])) for row, cfg in composed.items()}
        choices = {row: run_names(cfg.hydra.runtime.choices)[axis] for row, cfg in composed.items()}
        names = told_apart([choices[row] for row in rows], [own[row] for row in rows])
        return distinct(
            Cell(name, *_place(composed[row], job)) for name, row, job in zip(names, rows, jobs, strict=True)
        )


def find_cells(folders: Sequence[Path]) -> list[Cell]:
    """The finished runs at or below some folders, by name and seed; those of the first folder come first.

    A row is of runs whose settings agree but for the seed.

    Raises:
        UserError: a folder without a finished run, a run without its config, or two of the same row and seed.
    """
    found = {path: record for path in result.directories(folders) if (record := result.read(path))}
    own = [settings(path, record) for path, record in found.items()]
    bare = [row_name(record) for record in found.values()]
    if len({tuple(record["modalities"]) for record in found.values()}) > 1:  # of two models, too
        bare = [with_settings(name, run, ["modalities"]) for name, run in zip(bare, own, strict=True)]
    names = told_apart(bare, own)
    cells = distinct(
        Cell(name, record["seed"], path) for name, (path, record) in zip(names, found.items(), strict=True)
    )

    def order(cell: Cell) -> tuple[int, str, int]:
        return next(i for i, f in enumerate(folders) if cell.run_dir.is_relative_to(f)), cell.row, cell.seed

    return sorted(cells, key=order)


def listed(found: Iterable[Cell]) -> str:
    """Rows with their seeds, in words: ``tfn seed 1, 2; misa seed 3``."""
    seeds: dict[str, list[str]] = {}
    for cell in found:
        seeds.setdefault(cell.row, []).append(str(cell.seed))
    return "; ".join(f"{row} seed {', '.join(own)}" for row, own in seeds.items())


def _place(cfg: DictConfig, job: Sequence[str]) -> tuple[int, Path, str, Path]:
    """Of a job its seed, its run's folder, the hash of its config and its store, by the config of another seed."""
    for word in job:
        if word.startswith("seed="):
            cfg.seed = OverridesParser.create().parse_override(word).value()
    config = plain(cfg)
    return cfg.seed, Path(cfg.hydra.run.dir), config_hash(config), Path(config["data"]["path"])


def distinct(found: Iterable[Cell]) -> list[Cell]:
    """The cells, each once.

    Raises:
        UserError: two runs are of the same row and seed, or two cells are of the same folder.
    """
    by_place: dict[tuple[str, int], Cell] = {}
    by_folder: dict[Path, Cell] = {}
    for cell in found:
        if (other := by_folder.setdefault(cell.run_dir, cell)) != cell:
            raise UserError(
                f"{cell.run_dir} would be both {other.row} seed {other.seed} and {cell.row} seed {cell.seed}: leave "
                "out hydra.run.dir, or let it name model and seed"
            )
        if (other := by_place.setdefault((cell.row, cell.seed), cell)) != cell:
            raise UserError(
                f"two runs of {cell.row} seed {cell.seed}: {other.run_dir} and {cell.run_dir}; leave out one of them"
            )
    return list(by_place.values())
