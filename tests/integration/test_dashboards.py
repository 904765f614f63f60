"""Dashboards ask for what runs log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_lightning.experiment.app import main
from mmsa_lightning.report.dashboards import TABLES, build_workspace


def test_a_run_of_the_papers_model_logs_every_key_that_a_panel_asks_for(
    arguments: Callable[..., list[str]],
    history_keys: Callable[[Path], set[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    main(arguments("logger=wandb", "logger.offline=true"))
    (file,) = (tmp_path / "runs").rglob("run-*.wandb")
    logged = history_keys(file)
    for number in TABLES:
        workspace = build_workspace(number, "p", "e")._to_model()
        asked = set()
        for section in workspace.spec.section.panel_bank_config.sections:
            for panel in section.panels:
                asked |= {*panel.config.metrics, getattr(panel.config, "x_axis", None) or "epoch"}
        columns = workspace.spec.section.run_sets[0].run_feed.column_pinned
        asked |= {column.removeprefix("summary:") for column in columns if column.startswith("summary:")}
        assert len(asked) > 30
        assert asked - logged == set()
