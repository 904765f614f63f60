"""Parameter groups of Table 2: bert, audio, video and other, one of the objective's, and the optimiser over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from mmsa_lightning.annotations import fits
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.training.schedules import build_schedule

ALGORITHMS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
GROUPS = ("bert", "audio", "video", "other")
FROM_SCRATCH = 1e-4  # lower rates are those of fine-tuning: Table 2 has 5e-5 for BERT


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
    model: nn.Module,
    lr: Mapping[str, float],
    weight_decay: Mapping[str, float],
    layer_decay: float | None = None,
    weights: Iterable[nn.Parameter] = (),
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group. BERT's biases and layer norms have their own, without decay.

    Args:
        model: the model.
        lr, weight_decay: for each of :data:`GROUPS`.
        layer_decay: d: the j-th of n layers of a text encoder has lr · d^(n - j), its embeddings lr · d^n. There is one
            group for each of these rates then, and they have one name; the last has lr itself.
        weights: the parameters of the objective, such as learned weights of tasks: a group ``weights`` with the rate of
            ``other``, without decay.

    Returns:
        groups with params, name, lr and weight_decay; empty ones are left out.

    Raises:
        ValueError: ``layer_decay`` is given, but no text encoder trains, or its layers are not known or not distinct.
    """
    above = {} if layer_decay is None else _layers_above(model)
    if layer_decay is not None and not any(p.requires_grad and id(p) in above for p in model.parameters()):
        raise ValueError(f"optim.layer_decay={layer_decay}: no layer of a text encoder trains here: give null")
    norms = {id(p) for module in model.modules() if type(module).__name__.endswith("Norm") for p in module.parameters()}
    groups: dict[tuple[str, int], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group = group_of(name)
        decays = group != "bert" or not (name.endswith("bias") or id(parameter) in norms)
        label = group if decays else f"{group}_no_decay"
        decay = weight_decay[group] if decays else 0.0
        layers = above.get(id(parameter), 0)
        rate = lr[group] * (layer_decay or 1.0) ** layers
        own = {"params": [], "name": label, "lr": rate, "weight_decay": decay}
        groups.setdefault((label, -layers), own)["params"].append(parameter)
    if weights := list(weights):
        groups["weights", 0] = {"params": weights, "name": "weights", "lr": lr["other"], "weight_decay": 0.0}
    return [groups[key] for key in sorted(groups)]


def _layers_above(model: nn.Module) -> dict[int, int]:
    """How many layers of its text encoder come after a parameter, by its id; those after all layers are left out."""
    found: dict[int, int] = {}
    for encoder in (module for module in model.modules() if isinstance(module, TextEncoder)):
        layers = encoder.layers
        if not layers:
            raise ValueError("optim.layer_decay: the layers of this text encoder cannot be told apart: give null")
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError("optim.layer_decay: the layers of this text encoder share their weights: give null")
        for depth, modules in enumerate([encoder.embeddings, *([layer] for layer in layers)]):
            found |= {id(p): len(layers) - depth for module in modules for p in module.parameters()}
    return found


def rates_of_fine_tuning(model: nn.Module, lr: Mapping[str, float]) -> str | None:
    """One line where no pretrained text encoder trains, yet every rate is as low as for one; else None.

    With MAG-BERT's published rates over frozen features, its model of CH-SIMS ends far from where it could.
    """
    trained = {group_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    highest = max((lr[group] for group in trained), default=0.0)
    if "bert" in trained or not 0 < highest < FROM_SCRATCH:
        return None
    return (
        f"optim.lr: the highest rate is {highest:g}, as for fine-tuning, but no pretrained encoder trains here; "
        "optim.lr.other=1e-3 may be far better"
    )


def check(options: Mapping[str, Any]) -> None:
    """Check the ``optim`` part of a config.

    Raises:
        ValueError: what is wrong with it.
    """
    if set(options) != {"algorithm", "lr", "weight_decay", "layer_decay", "schedule"}:
        raise ValueError(
            f"optim holds {', '.join(options)}: give algorithm, lr, weight_decay, layer_decay and schedule"
        )
    if options["algorithm"] not in ALGORITHMS:
        raise ValueError(f"optim.algorithm={options['algorithm']}: choose one of {', '.join(ALGORITHMS)}")
    for name in ("lr", "weight_decay"):
        values = options[name]
        if not fits(values, dict[str, float]) or set(values) != set(GROUPS) or min(values.values()) < 0:
            raise ValueError(f"optim.{name}={values}: give a number from 0 for each of {', '.join(GROUPS)}")
    layer_decay = options["layer_decay"]
    if layer_decay is not None and not (fits(layer_decay, float) and 0 < layer_decay <= 1):
        raise ValueError(f"optim.layer_decay={layer_decay}: give null or a number above 0, up to 1")
    if options["schedule"] is not None:
        build_schedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), 1, options["schedule"])


def build_optimizer(
    model: nn.Module,
    *,
    algorithm: str,
    lr: Mapping[str, float],
    weight_decay: Mapping[str, float],
    layer_decay: float | None = None,
    weights: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """A fused optimiser over :func:`parameter_groups`.

    Args:
        model: the model.
        algorithm: ``adam`` (section 3.3), with L2 decay as in Self-MM, or ``adamw``, with decoupled decay.
        lr, weight_decay, layer_decay, weights: see there.
    """
    optimizer = ALGORITHMS[algorithm](parameter_groups(model, lr, weight_decay, layer_decay, weights), fused=True)
    # Fused, it could unscale fp16 gradients itself, and Lightning then refuses to clip them. Let the scaler do it.
    optimizer._step_supports_amp_scaling = False
    return optimizer
