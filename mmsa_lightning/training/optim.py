"""Parameter groups of Table 2: bert, audio, video and other, and the optimiser over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mmsa_lightning.annotations import fits
from mmsa_lightning.training.schedules import build_schedule

ALGORITHMS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
GROUPS = ("bert", "audio", "video", "other")
NO_DECAY = ("bias", "LayerNorm.weight")


def group_of(name: str) -> str:
    """The group of a parameter, by its name in the model.

    Whatever lies under an attribute ``bert`` is BERT's; ``encoders.audio`` and ``encoders.vision`` are the other two
    encoders, vision under the paper's name, video; all else is ``other``.
    """
    path = name.split(".")
    if "bert" in path:
        return "bert"
    if path[:2] == ["encoders", "audio"]:
        return "audio"
    return "video" if path[:2] == ["encoders", "vision"] else "other"


def parameter_groups(
    model: nn.Module, lr: Mapping[str, float], weight_decay: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group. BERT's biases and layer norms have their own, without decay.

    Args:
        model: the model.
        lr, weight_decay: for each of :data:`GROUPS`.

    Returns:
        groups with params, name, lr and weight_decay; empty ones are left out.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group = group_of(name)
        decays = group != "bert" or not name.endswith(NO_DECAY)
        label = group if decays else f"{group}_no_decay"
        decay = weight_decay[group] if decays else 0.0
        groups.setdefault(label, {"params": [], "name": label, "lr": lr[group], "weight_decay": decay})
        groups[label]["params"].append(parameter)
    return [groups[label] for label in sorted(groups)]


def check(options: Mapping[str, Any]) -> None:
    """Check the ``optim`` part of a config.

    Raises:
        ValueError: what is wrong with it.
    """
    if set(options) != {"algorithm", "lr", "weight_decay", "schedule"}:
        raise ValueError(f"optim holds {', '.join(options)}: give algorithm, lr, weight_decay and schedule")
    if options["algorithm"] not in ALGORITHMS:
        raise ValueError(f"optim.algorithm={options['algorithm']}: choose one of {', '.join(ALGORITHMS)}")
    for name in ("lr", "weight_decay"):
        values = options[name]
        if not fits(values, dict[str, float]) or set(values) != set(GROUPS) or min(values.values()) < 0:
            raise ValueError(f"optim.{name}={values}: give a number from 0 for each of {', '.join(GROUPS)}")
    if options["schedule"] is not None:
        build_schedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), 1, options["schedule"])


def build_optimizer(
    model: nn.Module, *, algorithm: str, lr: Mapping[str, float], weight_decay: Mapping[str, float]
) -> torch.optim.Optimizer:
    """A fused optimiser over :func:`parameter_groups`.

    Args:
        model: the model.
        algorithm: ``adam`` (section 3.3), with L2 decay as in Self-MM, or ``adamw``, with decoupled decay.
        lr, weight_decay: for each of :data:`GROUPS`.
    """
    optimizer = ALGORITHMS[algorithm](parameter_groups(model, lr, weight_decay), fused=True)
    # Fused, it could unscale fp16 gradients itself, and Lightning then refuses to clip them. Let the scaler do it.
    optimizer._step_supports_amp_scaling = False
    return optimizer
