"""Search the learning rates of several systems, each as long and as far around its published ones, on validation alone.

    python experiments/tuning.py --models lmf misa --trials 8 --name searched data=mosi text_encoder=minilm text=bert
    python train.py -m model=lmf,misa 'tuned=${model}_mosi_searched' data=mosi text_encoder=minilm text=bert seed=1,2,3

Each system is trained with its published rates, and with others that ``experiment=search`` draws from a third to three
times of each. The rates of the run with the lowest validation MAE become ``conf/tuned/<model>_<data>_<name>.yaml``, the
published ones, too, if they are best. The same command again goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from omegaconf import DictConfig

from mmsa_lightning import files
from mmsa_lightning.errors import one_line_errors
from mmsa_lightning.experiment import app, result
from mmsa_lightning.experiment.config import identifying, plain, read
from mmsa_lightning.experiment.overrides import composing

FACTOR = 3.0
TUNED = Path(__file__).parents[1] / "conf" / "tuned"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--trials", type=int, default=8, help="beside the published rates")
    parser.add_argument("--name", required=True, help="what follows model and data in the name of the file")
    parser.add_argument("--out", type=Path, default=TUNED, help="the folder to write to; default: conf/tuned")
    parser.add_argument("overrides", nargs="+", help="of all runs, data=… among them")
    args = parser.parse_args(argv)
    with one_line_errors():
        args.out.mkdir(parents=True, exist_ok=True)
        for model in args.models:
            print(tune(model, args.overrides, args.trials, args.name, args.out))


def tune(model: str, overrides: Sequence[str], trials: int, name: str, out: Path) -> Path:
    """Train, and write the file of the best rates.

    Args:
        model: of ``conf/model``.
        overrides: of all runs.
        trials: how many, beside the published rates.
        name: what follows model and data in the name of the file.
        out: the folder to write to.

    Returns:
        the file.
    """
    cfg = composed(model, overrides)
    data, tuned = cfg.hydra.runtime.choices.data, cfg.hydra.runtime.choices.tuned
    run_dir = Path(cfg.hydra.run.dir)
    app.main([f"model={model}", "ckpt_path=last", *overrides])
    searched = ["experiment=search", f"hydra.sweeper.n_trials={trials}", *space(cfg)]
    app.main(["-m", f"model={model}", *overrides, *searched])
    reference = validation(run_dir)
    own = settings(run_dir)
    tried = [path for path in run_dir.parent.iterdir() if path != run_dir and settings(path) == own]
    best = min([run_dir, *tried], key=validation)
    text = f"""\
# @package _global_
# python train.py model={model} data={data} tuned={model}_{data}_{name}
# Searched on validation by experiments/tuning.py, {datetime.date.today()}: {" ".join(overrides)}
# Published rates: MAE {reference:.4f}. Best of {len(tried)} trials around them: {min(map(validation, tried)):.4f}.
"""
    if tuned:
        text += f"defaults:\n  - {tuned}\n\n"
    rates = read(best / "config.yaml")["optim"]["lr"]
    path = out / f"{model}_{data}_{name}.yaml"
    files.write_text(path, text + yaml.safe_dump({"optim": {"lr": rates}}, sort_keys=False))
    return path


def composed(model: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a run with its published rates, and Hydra's part of it."""
    chosen = [f"model={model}", *overrides]
    with composing(chosen):
        return compose("train", chosen, return_hydra_config=True)


def space(cfg: DictConfig) -> list[str]:
    """What the search draws, and what else it would draw and shall not, as overrides."""
    config = plain(cfg)
    decays = [f"optim.weight_decay.{group}={decay}" for group, decay in config["optim"]["weight_decay"].items()]
    intervals = [
        f"optim.lr.{group}=tag(log, interval({rate / FACTOR:.3g}, {rate * FACTOR:.3g}))"
        for group, rate in config["optim"]["lr"].items()
    ]
    return [*intervals, *decays, f"data.batch_size={config['data']['batch_size']}"]


def validation(run_dir: Path) -> float:
    """The MAE of a finished run on validation."""
    mae: float = result.read(run_dir)["valid"]["mae"]
    return mae


def settings(run_dir: Path) -> dict[str, Any] | None:
    """What a finished run is, but for its learning rates; None if it is not finished."""
    return identifying(read(run_dir / "config.yaml"), ["optim.lr"]) if result.read(run_dir) else None


if __name__ == "__main__":
    main()
