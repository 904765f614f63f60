"""The best weights of a finished run with its data, if both are still what they were."""

from __future__ import annotations

from pathlib import Path

import torch

from mmsa_lightning import files
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.assembly import build_data, build_module
from mmsa_lightning.experiment.components import plugin_hash
from mmsa_lightning.experiment.config import of_run
from mmsa_lightning.experiment.identity import differences, text_encoder
from mmsa_lightning.models.layers.pretrained import encoder_hash
from mmsa_lightning.training.checkpoints import BEST
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.trainer import quieten

SHOWN = 8  # predictions that are compared
NEAR = 0.02  # of the largest label: as far as half precision moves a prediction


def restore(run_dir: Path, plugins: Path | None = None) -> tuple[SentimentModule, StoreDataModule]:
    """The best weights of a finished run, and its data.

    Args:
        run_dir: of the run.
        plugins: the folder of the user's own model.

    Raises:
        UserError: ``run_dir`` holds no finished run, or its data or its code are no longer there.
    """
    quieten()
    finished = result.read(run_dir)
    if finished is None:
        raise UserError(f"{run_dir} holds no finished run ({result.NAME})")
    config = of_run(run_dir)
    data = build_data(config)
    if data.store.meta.content_sha256 != finished["data_hash"]:
        raise UserError(f"{run_dir} was trained on other data than {data.path} now holds")
    name = text_encoder(config, data)
    if other := differences(finished, {"encoder_hash": encoder_hash(name) if name else None}):
        raise UserError(f"{run_dir} started from other {other} than {config['model']['text_encoder']} now has")
    if other := differences(finished, {"plugin_hash": plugin_hash(config["model"], plugins)}):
        where = (
            f"{plugins} now has" if plugins else "the project's: give the folder of your own model, --config-dir DIR"
        )
        raise UserError(f"{run_dir} was made with other {other} than {where}")
    module = build_module(config, data, plugins)
    path = run_dir / "checkpoints" / BEST
    try:
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    except Exception as error:
        raise UserError(f"{path} does not hold the weights of this run ({error})") from error
    _check_predictions(run_dir, module, data)
    return module, data


def _check_predictions(run_dir: Path, module: SentimentModule, data: StoreDataModule) -> None:
    """See whether some predictions are still those that the run left: a version that reads data otherwise is told of.

    Raises:
        UserError: they are not, nor near enough for another precision.
    """
    with files.as_written(path := run_dir / result.PREDICTIONS):
        rows = files.read_rows(path)
        left = {row["id"]: float(row["prediction"]) for row in rows if row["split"] == "valid"}
        if not left.keys() >= set(data.store.splits["valid"].ids):
            raise ValueError("it lacks utterances of valid")
    positions = list(range(min(SHOWN, len(left))))
    module.eval()
    with torch.no_grad():
        now = module.model(data.split("valid")[positions]).prediction.tolist()
    for i, prediction in zip(positions, now, strict=True):
        id = data.store.splits["valid"].ids[i]
        if abs(prediction - left[id]) > NEAR * data.store.meta.label_limit:
            raise UserError(
                f"{run_dir}: its weights now predict {prediction:.3f} for {id}, but {left[id]:.3f} is in "
                "predictions.csv: the run was made by another version of mmsa-lightning; run it again"
            )
