"""``mmsa train``, ``check``, ``new``, ``models`` and ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmsa_lightning.cli.parser import Command, OwnModel, Untouched, app, argument, flag, new
from mmsa_lightning.memory import uncollected


@app.command(cls=Untouched)
def train(ctx: typer.Context) -> None:
    """Train a model; all arguments go to Hydra."""
    from mmsa_lightning.experiment.app import main

    main(ctx.args)


@app.command(cls=Command)
def check(
    overrides: Annotated[
        list[str] | None, argument("OVERRIDE", "As for mmsa train; model=NAME chooses the model.")
    ] = None,
    config_dir: OwnModel = None,
    traceback: Annotated[bool, flag("--traceback", "Show the traceback of each error.")] = False,
) -> None:
    """Check a model, yours or ours; exit code 1 if a check fails."""
    from mmsa_lightning.experiment.conformance import check_model

    failed = 0
    for outcome in check_model(overrides or [], config_dir, tracebacks=traceback):
        print(outcome, flush=True)
        failed += outcome.failed
    if failed:
        raise typer.Exit(1)


@new.command("model", cls=Command)
def new_model(
    name: Annotated[str, argument("NAME", "The model's name in model=NAME, such as late_fusion.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The folder to write to.")] = Path("mine"),
) -> None:
    """Write a small model and its YAML, ready to run and to change."""
    from mmsa_lightning.experiment.scaffold import write_model

    print(*write_model(name, folder), sep="\n")


@app.command(cls=Command)
def models() -> None:
    """List our models: paper, text, alignment, parameters."""
    with uncollected():
        from mmsa_lightning.experiment.catalogue import print_models

    print_models()


@app.command(cls=Command)
def info() -> None:
    """Print versions, devices and paths, to paste into an issue."""
    from mmsa_lightning.experiment.info import facts

    print(*facts(), sep="\n")
