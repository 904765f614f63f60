"""The model that a package describes, before its weights are in it."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.components import build
from mmsa_lightning.inference.about import TEXT_ENCODER, About
from mmsa_lightning.models.layers.absent import learn_absent
from mmsa_lightning.models.layers.text_encoder import without_weights

LARGEST = 1 << 16  # of a number in a configuration that is no dimension of the weights, such as a length
SPARE = 1 << 24  # bytes of what is computed and not in the file, such as positions
CALLS = 50  # of torch for each weight: it takes 5 to 10 to make one
COUNTED = re.compile(r"layer|block|group|depth")  # of which a model has so many pieces, one after the other
FREE = re.compile(r"theta$")  # of which there is nothing as large, such as the base of rotary positions

_alone = threading.Lock()  # the state of torch's random numbers is one for all threads


def architecture(about: About, folder: Path, code: Path | None = None) -> nn.Module:
    """The model without its weights, in evaluation mode, and without what only training needs.

    Args:
        about: what the package says of itself.
        folder: where its text encoder's configuration lies, as :data:`TEXT_ENCODER`.
        code: the folder of the user's own model.

    Raises:
        UserError: there is no such model, or it does not take these arguments.
    """
    encoder = str(folder / TEXT_ENCODER) if about.text_encoder is not None else "none"
    node = about.model | ({"text_encoder": encoder} if "text_encoder" in about.model else {})
    with _alone, torch.random.fork_rng(devices=[]), without_weights():
        model: nn.Module = build("model", node, plugins=code, where_null={"limit": about.limit}, dims=about.dims)
    if about.absent == "learnt":
        learn_absent(model, about.dims)
    for name in getattr(model, "training_only", ()):
        parent, _, last = name.rpartition(".")
        delattr(model.get_submodule(parent), last)
    return model.eval()


def check_sizes(about: About, folder: Path, code: Path | None, shapes: dict[str, tuple[int, ...]], size: int) -> None:
    """Check that the model has just these weights, before memory is taken for it.

    Args:
        about, folder, code: as above.
        shapes: of the weights in the file.
        size: of the file, in bytes.

    Raises:
        UserError: it has not.
    """
    configured = files.read_object(folder / TEXT_ENCODER / "config.json") if about.text_encoder is not None else {}
    largest = max((side for shape in shapes.values() if math.prod(shape) for side in shape), default=0)
    for name, number in _numbers({"model": about.model, TEXT_ENCODER: configured}):
        if abs(number) > (len(shapes) if COUNTED.search(name) else max(LARGEST, largest)) and not FREE.search(name):
            raise UserError(f"{name}={number} does not fit its {len(shapes)} weights")
    with torch.device("meta"), _Bounded(CALLS * (len(shapes) + CALLS), size + SPARE):
        model = architecture(about, folder, code)
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if shapes != expected:
        name = min(set(shapes.items()) ^ set(expected.items()))[0]
        raise UserError(f"{name} has the shape {shapes.get(name)} in the weights, {expected.get(name)} in the model")
    needed = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    if needed > size + SPARE:
        raise UserError(f"the model needs {needed} bytes of memory, but its weights have {size}")


class _Bounded(TorchFunctionMode):
    """Ends what calls torch more often, or makes a larger tensor, than the weights allow.

    Nothing is computed on the meta device, but layers of layers of layers take time, and some tables are made in numpy
    once there is a tensor of their size.

    Args:
        calls: of torch.
        size: of a tensor, in bytes.
    """

    def __init__(self, calls: int, size: int) -> None:
        super().__init__()
        self.left, self.size = calls, size

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.left -= 1
        if self.left < 0 or (isinstance(made, Tensor) and made.numel() * made.element_size() > self.size):
            raise UserError("the model needs more than its weights have")
        return made


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number in a plain value, by its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, value
