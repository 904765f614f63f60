"""What a dashboard shows, what is said of it offline, what is sent to W&B; no W&B server is asked."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import wandb_workspaces.workspaces as ws

from mmsa_lightning.cli import main
from mmsa_lightning.report.cells import cells
from mmsa_lightning.report.dashboards import TABLES, build_workspace
from mmsa_lightning.training.protocols import MOSI, SIMS


def section(workspace: ws.Workspace) -> dict[str, Any]:
    """The part of a workspace's spec that W&B draws."""
    return workspace._spec["spec"]["section"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A login to a W&B that takes every workspace; what it took."""
    taken: list[Any] = []

    def upsert(view: Any) -> dict[str, Any]:
        taken.append(view)
        return {"upsertView": {"view": {"id": "1", "name": f"nw-view{len(taken)}-v"}}}

    api = SimpleNamespace(default_entity="me", client=SimpleNamespace(app_url="https://wandb.test/"))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "Api", lambda: api)
    monkeypatch.setattr(ws.internal, "upsert_view2", upsert)
    return taken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "tags"),
    [
        ("3", ["mosi", "full"]),
        ("4", ["mosei", "full"]),
        ("5", ["mosi", "interactive_attention"]),
        ("6", ["mosei", "interactive_attention"]),
    ],
)
def test_a_table_shows_the_runs_of_its_sweep_a_group_a_row(number: str, tags: list[str]) -> None:
    (runs,) = section(build_workspace(number, "p", "e"))["runSets"]
    filters = runs["filters"]["filters"]
    assert [(f["key"], f["op"], f["value"]) for f in filters] == [
        ({"section": "run", "name": "tags"}, "IN", [tag]) for tag in tags
    ]
    assert [f.get("connector") for f in filters] == [None, "AND"]
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    swept = cells(f"table{number}", ["seed=1"])
    for cell in swept:  # runs/<data>/<model>/<ablation>/<seed>: the tags of the run
        assert set(tags) <= set(cell.run_dir.parts)
    assert section(build_workspace(number, "p", "e"))["settings"]["maxRuns"] >= len(swept)


def test_sections_hold_means_over_the_seeds_of_a_row() -> None:
    sections = section(build_workspace("3", "p", "e"))["panelBankConfig"]["sections"]
    named = {part["name"]: part["panels"] for part in sections}
    assert list(named) == ["Test", "Validation", "Training", "Generated labels", "Learning rates"]
    assert [panel["config"]["metrics"] for panel in named["Test"]] == [[f"test/{metric}"] for metric in MOSI.headings]
    for name, panels in named.items():
        for panel in panels:
            assert panel["viewType"] == ("Bar Chart" if name == "Test" else "Run History Line Plot")
            assert panel["config"].get("xAxis") == (None if name == "Test" else "epoch")
            assert (panel["config"]["groupAgg"], panel["config"]["groupArea"]) == ("mean", "stddev")


def test_other_data_are_shown_by_their_own_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    workspace = build_workspace("3", "p", "e", "sims")
    assert workspace.name == "Table 3 on sims"
    (runs,) = section(workspace)["runSets"]
    assert [f["value"] for f in runs["filters"]["filters"]] == [["sims"], ["full"]]
    named = {part["name"]: part["panels"] for part in section(workspace)["panelBankConfig"]["sections"]}
    assert [panel["config"]["metrics"] for panel in named["Test"]] == [[f"test/{metric}"] for metric in SIMS.headings]
    assert len(named["Validation"]) == len(SIMS.headings)
    assert build_workspace("4", "p", "e", "mosei").name == "Table 4"


def test_unknown_data_is_one_line(server: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dashboard", "3", "--data", "nowhere"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: --data nowhere: choose mosi, mosei, sims, demo\n"
    assert server == []


def test_the_runs_read_as_the_table() -> None:
    (runs,) = section(build_workspace("5", "p", "e"))["runSets"]
    assert runs["runFeed"]["columnOrder"] == [
        "run:displayName",
        "config:text.value",
        "config:text_encoder.value",
        "config:modalities.value",
        *(f"summary:test/{metric}" for metric in MOSI.headings),
    ]


def test_offline_it_says_what_it_would_save(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    main(["dashboard", "--project", "mine"])
    out = capsys.readouterr().out
    assert "Nothing saved" in out and server == []
    for number in TABLES:
        assert f"\nTable {number}, project mine\n" in out
    for line in (
        "  runs: Metric(\"Tags\") in ['mosi'] and Metric(\"Tags\") in ['full']",
        "  grouped by: Group",
        "  Validation",
        "    bars   test/mae",
        "    lines  train/weight_audio by epoch",
    ):
        assert line in out.splitlines()


def test_without_a_login_it_says_what_it_would_save(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: False)
    main(["dashboard", "4"])
    out = capsys.readouterr().out
    assert "Table 4, project mmsa-lightning" in out and "Table 3" not in out
    assert server == []


@pytest.mark.parametrize(("options", "entity"), [([], "me"), (["--entity", "team"], "team")])
def test_with_a_login_it_saves_and_says_where(
    server: list[Any], capsys: pytest.CaptureFixture[str], options: list[str], entity: str
) -> None:
    main(["dashboard", "3", "6", "--project", "mine", *options])
    assert capsys.readouterr().out.splitlines() == [
        f"Table 3: https://wandb.test/{entity}/mine?nw=view1",
        f"Table 6: https://wandb.test/{entity}/mine?nw=view2",
    ]
    assert [(view.entity, view.project, view.display_name) for view in server] == [
        (entity, "mine", "Table 3"),
        (entity, "mine", "Table 6"),
    ]


def test_what_wandb_refuses_is_one_line(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(view: Any) -> None:
        raise wandb.errors.CommError("permission\ndenied")

    monkeypatch.setattr(ws.internal, "upsert_view2", refuse)
    with pytest.raises(SystemExit) as stop:
        main(["dashboard", "3"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == ("error: W&B does not save Table 3 to mmsa-lightning: permission denied\n")


def test_an_unknown_table_is_one_line_and_saves_none(server: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dashboard", "3", "7"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: table 7: choose 3, 4, 5, 6\n"
    assert server == []


def test_without_the_package_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    monkeypatch.delitem(sys.modules, "mmsa_lightning.report.dashboards")
    with pytest.raises(SystemExit) as stop:
        main(["dashboard"])
    assert stop.value.code == 2
    assert "dashboards need pip install 'mmsa-lightning[dashboard]'" in capsys.readouterr().err
