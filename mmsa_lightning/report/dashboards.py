"""``mmsa dashboard N``: a W&B workspace that shows the runs of Table 3, 4, 5 or 6, the seeds of a row as one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from mmsa_lightning.data.releases import LABEL_RANGES, protocol
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.report.history import FOLLOWED
from mmsa_lightning.training.optim import GROUPS
from mmsa_lightning.training.protocols import PROTOCOLS

# The tags that the runs of a table have in common. Not the experiment's name: the paper's own row is one run, which
# Tables 3 and 5 both show, whichever sweep came first.
TABLES = {
    "3": ("mosi", "full"),
    "4": ("mosei", "full"),
    "5": ("mosi", "interactive_attention"),
    "6": ("mosei", "interactive_attention"),
}
TASKS = ("multimodal", *MODALITIES)


def save_dashboards(numbers: Sequence[str], project: str, entity: str | None, data: str | None = None) -> Iterator[str]:
    """Save a new workspace for each table or, without a login to W&B or offline, only say what would be saved.

    Args:
        numbers: of tables, 3 to 6.
        project: where the runs are logged.
        entity: the user or team whose project it is; the login's default when None.
        data: the data set of the runs, one of :data:`LABEL_RANGES`; the table's own when None.

    Yields:
        name and URL of what was saved, or :func:`describe` of what would be.

    Raises:
        UserError: an unknown table or data set, or W&B refuses.
    """
    if unknown := [number for number in numbers if number not in TABLES]:
        raise UserError(f"table {unknown[0]}: choose {', '.join(TABLES)}")
    if data is not None and data not in LABEL_RANGES:
        raise UserError(f"--data {data}: choose {', '.join(LABEL_RANGES)}")
    workspaces = [build_workspace(number, project, entity or "", data) for number in numbers]
    if os.environ.get("WANDB_MODE", "online") != "online" or not wandb.login(prompt=False, verify=False):
        yield "Nothing saved: WANDB_MODE is not online, or there is no login to W&B (wandb login). This would be saved:"
        yield from map(describe, workspaces)
        return
    for workspace in workspaces:
        try:
            workspace.entity = workspace.entity or wandb.Api().default_entity or ""
            url = workspace.save().url
        except Exception as error:  # the client's errors have no public base
            raise UserError(f"W&B does not save {workspace.name} to {project}: {error}") from error
        yield f"{workspace.name}: {url}"


def build_workspace(number: str, project: str, entity: str, data: str | None = None) -> ws.Workspace:
    """The workspace of a table, not saved yet.

    Args:
        number: of :data:`TABLES`.
        project, entity: where it belongs.
        data: see :func:`save_dashboards`.
    """
    own, other = TABLES[number]
    data = data or own
    metrics = PROTOCOLS[protocol(data, LABEL_RANGES[data])].headings
    test = [f"test/{metric}" for metric in metrics]
    losses = [f"train/loss_{task}" for task in TASKS]
    weights = [f"train/weight_{task}" for task in TASKS]
    return ws.Workspace(
        name=f"Table {number}" if data == own else f"Table {number} on {data}",
        project=project,
        entity=entity,
        sections=[
            ws.Section(name="Test", is_open=True, panels=[_bars(key) for key in test]),
            ws.Section(name="Validation", panels=[_lines(f"valid/{metric}") for metric in metrics]),
            ws.Section(name="Training", panels=[_lines(key) for key in ("train/loss", *losses, *weights)]),
            # Their histograms are on each run's own page: W&B shows none of several runs.
            ws.Section(
                name="Generated labels",
                panels=[_lines(f"ulgm/{name}_{task}") for name in ("std", *FOLLOWED) for task in MODALITIES],
            ),
            ws.Section(name="Learning rates", panels=[_lines(f"lr/{group}") for group in GROUPS]),
        ],
        settings=ws.WorkspaceSettings(max_runs=50),  # W&B draws ten rows otherwise
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Tags().isin([data]), ws.Tags().isin([other])),
            groupby=[ws.Metric("Group")],
            order=[ws.Ordering(ws.Metric("Group"))],
            pinned_columns=[
                *(f"config:{name}.value" for name in ("text", "text_encoder", "modalities")),
                *(f"summary:{key}" for key in test),
            ],
        ),
    )


def describe(workspace: ws.Workspace) -> str:
    """A workspace in words: which runs it shows, how they are grouped, each section's panels and their keys."""
    runs = workspace.runset_settings
    lines = [
        f"{workspace.name}, project {workspace.project}",
        f"  runs: {runs.filters}",
        f"  grouped by: {', '.join(key.name for key in runs.groupby)}",
        f"  columns: {', '.join(runs.pinned_columns)}",
    ]
    for section in workspace.sections:
        lines.append(f"  {section.name}")
        for panel in section.panels:
            if isinstance(panel, wr.BarPlot):
                lines.append(f"    bars   {', '.join(map(str, panel.metrics))}")
            elif isinstance(panel, wr.LinePlot):
                lines.append(f"    lines  {', '.join(map(str, panel.y))} by {panel.x}")
    return "\n".join(lines)


def _bars(key: str) -> wr.BarPlot:
    return wr.BarPlot(title=key, metrics=[key], groupby_aggfunc="mean", groupby_rangefunc="stddev")


def _lines(key: str) -> wr.LinePlot:
    return wr.LinePlot(title=key, x="epoch", y=[key], groupby_aggfunc="mean", groupby_rangefunc="stddev")
