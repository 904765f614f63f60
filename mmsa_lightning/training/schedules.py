"""How the learning rates change over a run."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mmsa_lightning.annotations import describe, fits


def linear(optimizer: Optimizer, steps: int, *, warmup: float) -> dict[str, Any]:
    """Linear warm-up from 0 over the first ``warmup`` share of all ``steps``, then linear decay to 0.

    Returns:
        what Lightning takes as a schedule.

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0 <= warmup <= 1:
        raise ValueError(f"warmup={warmup}: give a share of all steps, from 0 to 1")
    from transformers import get_linear_schedule_with_warmup  # which brings peft, where it is there

    return {"scheduler": get_linear_schedule_with_warmup(optimizer, int(warmup * steps), steps), "interval": "step"}


def plateau(optimizer: Optimizer, steps: int, *, factor: float, patience: int) -> dict[str, Any]:
    """Multiply the rates by ``factor`` when the validation MAE has not improved for more than ``patience`` epochs.

    An improvement is one of 0.01 %, as torch and the original have it.

    Lightning would step it after the epoch's checkpoint is written, and a resumed run would miss that step. So
    Lightning is told never to; :class:`SentimentModule` does it, before the checkpoint.

    Returns:
        what Lightning takes as a schedule.

    Raises:
        ValueError: a factor outside (0, 1), a negative patience.
    """
    if not 0 < factor < 1 or patience < 0:
        raise ValueError(f"factor={factor}, patience={patience}: give a factor between 0 and 1 and a patience from 0")
    scheduler = ReduceLROnPlateau(optimizer, factor=factor, patience=patience)
    return {"scheduler": scheduler, "monitor": "valid/mae", "frequency": sys.maxsize}


SCHEDULES: dict[str, Callable[..., dict[str, Any]]] = {"linear": linear, "plateau": plateau}
SPREAD = {"linear"}  # the rate at a step depends on how many steps there will be


def build_schedule(optimizer: Optimizer, steps: int, options: dict[str, Any]) -> dict[str, Any]:
    """The schedule that the ``optim.schedule`` part of a config describes, for a run of ``steps`` optimiser steps.

    Args:
        options: ``name``, one of :data:`SCHEDULES`, and its arguments.

    Raises:
        ValueError: what is wrong with the options.
    """
    arguments = dict(options) if isinstance(options, dict) else {}
    build = SCHEDULES.get(arguments.pop("name", None))
    if build is None:
        raise ValueError(f"optim.schedule={options}: give null, or a mapping with a name of {', '.join(SCHEDULES)}")
    hints = typing.get_type_hints(build)
    wanted = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if set(arguments) != set(wanted) or not all(fits(arguments[name], hints[name]) for name in wanted):
        takes = ", ".join(f"{name} ({describe(hints[name])})" for name in wanted)
        raise ValueError(f"optim.schedule={options}: {build.__name__} takes {takes}")
    try:
        return build(optimizer, steps, **arguments)
    except ValueError as error:
        raise ValueError(f"optim.schedule: {error}") from error
