"""What a run's configuration comes to."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir

from mmsa_lightning.experiment.config import config_dir, plain


def composed(*overrides: str) -> dict[str, Any]:
    """The plain config of some overrides."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return plain(compose("train", list(overrides)))
