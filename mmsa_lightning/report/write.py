"""``mmsa table N``, ``mmsa figure N`` and ``mmsa attention RUN``: tables and figures from finished runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import attention
from mmsa_lightning.report import tables
from mmsa_lightning.report.cells import Cell, cells, listed
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.effects import effects, pairs
from mmsa_lightning.report.figures.attention import attention_figure
from mmsa_lightning.report.figures.rows import ranks_figure, rows_figure
from mmsa_lightning.report.figures.style import save_figure
from mmsa_lightning.report.figures.training import losses_figure
from mmsa_lightning.report.grid import write_grids
from mmsa_lightning.report.history import read_history
from mmsa_lightning.report.names import missing_rate
from mmsa_lightning.report.paper import printed
from mmsa_lightning.report.rows import Row, read_rows, run_records, subject
from mmsa_lightning.report.settings import configs, counts_grid, settings_grid
from mmsa_lightning.report.wording import ranked

SETTINGS = ("1", "2")
COMPARISONS = ("3", "4", "5", "6")
LOSSES = ("2", "3")


def write_table(
    number: str, overrides: Sequence[str], out: Path, *, partial: bool = False, against: str | None = None
) -> str:
    """Write ``table<number>`` as .md and .tex; Tables 3 to 6, from their finished cells, as .csv, .png and .svg too.

    With these come ``table<number>_runs.csv``, of which runs the table was made, of several rows
    ``table<number>_ranks`` .png and .svg, how sure their order is, and of an ablation ``table<number>_effects.csv``,
    what each part changes (:mod:`mmsa_lightning.report.effects`).

    Args:
        number: 1 to 6.
        overrides: Hydra's, the same as given to the sweep that filled the cells.
        out: folder to write to; made if it is not there.
        partial: leave out what is missing, and say so in the caption.
        against: the row that tests compare with each other one; None for the paper's model.

    Returns:
        the Markdown.

    Raises:
        UserError: an unknown table, cells that are missing or not fit for one table (:func:`read_rows`), no such row.
    """
    if number not in (*SETTINGS, *COMPARISONS):
        raise UserError(f"table {number}: choose {', '.join((*SETTINGS, *COMPARISONS))}")
    paper = printed(int(number))
    if number in SETTINGS:
        if against:
            raise UserError(f"table {number} is of settings, which are not tested; leave out --against")
        grid = {"1": counts_grid, "2": settings_grid}[number](configs(overrides), paper)
        out.mkdir(parents=True, exist_ok=True)
        return write_grids([grid], out / f"table{number}")
    wanted = cells(f"table{number}", overrides)
    rows = read_rows(wanted, partial=partial)
    if not rows[0].protocol.printed or any(missing_rate(record) for row in rows for record in row.results.values()):
        paper = {}
    _refuse_nothing_between(number, rows)
    found = Comparison(rows, paper, against)
    grids = [tables.measured_grid(found, _caption(number, wanted, rows)), *tables.intervals_grids(found)]
    grids += filter(None, [tables.paper_grid(found), tables.tests_grid(found)])
    out.mkdir(parents=True, exist_ok=True)
    name = f"table{number}"
    for of_more_rows in ("effects.csv", "ranks.png", "ranks.svg"):
        (out / f"{name}_{of_more_rows}").unlink(missing_ok=True)
    if changed := effects(found):
        grids.append(tables.effects_grid(found, changed))
        files.write_rows(out / f"{name}_effects.csv", tables.effects_records(changed))
    markdown = write_grids(grids, out / name)
    files.write_rows(out / f"{name}.csv", tables.records(found))
    files.write_rows(out / f"{name}_runs.csv", run_records(rows))
    save_figure(rows_figure(found, _title(number, rows)), out / name)
    if len(rows) > 1:
        title = f"{_title(number, rows)}: {ranked([len(row.results) for row in rows])}"
        save_figure(ranks_figure(found.names, found.ranks, paper, title), out / f"{name}_ranks")
    return markdown


def write_figure(number: str, overrides: Sequence[str], out: Path, *, partial: bool) -> str:
    """Draw a figure from its runs that are finished, as ``figure<number>`` .png and .svg.

    Args and errors are those of :func:`write_table`, but ``against``, the numbers 2 and 3.

    Returns:
        where it lies.
    """
    if number not in LOSSES:
        raise UserError(f"figure {number}: choose {', '.join(LOSSES)}")
    rows = read_rows(cells(f"figure{number}", overrides), partial=partial)
    if len(rows) > 1:
        raise UserError(f"figure {number} shows one model, not {', '.join(row.name for row in rows)}")
    (row,) = rows
    histories = [read_history(run_dir) for run_dir in row.run_dirs.values()]
    seeds = ", ".join(map(str, row.results))
    data = subject(rows)
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"figure{number}"
    save_figure(
        losses_figure(histories, f"Figure {number}: training loss of {row.name} on {data}, seeds {seeds}"), stem
    )
    return f"{stem}.png, {stem}.svg"


def write_attention(run_dir: Path, ids: Sequence[str], out: Path, plugins: Path | None = None) -> list[str]:
    """Draw a finished run's attention in chosen utterances, as ``attention_<id>`` .png and .svg.

    Args:
        run_dir: of a model that tells its weights.
        ids: of the utterances, from any split; none for those that the run left, its largest errors on test.
        out: folder to write to; made if it is not there.
        plugins: the folder of the user's own model.

    Returns:
        where they lie.

    Raises:
        UserError: no finished run, a model that does not tell its weights, an unknown id.
    """
    if ids:
        from mmsa_lightning.experiment.restore import restore  # with Lightning, for this alone
        from mmsa_lightning.models.output import attends

        module, data = restore(run_dir, plugins)
        if not attends(module.model):
            raise UserError(f"{run_dir}: {type(module.model).__name__} has no attention over steps to show")
        places = {id: (split, i) for split, stored in data.store.splits.items() for i, id in enumerate(stored.ids)}
        if unknown := [id for id in ids if id not in places]:
            raise UserError(f"{', '.join(unknown)} is in no split of {data.path}; predictions.csv lists valid and test")
        chosen = [places[id] for id in ids]
        records = [attention.attention_maps(module.model, data, split, [i])[0] for split, i in chosen]
    elif not (records := attention.read(run_dir)):
        raise UserError(
            f"{run_dir} has no {attention.NAME}: the run is not finished, or its model has no attention over steps"
        )
    out.mkdir(parents=True, exist_ok=True)
    stems, taken = [], set[str]()
    for record in records:
        name = re.sub(r"[^\w-]+", "_", record["id"])
        while name in taken:  # of an id that differs in what no name of a file may have
            name += "_"
        taken.add(name)
        stem = out / f"attention_{name}"
        save_figure(attention_figure(record, attention.headline(record)), stem)
        stems.append(f"{stem}.png, {stem}.svg")
    return stems


def _refuse_nothing_between(number: str, rows: Sequence[Row]) -> None:
    read = next(iter(rows[0].results.values()))["modalities"]
    if "bi" in pairs(row.name for row in rows) and len(read) == 1:
        raise UserError(
            f"table {number} says what attention between modalities changes, and these runs read {read[0]} alone, "
            "where there is none: leave out the rows with bi, or train with two modalities or three"
        )


def _title(number: str, rows: Sequence[Row]) -> str:
    return f"Table {number} on {subject(rows)}"


def _caption(number: str, wanted: Sequence[Cell], rows: Sequence[Row]) -> str:
    results = {(row.name, seed): record for row in rows for seed, record in row.results.items()}
    encoders = {record["text_encoder"] for record in results.values()} - {None}
    seeds = sorted({seed for _, seed in results})
    sentences = [
        f"{_title(number, rows)}, {rows[0].errors.shape[1]} test utterances",
        f"Mean ± sample standard deviation over seeds {', '.join(map(str, seeds))}, times 100",
        "Selected on validation MAE, test read once",
        *filter(None, [rows[0].protocol.note]),
        *(f"Where a row reads tokens, its text encoder is {encoder}" for encoder in encoders),
    ]
    idle: dict[str, list[Cell]] = {}
    for cell in wanted:
        if tasks := results.get((cell.row, cell.seed), {}).get("idle_tasks"):
            idle.setdefault(", ".join(tasks), []).append(cell)
    for tasks, own in idle.items():
        sentences.append(f"Chosen before any loss of {tasks}, tasks that so changed nothing: {listed(own)}")
    if missing := [cell for cell in wanted if (cell.row, cell.seed) not in results]:
        sentences.append(f"Partial: without {listed(missing)}")
    return ". ".join(sentences) + "."
