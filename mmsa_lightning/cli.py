"""The command ``mmsa``. Nothing heavy is imported before it is needed, so that ``mmsa --help`` answers at once."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmsa_lightning.errors import UserError, one_line_errors


def main(argv: list[str] | None = None) -> None:
    """Run ``mmsa``.

    Args:
        argv: the arguments after the command's name; the process's own when None.

    Raises:
        SystemExit: with code 2 and one line on a user's mistake, with 0 after help.
    """
    argv = sys.argv[1:] if argv is None else argv
    with one_line_errors():
        if argv[:1] == ["train"]:  # Hydra parses its own arguments, --help among them
            from mmsa_lightning.experiment import app

            return app.main(argv[1:])
        parser = _parser()
        ids: list[str] = []
        if argv[:1] == ["attention"]:
            argv, ids = _ids_apart(argv)
        args, rest = parser.parse_known_args(argv)
        if wrong := [word for word in rest if word.startswith("-") or not hasattr(args, "overrides")]:
            parser.error(f"unrecognized arguments: {' '.join(wrong)}")
        if rest:
            args.overrides = rest
        if ids:
            args.ids += ids
        try:
            args.run(args)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has read enough; nor need Python's own exit complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return None


def _ids_apart(argv: list[str]) -> tuple[list[str], list[str]]:
    """``mmsa attention``'s arguments without the ids that begin with a dash, which argparse would take for options."""
    end = argv.index("--") if "--" in argv else len(argv)
    ids = [word for word in argv[:end] if word.startswith("-") and not re.fullmatch(r"-h|--help|--out(=.*)?", word)]
    return [word for word in argv if word not in ids], ids


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mmsa", description="Multimodal sentiment analysis on CMU-MOSI and CMU-MOSEI."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="import a published file into a store, or look into a store")
    listing = commands.add_parser("models", help="list the models: paper, text, alignment, parameters")
    listing.set_defaults(run=_models)
    for kind, meaning, numbers in (
        ("table", "a table of the paper from finished runs: Markdown, CSV, LaTeX, a picture", "1 to 6"),
        ("figure", "a figure of the paper from finished runs: PNG, SVG", "2 or 3"),
    ):
        made = commands.add_parser(
            kind,
            usage=f"mmsa {kind} [-h] [--out DIR] [--partial] N [OVERRIDE ...]",
            help=meaning,
            description=f"Overrides: as given to the sweep that filled it, python train.py -m experiment={kind}N …",
        )
        # argparse would take overrides after an option for none at all: they are what is left over, see main.
        made.set_defaults(run=_report, kind=kind, overrides=[])
        made.add_argument("number", metavar="N", help=f"{numbers}, as in the paper")
        made.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="default: report")
        made.add_argument("--partial", action="store_true", help="leave out cells that have no result")
    maps = commands.add_parser("attention", help="what a finished run attends to in chosen utterances: PNG, SVG")
    maps.set_defaults(run=_attention)
    maps.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    maps.add_argument("ids", nargs="*", metavar="ID", help="of an utterance; default: the largest errors on test")
    maps.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="default: report")
    page = commands.add_parser("report", help="finished runs as one page of HTML that opens offline")
    page.set_defaults(run=_page)
    page.add_argument("runs", type=Path, nargs="+", metavar="RUNS", help="run directories, or folders that hold some")
    page.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")
    dashboard = commands.add_parser("dashboard", help="W&B workspaces for Tables 3 to 6; offline, what they hold")
    dashboard.set_defaults(run=_dashboard)
    dashboard.add_argument("numbers", nargs="*", default=["3", "4", "5", "6"], metavar="N", help="3 to 6; default: all")
    project = os.environ.get("WANDB_PROJECT") or "mmsa-lightning"
    dashboard.add_argument(
        "--project", default=project, metavar="NAME", help="default: WANDB_PROJECT or mmsa-lightning"
    )
    dashboard.add_argument("--entity", metavar="NAME", help="user or team; default: the login's own")
    commands.add_parser("train", help="train a model; what follows goes to Hydra", add_help=False)
    actions = data.add_subparsers(required=True, metavar="ACTION")

    importing = actions.add_parser("import", help="read a published file, check it, and write a store")
    importing.set_defaults(run=_import)
    importing.add_argument(
        "source", type=Path, metavar="SOURCE", help="pickle of MMSA, MulT, MISA, MMIM or MAG-BERT, a folder, or a CSV"
    )
    importing.add_argument("--dataset", required=True, metavar="NAME", help="mosi, mosei or a name of your own")
    importing.add_argument("--out", type=Path, metavar="PATH", help="the store; default: stores/<dataset>.h5")
    importing.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="minilm (default), a hub name or a directory; for a source with token ids, whose they are",
    )
    importing.add_argument(
        "--split",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VALID", "TEST"),
        help="divide a source without splits by video, in these shares; of one without a test split, valid",
    )
    importing.add_argument(
        "--label-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="what labels lie between; default: -3 3 for mosi and mosei, else what is found",
    )
    importing.add_argument(
        "--separator", metavar="CHAR", help="of a CSV's columns, or tab; default: seen in the header"
    )
    importing.add_argument("--encoding", metavar="NAME", help="of a CSV, such as gbk; default: UTF-8, or what it says")
    for option, meaning in {
        "--audio": "audio features, beside any source, or instead of its own",
        "--vision": "vision features, likewise",
        "--text": "text features, likewise",
        "--word-vectors": "text features: one vector for each word of the source's text",
    }.items():
        importing.add_argument(option, type=Path, metavar="X.npz", help=meaning)
    importing.add_argument("--text-features", type=Path, dest="text", help=argparse.SUPPRESS)  # its older name

    encoding = actions.add_parser("encode", help="have a frozen BERT read a store's tokens once, for text=features")
    encoding.set_defaults(run=_encode)
    encoding.add_argument("store", type=Path, metavar="STORE")
    encoding.add_argument(
        "--text-encoder",
        default="bert-base-uncased",
        metavar="NAME",
        help="bert-base-uncased (default), another on the hub, a directory, or minilm",
    )
    encoding.add_argument(
        "--out", type=Path, metavar="PATH", help="the new store; default: STORE's name and the encoder's"
    )

    inspecting = actions.add_parser("inspect", help="say what is in a store")
    inspecting.set_defaults(run=_inspect)
    inspecting.add_argument("store", type=Path, metavar="STORE")
    return parser


def _import(args: argparse.Namespace) -> None:
    from mmsa_lightning.data.importer import import_file
    from mmsa_lightning.data.releases import LABEL_RANGES, count_warning, range_warning
    from mmsa_lightning.data.store import Store

    out: Path = args.out or Path("stores", f"{args.dataset}.h5")
    meta = import_file(
        args.source,
        args.dataset,
        out,
        tokenizer=args.tokenizer,
        split=tuple(args.split) if args.split else None,
        label_range=tuple(args.label_range) if args.label_range else None,
        separator=args.separator,
        encoding=args.encoding,
        text=args.text,
        audio=args.audio,
        vision=args.vision,
        word_vectors=args.word_vectors,
    )
    for line in meta.report:
        print(line)
    low, high = meta.label_range
    if args.label_range is None and args.dataset not in LABEL_RANGES:
        print(f"labels: found in [{low:g}, {high:g}], taken as their range; --label-range LOW HIGH states another")
    train, valid, test = (len(split) for split in Store(out).splits.values())
    if warning := count_warning(args.dataset, (train, valid, test)):
        print(f"warning: {warning}", file=sys.stderr)
    if warning := range_warning(low, high):
        print(f"warning: {warning}", file=sys.stderr)
    release = meta.release or "no known release"
    print(f"{out}: {train} train, {valid} valid, {test} test, read as {meta.layout} ({release})")
    print(f"next: mmsa data inspect {out}")


def _encode(args: argparse.Namespace) -> None:
    from mmsa_lightning.data.encode import encode_store
    from mmsa_lightning.training.trainer import quieten

    quieten()
    encoder = Path(args.text_encoder).name
    out: Path = args.out or args.store.with_name(f"{args.store.stem}_{encoder}{args.store.suffix}")
    meta = encode_store(args.store, args.text_encoder, out)
    print(f"{out}: {meta.report[-1]}")
    print(f"next: python train.py data=… data.path={out} text=features")


def _models(args: argparse.Namespace) -> None:
    from mmsa_lightning.experiment.catalogue import print_models

    print_models()


def _report(args: argparse.Namespace) -> None:
    with _extra("report", "tables, figures and reports"):
        from mmsa_lightning.report.write import write_figure, write_table
    write = {"table": write_table, "figure": write_figure}[args.kind]
    # The number may stand behind overrides.
    number, *overrides = sorted([args.number, *args.overrides], key=lambda word: "=" in word or word.startswith("~"))
    print(write(number, overrides, args.out, partial=args.partial))


def _attention(args: argparse.Namespace) -> None:
    with _extra("report", "tables, figures and reports"):
        from mmsa_lightning.report.write import write_attention
    print("\n".join(write_attention(args.run_dir, args.ids, args.out)))


def _page(args: argparse.Namespace) -> None:
    with _extra("report", "tables, figures and reports"):
        from mmsa_lightning.report.page import write_page

    write_page(args.runs, args.out)
    print(args.out)


def _dashboard(args: argparse.Namespace) -> None:
    with _extra("dashboard", "dashboards"):
        from mmsa_lightning.report.dashboards import save_dashboards
    for line in save_dashboards(args.numbers, args.project, args.entity):
        print(line)


@contextmanager
def _extra(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: {what} need pip install 'mmsa-lightning[{name}]'") from error


def _inspect(args: argparse.Namespace) -> None:
    from mmsa_lightning.data.inspect import describe
    from mmsa_lightning.data.store import Store

    print(describe(Store(args.store)))
