"""The files of a pretrained encoder: which of them are read, whether they are whole, and their SHA-256."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm, mpnet

# The names of transformers.utils, which takes half a second to import. It reads the first of the weights that is there.
CONFIG_NAME = "config.json"
SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME = "model.safetensors", "model.safetensors.index.json"
WEIGHTS_NAME, WEIGHTS_INDEX_NAME = "pytorch_model.bin", "pytorch_model.bin.index.json"
WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)


PACKAGED = {"minilm": minilm.directory, "mpnet": mpnet.directory}
ADAPTER = "adapter_config.json"  # of peft, which transformers would load unasked where peft is installed
MODULES = "modules.json"  # of sentence-transformers: the encoder is the first of them


def place(name: str) -> str:
    """Where transformers finds an encoder: the folder of a packaged one, a local one, or a name on the hub.

    Args:
        name: one of :data:`PACKAGED`, a directory, or a name on the Hugging Face hub. In a directory of
            sentence-transformers the encoder may have a folder of its own.
    """
    if name in PACKAGED:
        return str(PACKAGED[name]())
    modules = Path(name) / MODULES
    if not modules.is_file() or (Path(name) / CONFIG_NAME).is_file():
        return name
    files.check_content(modules)
    try:
        return str(Path(name) / json.loads(modules.read_bytes())[0]["path"])
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{modules} names no encoder: copy or download it again") from error


def check_files(name: str) -> None:
    """Check that the files of an encoder on this machine are whole, as far as a quick look can tell.

    Args:
        name: see :func:`place`.

    Raises:
        FileNotFoundError: a local folder lacks its configuration or weights.
        UserError: a file is empty, a Git LFS pointer, cut off or damaged, a part of the weights is missing, or there is
            an adapter of peft.
    """
    found = _files(name)
    if adapter := _find(name, ADAPTER):
        raise UserError(f"{adapter}: weights of peft lie beside the encoder's own; merge them, or move them away")
    if Path(place(name)).is_dir():
        if CONFIG_NAME not in [path.name for path in found]:
            raise FileNotFoundError(f"it has no {CONFIG_NAME}")
        if len(found) < 2:
            raise FileNotFoundError(f"it has neither {SAFE_WEIGHTS_NAME} nor {WEIGHTS_NAME}")
    for path in found:
        if path.suffix == ".json":
            files.read_object(path)
        else:
            files.check_content(path)
            _check_weights(path)


def encoder_hash(name: str) -> str | None:
    """SHA-256 over an encoder's configuration and weights; None where they are not on this machine, or not whole.

    Args:
        name: see :func:`place`. For a name on the hub, the last snapshot that was downloaded counts.
    """
    try:
        found = _files(name)
    except UserError:
        return None
    if len(found) < 2:
        return None
    return hashlib.sha256("".join(f"{path.name} {files.sha256(path)}\n" for path in found).encode()).hexdigest()


def _check_weights(path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):  # compares the sizes in its header with the file's
                return
        weights = torch.load(path, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(path))
    except SafetensorError as error:
        raise UserError(f"{path} is cut off or damaged ({error}): copy or download it again") from error
    except Exception as error:  # torch raises nearly anything on a damaged file
        raise UserError(
            f"{path} is cut off or damaged, or holds more than weights ({type(error).__name__}): copy or download it "
            "again"
        ) from error
    if not isinstance(weights, dict):
        raise UserError(f"{path} holds no dict of weights, but a {type(weights).__name__}")


def _files(name: str) -> list[Path]:
    """The files on this machine: the configuration, the weights or their index, and the parts that the index names."""
    weights = next((path for path in (_find(name, file) for file in WEIGHTS) if path), None)
    found = [path for path in (_find(name, CONFIG_NAME), weights) if path]
    if weights is None or weights.suffix != ".json":
        return found
    parts = files.read_object(weights).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise UserError(f"{weights} names no files of weights: copy or download it again")
    for part in sorted({str(part) for part in parts.values()}):
        if path := _find(name, part):
            found.append(path)
        elif Path(place(name)).is_dir():
            raise UserError(f"{weights} names {part}, which is not in the same folder: copy or download it, too")
        else:
            return []  # not downloaded yet
    return found


def _find(name: str, file: str) -> Path | None:
    where = Path(place(name))
    if where.is_dir():
        return where / file if (where / file).is_file() else None
    try:
        cached = try_to_load_from_cache(name, file)
    except ValueError:  # not a name that the hub allows
        return None
    return Path(cached) if isinstance(cached, str) else None
