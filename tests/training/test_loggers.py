"""How a run is filed in W&B."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.config import row_hash
from mmsa_lightning.training.loggers import build_loggers, close_loggers

pytestmark = pytest.mark.slow

NAMES = {"data": "mosi", "model": "tfn", "ablation": "full"}
CONFIG = {"seed": 1, "text": "bert", "text_encoder": "minilm", "logger": {"name": "wandb"}}


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., wandb.Run | None]]:
    """A function from a config and the user's own options to the run as W&B has it, None where it has none.

    Nobody is logged in, and nothing but loopback is asked.
    """
    wandb.teardown()  # it reads variables and files once, and monkeypatch would bring back the way to its dead client
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    loggers: list[Any] = []

    def build(config: dict[str, Any], **options: Any) -> wandb.Run | None:
        close_loggers(loggers, "success")
        seed = {"seed": config["seed"]}
        loggers[:] = build_loggers({"name": "wandb"} | options, tmp_path, NAMES | seed, config, row=row_hash(config))
        return loggers[0].experiment if loggers else None

    yield build
    close_loggers(loggers, "success")
    wandb.teardown()


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


@pytest.mark.parametrize(
    ("variable", "settings", "options", "mode"),
    [
        (None, None, {}, "offline"),  # nobody is logged in
        ("disabled", None, {}, None),
        ("disabled", "offline", {}, None),
        (None, "disabled", {}, None),
        (None, "disabled", {"offline": True}, "offline"),
        ("dryrun", None, {}, "offline"),
        ("offline", "disabled", {}, "offline"),
        ("online", None, {"offline": True}, "offline"),
        ("offline", None, {"mode": "disabled"}, None),
    ],
)
def test_the_nearest_word_decides_on_the_mode(
    filed: Callable[..., wandb.Run | None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    variable: str | None,
    settings: str | None,
    options: dict[str, Any],
    mode: str | None,
) -> None:
    """``logger.…``, then WANDB_MODE, then what ``wandb disabled`` and the like left."""
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    if settings:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "settings").write_text(f"[default]\nmode = {settings}\n", encoding="utf-8")
    run = filed(CONFIG, **options)
    assert (run and run.settings.mode) == mode
    assert (tmp_path / "wandb").exists() == (mode is not None)
    assert ("W&B is disabled" in capsys.readouterr().out) == (mode is None)


@pytest.mark.parametrize(
    ("variable", "options", "words"),
    [
        ("garbage", {}, ["WANDB_MODE=garbage", "online, offline"]),
        ("online", {}, ["No API key", "logger.offline=true"]),
        (None, {"mode": "garbage"}, ["logger.mode=garbage"]),
        (None, {"mode": "online", "offline": False}, ["logger.mode=online", "logger.offline=False"]),
        (None, {"dir": "elsewhere"}, ["logger.dir"]),
    ],
)
def test_a_mode_that_cannot_be_is_said(
    filed: Callable[..., wandb.Run | None],
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    options: dict[str, Any],
    words: list[str],
) -> None:
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    with pytest.raises(UserError) as refused:
        filed(CONFIG, **options)
    for word in words:
        assert word in str(refused.value)


def test_a_server_out_of_reach_is_said(filed: Callable[..., wandb.Run | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    with pytest.raises(UserError, match=r"127\.0\.0\.1.*logger\.offline=true"):
        filed(CONFIG, offline=False)


def test_variables_name_a_run_that_nobody_else_names(
    filed: Callable[..., wandb.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"WANDB_NAME": "n", "WANDB_RUN_GROUP": "g", "WANDB_JOB_TYPE": "j", "WANDB_TAGS": "a,b"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    run = filed(CONFIG, group="mine")
    assert (run.name, run.group, run.job_type, set(run.tags)) == ("n", "mine", "j", {"a", "b"})
