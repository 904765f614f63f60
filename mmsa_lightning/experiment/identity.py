"""What a run is known by: its settings, data, code and the weights that its text encoder starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.experiment.components import plugin_hash
from mmsa_lightning.experiment.config import config_hash
from mmsa_lightning.models.layers.pretrained import encoder_hash
from mmsa_lightning.training.trainer import precision, processes

PARTS = {
    "config_hash": "settings",
    "data_hash": "data",
    "protocol": "metrics",
    "plugin_hash": "code",
    "encoder_hash": "weights of the text encoder",
    "processes": "numbers of processes",
    "precision": "precision",
}


def text_encoder(config: dict[str, Any], data: StoreDataModule) -> str | None:
    """The name of the BERT that a plain config's model reads tokens with; None where it reads none."""
    name = config["model"].get("text_encoder")
    return name if isinstance(name, str) and data.dims.get("text", 0) is None else None


def identity(config: dict[str, Any], data: StoreDataModule, plugins: Path | None) -> dict[str, Any]:
    """Each of :data:`PARTS`; None for code that is all the project's, and for weights that are not here."""
    encoder = text_encoder(config, data)
    return {
        "config_hash": config_hash(config),
        "data_hash": data.store.meta.content_sha256,
        "protocol": data.store.meta.protocol,  # which follows from the data set's name, too
        "plugin_hash": plugin_hash(config["model"], plugins),
        "encoder_hash": encoder_hash(encoder) if encoder else None,
        # Neither of which the config need tell: trainer.devices=auto, trainer.precision=auto
        "processes": processes(config["trainer"]),
        "precision": precision(config["trainer"]),
    }


def differences(found: dict[str, Any], now: dict[str, Any]) -> str:
    """In which of :data:`PARTS` a result or a checkpoint is another run's, in words; empty if in none.

    What was not written down (by an older version), and weights that are not on this machine, are not compared.
    """
    known = [part for part in PARTS if part in found and part in now]
    other = [part for part in known if found[part] != now[part]]
    if None in (found.get("encoder_hash"), now.get("encoder_hash")):
        other = [part for part in other if part != "encoder_hash"]
    return " and ".join(PARTS[part] for part in other)
