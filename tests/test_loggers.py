"""How a run is filed in W&B."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from mmsa_lightning.loggers import build_loggers, close_loggers

NAMES = {"data": "mosi", "model": "tfn", "ablation": "full"}
CONFIG = {"seed": 1, "text": "bert", "text_encoder": "minilm", "logger": {"name": "wandb"}}


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., wandb.Run]]:
    """A function from a config and the user's own options to the run as W&B has it."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    loggers: list[Any] = []

    def build(config: dict[str, Any], **options: Any) -> wandb.Run:
        close_loggers(loggers, "success")
        seed = {"seed": config["seed"]}
        loggers[:] = build_loggers({"name": "wandb", "offline": True} | options, tmp_path, NAMES | seed, config)
        return loggers[0].experiment

    yield build
    close_loggers(loggers, "success")


def test_a_run_has_its_tags_and_the_seeds_of_a_row_are_one_group(filed: Callable[..., wandb.Run]) -> None:
    run = filed(CONFIG)
    assert set(run.tags) == {"mosi", "tfn", "full"}
    assert run.job_type == "train"
    assert run.name == "tfn-full-seed1"
    group = run.group
    assert group.startswith("mosi-tfn-full-")
    assert filed(CONFIG | {"seed": 2}).group == group
    assert filed(CONFIG | {"text_encoder": "bert-base-uncased"}).group != group


def test_the_users_own_words_win(filed: Callable[..., wandb.Run]) -> None:
    run = filed(CONFIG, group="mine", job_type="debug", tags=["a"])
    assert (run.group, run.job_type, run.tags) == ("mine", "debug", ("a",))
