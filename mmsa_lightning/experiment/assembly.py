"""From a config to what a run is made of: its data, and its model with objective and optimiser."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.missing import read as read_missing
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.components import build
from mmsa_lightning.models.layers import adaptation
from mmsa_lightning.models.layers.absent import learn_absent
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.training import optim
from mmsa_lightning.training.module import SentimentModule
from mmsa_lightning.training.protocols import PROTOCOLS
from mmsa_lightning.training.schedules import build_schedule


def build_data(config: dict[str, Any]) -> StoreDataModule:
    """The data module of a checked plain config, its store open.

    Raises:
        UserError: the store is not there, or lacks what the config asks for, or cannot miss what it says.
    """
    try:
        missing = read_missing(config["missing"])
    except ValueError as error:
        raise UserError(str(error)) from error
    given = {key: config[key] for key in ("text", "modalities", "seed")}
    data: StoreDataModule = build("data", config["data"], **given)
    data.prepare_data()
    data.setup()
    data.set_missing(missing)
    return data


def build_module(config: dict[str, Any], data: StoreDataModule, plugins: Path | None) -> SentimentModule:
    """The training module of a checked plain config: model, objective, and what builds the optimiser.

    Args:
        config: of the run.
        data: that it is trained on; widths of the inputs and the limit of labels follow from it.
        plugins: the folder of the user's own model.

    Raises:
        UserError: the config asks for what the model, its text encoder or the data do not have.
    """
    limit = {"limit": data.store.meta.label_limit}
    model = build("model", config["model"], plugins=plugins, where_null=limit, dims=data.dims)
    if getattr(model, "needs_alignment", False) and not data.aligned:
        raise UserError(
            f"{', '.join(data.dims)} of {data.path} are not aligned, but this model needs aligned data: choose another "
            "(see mmsa models), or interactive_attention with model.values=source"
        )
    if data.missing.absent == "learnt":
        learn_absent(model, data.dims)
    encoders = [m for m in model.modules() if isinstance(m, TextEncoder)]
    for encoder in encoders:
        data.check_encoder(encoder.name, encoder.vocabulary_size, encoder.positions)
    try:
        adaptation.check(config["encoder"])
        for encoder in encoders:
            adaptation.adapt(encoder, **config["encoder"])
    except ValueError as error:
        raise UserError(str(error)) from error
    if not encoders and (given := [n for n, v in config["encoder"].items() if v != adaptation.UNCHANGED[n]]):
        raise UserError(
            f"encoder.{given[0]}={config['encoder'][given[0]]}: this model reads no tokens with a text encoder that it "
            "could change (text=bert does); leave it out"
        )
    objective = build("objective", config["objective"], where_null=limit)
    labels = torch.from_numpy(data.store.splits["train"].label)
    try:
        objective.setup(labels, getattr(model, "feature_widths", {}))
    except ValueError as error:
        raise UserError(f"objective: {error}") from error
    try:
        optim.check(config["optim"])
        rates = {name: config["optim"][name] for name in ("lr", "weight_decay", "layer_decay")}
        optim.parameter_groups(model, **rates)  # sees now whether the model has layers for them
    except ValueError as error:
        raise UserError(str(error)) from error
    options = dict(config["optim"])
    schedule = options.pop("schedule") and functools.partial(build_schedule, options=config["optim"]["schedule"])
    optimizer = functools.partial(optim.build_optimizer, weights=[*objective.parameters()], **options)
    return SentimentModule(model, objective, optimizer, config["seed"], schedule, PROTOCOLS[data.store.meta.protocol])
