"""Multimodal sentiment analysis on CMU-MOSI and CMU-MOSEI with PyTorch Lightning and Hydra."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmsa_lightning.inference.load import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """:func:`load`, when it is asked for: torch need not be imported for ``mmsa --help``."""
    if name in __all__:
        from mmsa_lightning.inference.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
