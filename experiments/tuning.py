"""Search settings of several systems, each as long and as far around its published ones, on validation alone.

    python experiments/tuning.py --models lmf misa --trials 10 --name searched data=mosi text_encoder=minilm text=bert
    python train.py -m model=lmf,misa 'tuned=${model}_mosi_searched' data=mosi text_encoder=minilm text=bert seed=1,2,3

Each system is trained as published, and with drawn settings: each learning rate from a third to three times of the
published one, the text encoder with its weight decay or without, and a patience that outlasts a plateau. The settings
of the run with the lowest validation MAE become ``conf/tuned/<model>_<data>_<name>.yaml``, the published ones, too, if
they are best. The same command again goes on where it was interrupted; ``--list`` prints the runs instead, to be
started side by side or on several machines.
"""

from __future__ import annotations

import argparse
import datetime
import math
import random
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from mmsa_lightning import files
from mmsa_lightning.errors import UserError, one_line_errors
from mmsa_lightning.experiment import app, result
from mmsa_lightning.experiment.config import plain
from mmsa_lightning.experiment.overrides import composing

FACTOR = 3.0
PATIENCE = 20  # epochs
# What is read: without it the found settings are those of another run.
READ = ("data.path", "text", "text_encoder", "modalities")
SEED = 1  # of the draws: each system's rates get the same factors
TUNED = Path(__file__).parents[1] / "conf" / "tuned"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--trials", type=int, default=10, help="beside the published settings, 1 or more")
    parser.add_argument("--name", required=True, help="what follows model and data in the name of the file")
    parser.add_argument("--out", type=Path, default=TUNED, help="the folder to write to; default: conf/tuned")
    parser.add_argument("--list", action="store_true", help="only print the runs, a command line each")
    parser.add_argument("overrides", nargs="+", help="of all runs, data=… among them")
    args = parser.parse_args(argv)
    if args.trials < 1:
        parser.error(f"--trials {args.trials}: give 1 or more")
    with one_line_errors():
        args.out.mkdir(parents=True, exist_ok=True)
        for model in args.models:
            if args.list:
                for run in runs(model, args.overrides, args.trials):
                    print(shlex.join(["python", "train.py", *run]))
            else:
                print(tune(model, args.overrides, args.trials, args.name, args.out))


def tune(model: str, overrides: Sequence[str], trials: int, name: str, out: Path) -> Path:
    """Train, and write the file of the best settings.

    Args:
        model: of ``conf/model``.
        overrides: of all runs.
        trials: how many, beside the published settings.
        name: what follows model and data in the name of the file.
        out: the folder to write to.

    Returns:
        the file.

    Raises:
        UserError: the file is there and of another search, or of one with more trials; the run with the published
            settings failed.
    """
    told = list(filter(None, map(_told, overrides)))
    words, read = " ".join(told), [word for word in told if word.partition("=")[0] in READ]
    data = composed(runs(model, overrides, 0)[0]).hydra.runtime.choices.data
    path = out / f"{model}_{data}_{name}.yaml"
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    if there and f": {words}\n" not in there:
        raise UserError(f"{path} is not of a search with {words}: give another --name, or move it away")
    if (more := re.search(r"the best of (\d+) drawn", there)) and int(more[1]) > trials:
        raise UserError(f"{path} is of {more[1]} trials, not {trials}: give as many, another --name, or move it away")
    published, *drawn = [(validation(run), run) for run in runs(model, overrides, trials)]
    if math.isinf(published[0]):
        raise UserError(f"{model}: its run with the published settings failed")
    best = composed(min([published, *drawn])[1])
    tuned = best.hydra.runtime.choices.tuned
    with composing(overrides):
        files_of_tuned = GlobalHydra.instance().config_loader().get_group_options("tuned")
    text = f"""\
# @package _global_
# python train.py model={model} data={data} {" ".join(read)} tuned={model}_{data}_{name}
# Searched on validation by experiments/tuning.py, {datetime.date.today()}: {words}
# MAE with the published settings: {published[0]:.4f}; with the best of {trials} drawn ones: {min(drawn)[0]:.4f}.
"""
    if tuned in files_of_tuned:  # Hydra passes over a default that is not there
        text += f"defaults:\n  - {tuned}\n\n"
    chosen = plain(best)
    rates, decay = chosen["optim"]["lr"], chosen["optim"]["weight_decay"]["bert"]
    settings = {"patience": chosen["patience"], "optim": {"lr": rates, "weight_decay": {"bert": decay}}}
    files.write_text(path, text + yaml.safe_dump(settings, sort_keys=False))
    return path


def _told(word: str) -> str:
    """An override as others read it: of a store its name alone, and nothing of where runs lie."""
    name, _, value = word.partition("=")
    return {"runs": "", "data.path": f"{name}={Path(value).name}"}.get(name, word)


def runs(model: str, overrides: Sequence[str], trials: int) -> list[list[str]]:
    """The overrides of each run: with the published settings, and with drawn ones."""
    published = [f"model={model}", "ckpt_path=last", *overrides]
    optim = plain(composed(published))["optim"]
    generator = random.Random(SEED)
    drawn = []
    for _ in range(trials):
        rates = {group: rate * FACTOR ** generator.uniform(-1, 1) for group, rate in optim["lr"].items()}
        decay = generator.choice([optim["weight_decay"]["bert"], 0.0])
        words = [f"optim.lr.{group}={rate:.3g}" for group, rate in rates.items()]
        drawn.append([*published, *words, f"optim.weight_decay.bert={decay}", f"patience={PATIENCE}"])
    return [published, *drawn]


def validation(run: Sequence[str]) -> float:
    """Train, unless it is done; the MAE on validation, infinite where the run failed, which says why."""
    try:
        app.main(list(run))
    except SystemExit as end:
        if end.code != app.MISTAKE:  # it was asked to stop
            raise
        return math.inf
    found = result.read(Path(composed(run).hydra.run.dir))
    return math.inf if found is None else float(found["valid"]["mae"])


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config of a run, and Hydra's part of it."""
    with composing(overrides):
        return compose("train", list(overrides), return_hydra_config=True)


if __name__ == "__main__":
    main()
