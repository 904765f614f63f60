"""What commands share: how arguments are read, how help and mistakes are said, and arguments that several have."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mmsa_lightning.errors import UserError, one_line_errors
from mmsa_lightning.memory import uncollected

EXTRAS = {"report": "tables, figures and reports", "dashboard": "dashboards", "serve": "servers"}  # what needs them
UsageError: Any = typer.BadParameter.__mro__[1]  # for which typer has no public name


def main(argv: list[str] | None = None) -> None:
    """Run ``mmsa``.

    Args:
        argv: the arguments after the command's name; the process's own when None.

    Raises:
        SystemExit: with code 2 and one line on a user's mistake, with 1 after a check that failed, with 0 after help.
    """
    argv = list(sys.argv[1:] if argv is None else argv)  # of which the parser takes one after the other
    command = get_command(app)
    if "_MMSA_COMPLETE" in os.environ:
        command(argv, prog_name="mmsa")  # answers the shell, and exits
    with one_line_errors():
        try:
            with command.make_context("mmsa", argv) as context:
                command.invoke(context)
            sys.stdout.flush()
        except typer.Exit as end:
            sys.exit(end.exit_code)
        except UsageError as error:
            raise UserError(f"{error.format_message().rstrip('.')}; {error.ctx.get_usage()}") from error
        except BrokenPipeError:  # `| head` has read enough; nor need Python's own exit complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import, and say with which extra a package comes that is not there."""
    try:
        with uncollected():
            yield
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: {EXTRAS[name]} need pip install 'mmsa-lightning[{name}]'") from error


class Plain:
    """What commands and groups of them say: in any encoding, and always with their usage."""

    def format_usage(self: Any, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), prefix="usage: ")

    def get_help(self, ctx: Any) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return super().get_help(ctx).encode(encoding, "backslashreplace").decode(encoding)  # type: ignore[misc]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc]
        except UsageError as error:
            error.ctx = ctx  # which some lack
            raise


class Command(Plain, TyperCommand):
    """One command."""


class Group(Plain, TyperGroup):
    """Several commands under one name."""


class Untouched(Command):
    """A command that leaves all its arguments to somebody else, --help among them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return []


class DashedIds(Command):
    """A command whose arguments may begin with a dash: what is no option of its own goes to the end, behind ``--``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ids = [
            word
            for word in args[:end]
            if word.startswith("-") and not re.fullmatch(r"-h|--help|--(out|config-dir)(=.*)?", word)
        ]
        others = [word for word in args[:end] if word not in ids]
        return super().parse_args(ctx, [*others, "--", *args[end + 1 :], *ids])


HELP = {"help_option_names": ["-h", "--help"]}
app, data, new = (typer.Typer(cls=Group, rich_markup_mode=None, context_settings=HELP) for _ in range(3))
app.add_typer(data, name="data", help="Import a published file into a store, or look into a store.")
app.add_typer(new, name="new", help="Start a model of your own.")


def argument(metavar: str, help: str) -> Any:
    return typer.Argument(metavar=metavar, help=help)


def option(metavar: str, help: str, **others: Any) -> Any:
    return typer.Option(metavar=metavar, help=help, **others)


def flag(name: str, help: str, **others: Any) -> Any:
    return typer.Option(name, help=help, **others)


def _folder(out: Path) -> Path:
    """Said before anything is done: some commands measure for hours before they write."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    return out


Out = Annotated[Path, option("DIR", "The folder to write to.", callback=_folder)]
Store = Annotated[Path, argument("STORE", "A store, as mmsa data import writes it.")]
KeepCase = Annotated[bool, flag("--keep-case", "Leave an upper-case transcript, even if the tokenizer tells case.")]
Separator = Annotated[str | None, option("CHAR", "Of a CSV's columns, or tab; default: as in the header.")]
Encoding = Annotated[str | None, option("NAME", "Of a CSV, such as gbk; default: UTF-8 or by its BOM.")]
OwnModel = Annotated[Path | None, option("DIR", "The folder of your own model.")]


def print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"mmsa-lightning {version('mmsa-lightning')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[bool, flag("--version", "Print the version.", callback=print_version, is_eager=True)] = False,
) -> None:
    """Multimodal sentiment analysis on CMU-MOSI and CMU-MOSEI."""
