"""``mmsa table`` and what else is made of finished runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmsa_lightning.cli.parser import Command, DashedIds, Out, OwnModel, app, argument, extra, flag, option

Runs = Annotated[list[Path], argument("RUNS", "Run directories, or folders that hold some.")]
Overrides = Annotated[list[str] | None, argument("OVERRIDE", "As in the sweep that made the runs, mmsa train -m …")]
Against = Annotated[str | None, option("ROW", "What tests compare with each other row; default: the paper's model.")]
Partial = Annotated[bool, flag("--partial", "Leave out cells that have no result.")]


@app.command(cls=Command)
def table(
    number: Annotated[str, argument("N", "1 to 6, as in the paper.")],
    overrides: Overrides = None,
    out: Out = Path("report"),
    partial: Partial = False,
    against: Against = None,
) -> None:
    """Build a table of the paper: Markdown, CSV, LaTeX, a picture."""
    with extra("report"):
        from mmsa_lightning.report.write import write_table
    print(write_table(*number_first(number, overrides), out, partial=partial, against=against))


@app.command(cls=Command)
def figure(
    number: Annotated[str, argument("N", "2 or 3, as in the paper.")],
    overrides: Overrides = None,
    out: Out = Path("report"),
    partial: Partial = False,
) -> None:
    """Draw a figure of the paper from finished runs: PNG, SVG."""
    with extra("report"):
        from mmsa_lightning.report.write import write_figure
    print(write_figure(*number_first(number, overrides), out, partial=partial))


def number_first(number: str, overrides: list[str] | None) -> tuple[str, list[str]]:
    """The number of a table or figure, which may stand behind overrides, and these."""
    number, *others = sorted([number, *(overrides or [])], key=lambda word: "=" in word or word.startswith("~"))
    return number, others


@app.command(cls=DashedIds)
def attention(
    run_dir: Annotated[Path, argument("RUN", "A run directory.")],
    ids: Annotated[list[str] | None, argument("ID", "Ids of utterances; default: the largest errors on test.")] = None,
    out: Out = Path("report"),
    config_dir: OwnModel = None,
) -> None:
    """Draw what a finished run attends to in an utterance."""
    with extra("report"):
        from mmsa_lightning.report.write import write_attention
    print(*write_attention(run_dir, ids or [], out, config_dir), sep="\n")


@app.command(cls=Command)
def robustness(
    runs: Runs,
    out: Out = Path("report"),
    mask_seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Masks of seeds 1 to N.")] = 3,
    config_dir: OwnModel = None,
) -> None:
    """Measure finished runs on test with parts of it missing."""
    with extra("report"):
        from mmsa_lightning.report.cells import find_cells
        from mmsa_lightning.report.robustness import write_robustness
    from mmsa_lightning.experiment.robustness import evaluate

    cells = find_cells(runs)
    for cell in cells:
        measured = evaluate(cell.run_dir, range(1, mask_seeds + 1), config_dir)
        print(f"{cell.run_dir}: {'measured' if measured else 'as before'}", flush=True)
    print(write_robustness(cells, out))


@app.command(cls=Command)
def evaluate(
    runs: Runs,
    store: Annotated[Path, option("STORE", "The other data, as mmsa data import writes them.")],
    split: Annotated[str, option("NAME", "train, valid or test of it.")] = "test",
    standardize: Annotated[
        str, option("WHOSE", "Moments of audio and vision: those of the run's train split, or of the store's.")
    ] = "run",
    out: Out = Path("report"),
    config_dir: OwnModel = None,
) -> None:
    """Measure finished runs on another data set or fold."""
    with extra("report"):
        from mmsa_lightning.report.cells import find_cells
        from mmsa_lightning.report.evaluation import write_evaluation
    from mmsa_lightning.experiment.evaluation import evaluate

    cells = find_cells(runs)
    warned: set[str] = set()  # runs of the same data have the same warnings
    for cell in cells:
        warnings = evaluate(cell.run_dir, store, split, standardize, config_dir)
        for line in warnings or []:
            if line not in warned:
                print(f"warning: {line}", file=sys.stderr)
                warned.add(line)
        print(f"{cell.run_dir}: {'as before' if warnings is None else 'measured'}", flush=True)
    print(write_evaluation(cells, out))


@app.command(cls=Command)
def report(
    runs: Runs,
    out: Annotated[Path, option("FILE", "The page.")] = Path("report.html"),
    labels: Annotated[
        Path | None, option("DIR", "Write there, too, how generated labels agree with true ones: tables, a picture.")
    ] = None,
    against: Against = None,
    no_utterances: Annotated[
        bool, flag("--no-utterances", "Leave out ids, texts and labels of single utterances, to publish the page.")
    ] = False,
) -> None:
    """Show finished runs as one page of HTML that opens offline."""
    with extra("report"):
        from mmsa_lightning.report.page import write_page
    print(*write_page(runs, out, labels, against=against, utterances=not no_utterances), sep="\n")


@app.command(cls=Command)
def compare(
    a: Annotated[Path, argument("A", "A run, a folder with the seeds of one row, or a CSV of predictions.")],
    b: Annotated[Path, argument("B", "What it is compared with, likewise.")],
    out: Annotated[Path, option("FILE", "The page.")] = Path("compare.html"),
) -> None:
    """Compare two rows on the same utterances, as one page of HTML."""
    with extra("report"):
        from mmsa_lightning.report.compare import write_comparison
    write_comparison(a, b, out)
    print(out)


@app.command(cls=Command)
def dashboard(
    numbers: Annotated[list[str] | None, argument("N", "3 to 6; default: all.")] = None,
    project: Annotated[str, option("NAME", "In W&B.", envvar="WANDB_PROJECT", show_envvar=True)] = "mmsa-lightning",
    entity: Annotated[str | None, option("NAME", "User or team; default: that of your login.")] = None,
    data: Annotated[str | None, option("NAME", "mosi, mosei, sims or demo; default: the table's own.")] = None,
) -> None:
    """Save W&B workspaces of Tables 3 to 6; offline, describe them."""
    with extra("dashboard"):
        from mmsa_lightning.report.dashboards import save_dashboards
    print(*save_dashboards(numbers or ["3", "4", "5", "6"], project, entity, data), sep="\n")
