"""What a user without the extra ``media`` reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mmsa_lightning.errors import UserError

PACKAGES = ("av", "librosa", "pocketsphinx", "ai_edge_litert", "silero_vad", "anyascii")


def installed() -> bool:
    """Whether the packages of the extra are there."""
    return all(find_spec(package) is not None for package in PACKAGES)


@contextmanager
def required() -> Iterator[None]:
    """Turn a missing package into how to install it.

    Raises:
        UserError: one of the extra's packages is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        install = "pip install 'mmsa-lightning[media]'"
        raise UserError(f"videos need the package {package}; install it with: {install}") from error
