"""What MMSA 2.2.1's own code reaches on the utterances of a store, as it trains and chooses by itself.

    mmsa data encode stores/mosi.h5 --text-encoder minilm
    TQDM_DISABLE=1 python experiments/benchmarks/originals.py --store stores/mosi_minilm.h5 --out originals_runs.csv

Settings are MMSA's for MOSI; audio and vision are standardised, as ours are. Models that read tokens read them with
MiniLM, which MMSA fine-tunes; the others read the features of the text that are in the store, which
``mmsa data encode`` made with the same encoder, padded in front: their last step sums an utterance up, and is a word
then. Its MAG-BERT needs transformers below 5. What is there already is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import MMSA
import source
import torch
from MMSA.config import get_config_regression
from MMSA.data_loader import MMDataLoader
from MMSA.models import AMIO
from MMSA.trains import ATIO
from MMSA.utils import setup_seed

from mmsa_lightning import files
from mmsa_lightning.models.layers import minilm

WIDTH = 384  # of MiniLM; MMSA's code has BERT-base's in places
MODELS = {"tfn": "tfn", "mult": "mult", "misa": "misa", "mag_bert": "bert_mag", "self_mm": "self_mm"}  # its names
MAGS_ENCODER = "bert-base-uncased"  # stands in its MAG-BERT's code, which looks for a folder of this name first
READ_FEATURES = {"tfn", "mult"}
SHOWN = {"mae": "MAE", "corr": "Corr", "acc7": "Mult_acc_7", "acc2_has0": "Has0_acc_2", "acc2_non0": "Non0_acc_2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="with tokens, and text encoded by MiniLM")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True, help="a CSV, a row a run")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.modules["MMSA.trains.singleTask.MULT"].ReduceLROnPlateau = _plateau  # type: ignore[attr-defined]
    store, out = args.store.resolve(), args.out.resolve()
    rows = files.read_rows(out) if out.is_file() else []
    done = {(row["model"], row["seed"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(MAGS_ENCODER).symlink_to(minilm.directory())
        front, back = Path(folder) / "front.pkl", Path(folder) / "back.pkl"
        source.write(front, store, scaled=True, front=True)
        source.write(back, store, scaled=True)
        for seed, model in itertools.product(args.seeds, args.models):
            if (model, str(seed)) not in done:
                pickle = front if model in READ_FEATURES else back
                rows.append({"model": model, "seed": seed, **run(model, seed, pickle)})
                files.write_rows(out, rows)


def run(model: str, seed: int, pickle: Path) -> dict[str, float]:
    """Train by MMSA's loop, and measure test with the weights that it chose; figures as MMSA rounds them."""
    args = get_config_regression(
        MODELS[model], "mosi", Path(MMSA.__file__).parent / "config" / "config_regression.json"
    )
    args.update(  # which sets attributes, too
        {
            "featurePath": str(pickle),
            "custom_feature": None,
            "feature_T": None,
            "feature_A": None,
            "feature_V": None,
            "need_data_aligned": True,
            "pretrained": str(minilm.directory()),
            "train_mode": "regression",
            "device": torch.device("cpu"),
            "model_save_path": pickle.with_name("model.pth"),
            "cur_seed": seed,
        }
    )
    if "text_out" in args and model == "self_mm":
        args["text_out"] = WIDTH
    setup_seed(seed)
    loaders = MMDataLoader(args, num_workers=0)
    args["train_samples"] = len(loaders["train"].dataset)
    args["feature_dims"][0] = WIDTH
    network = AMIO(args)
    if model == "misa":
        network.Model.project_t.project_t = torch.nn.Linear(WIDTH, args.hidden_size)
    trainer = ATIO().getTrain(args)
    begun = time.time()
    trainer.do_train(network, loaders)
    seconds = time.time() - begun
    network.load_state_dict(torch.load(args["model_save_path"]))
    found: dict[str, Any] = trainer.do_test(network, loaders["test"], mode="TEST")
    return {name: float(found[theirs]) for name, theirs in SHOWN.items()} | {"seconds": round(seconds, 1)}


def _plateau(*args: Any, verbose: bool, **kwargs: Any) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """As torch had it when MMSA was written: ``verbose``, which printed, is gone since."""
    return torch.optim.lr_scheduler.ReduceLROnPlateau(*args, **kwargs)


if __name__ == "__main__":
    main()
