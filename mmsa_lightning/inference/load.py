"""From a package to a :class:`Predictor`, without Lightning, Hydra or W&B. Nothing of a package is run or unpickled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mmsa_lightning import files
from mmsa_lightning.data import tokenizers, vocabularies
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import TEXT_ENCODER, About
from mmsa_lightning.inference.architecture import architecture, check_sizes
from mmsa_lightning.inference.archive import opened
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.predictor import Predictor


def load(where: str | Path, *, device: str = "cpu", revision: str | None = None, allow_code: bool = False) -> Predictor:
    """Load a package.

    Args:
        where: its folder or .zip, as ``mmsa package`` writes it, or ``user/name`` on the Hugging Face hub.
        device: where to compute, such as ``cpu`` or ``cuda``.
        revision: a branch, tag or commit on the hub.
        allow_code: a package may carry the file of its author's own model, which is run if this is true.

    Raises:
        UserError: there is no package, it is not whole, or it has code that is not allowed.
    """
    with opened(where, revision) as (about, folder):
        if about.code is not None and not allow_code:
            raise UserError(
                f"{where} carries code of its author, {about.code}: read it, and allow it (allow_code=True or "
                "--allow-code)"
            )
        with _naming(where), _code(about, folder) as code:
            models = [_model(about, folder, member.weights, code) for member in about.members]
            found = Predictor(about, models, _tokenizer(about, folder), device)
            _try(found)
            return found


@contextmanager
def _naming(where: str | Path) -> Iterator[None]:
    """Name the package in what is wrong with it, whatever that is."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # torch, transformers and tokenizers raise nearly anything on what is damaged
        raise UserError(f"{where} cannot be loaded ({type(error).__name__}: {error})") from error


@contextmanager
def _code(about: About, folder: Path) -> Iterator[Path | None]:
    """A folder with the file of the user's own model alone."""
    if about.code is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copyfile(folder / about.code, Path(temporary) / about.code)
        yield Path(temporary)


def _model(about: About, folder: Path, weights: str, code: Path | None) -> nn.Module:
    path = folder / weights
    with safe_open(path, "pt") as header:  # compares the sizes in its header with the file's
        shapes = {name: tuple(header.get_slice(name).get_shape()) for name in header.keys()}  # noqa: SIM118
    check_sizes(about, folder, code, shapes, path.stat().st_size)
    with torch.device("cpu"):
        model = architecture(about, folder, code).float()  # whatever the program's own defaults are
    found = load_file(path)
    for name, weight in model.state_dict().items():
        if found[name].dtype != weight.dtype:
            raise UserError(f"{name} is of {found[name].dtype} in the weights, of {weight.dtype} in the model")
        if not found[name].isfinite().all():
            raise UserError(f"{name} has weights that are infinite or not a number")
    model.load_state_dict(found)
    return model


def _try(predictor: Predictor) -> None:
    """Predict an utterance of one step: what a configuration says is not all in the shapes of weights."""
    dims = predictor.about.dims
    features = {m: np.zeros((1, width), np.float32) for m, width in dims.items() if width is not None}
    text = "a" if dims.get("text", 0) is None else None
    predictor.run(predictor.reader.read([Utterance("a first utterance", text, features=features)]))


def _tokenizer(about: About, folder: Path) -> Any | None:
    if about.vocabulary is None:
        return None
    settings = folder / TEXT_ENCODER / "tokenizer_config.json"
    if settings.is_file() and (named := [key for key in files.read_object(settings) if key.endswith("_file")]):
        raise UserError(f"{TEXT_ENCODER}/{settings.name} names a {named[0]}: take that out")
    found = tokenizers.tokenizer(str(folder / TEXT_ENCODER))
    if vocabularies.vocabulary_sha256(found) != about.vocabulary.sha256:
        raise UserError("its tokenizer has not the vocabulary that it says")
    return found
