"""The command ``mmsa``. Nothing heavy is imported before it is needed, so that ``mmsa --help`` answers at once."""

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


Out = Annotated[Path, option("DIR", "The folder to write to.")]
Store = Annotated[Path, argument("STORE", "A store, as mmsa data import writes it.")]
KeepCase = Annotated[bool, flag("--keep-case", "Leave an upper-case transcript, even if the tokenizer tells case.")]
OwnModel = Annotated[Path | None, option("DIR", "The folder of your own model.")]
Overrides = Annotated[list[str] | None, argument("OVERRIDE", "As in the sweep that made the runs, mmsa train -m …")]
Against = Annotated[str | None, option("ROW", "What tests compare with each other row; default: the paper's model.")]
Partial = Annotated[bool, flag("--partial", "Leave out cells that have no result.")]


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


@data.command("import", cls=Command)
def import_(
    source: Annotated[
        list[Path],
        argument(
            "SOURCE", "Pickle of MMSA, MulT, MISA, MMIM or MAG-BERT, a folder, a CSV, or one or more .csd of the SDK."
        ),
    ],
    dataset: Annotated[str, option("NAME", "mosi, mosei, sims or a name of your own.")],
    out: Annotated[Path | None, option("PATH", "The store; default: stores/<dataset>.h5.")] = None,
    text_encoder: Annotated[
        str | None,
        option("NAME", "Tokenize for it: minilm (default), a hub name, a directory; or, of token ids, whose they are."),
    ] = None,
    keep_case: KeepCase = False,
    split: Annotated[
        tuple[float, float, float] | None,
        option("TRAIN VALID TEST", "Divide by video in these shares: all if there are no splits, valid if no test."),
    ] = None,
    label_range: Annotated[
        tuple[float, float] | None,
        option("LOW HIGH", "Lowest and highest label; default: those of mosi, mosei and sims, else those found."),
    ] = None,
    separator: Annotated[str | None, option("CHAR", "Of a CSV's columns, or tab; default: as in the header.")] = None,
    encoding: Annotated[str | None, option("NAME", "Of a CSV, such as gbk; default: UTF-8 or by its BOM.")] = None,
    audio: Annotated[
        Path | None,
        option("X.npz", "Audio features to add, or to use instead of the source's; beside .csd also a .csd."),
    ] = None,
    vision: Annotated[Path | None, option("X.npz", "Vision features, likewise.")] = None,
    text: Annotated[Path | None, option("X.npz", "Text features, likewise.")] = None,
    word_vectors: Annotated[Path | None, option("X.npz", "Text features: a vector for each word of the text.")] = None,
    text_features: Annotated[Path | None, option("X.npz", "The older name of --text.", hidden=True)] = None,
    tokenizer: Annotated[str | None, option("NAME", "The older name of --text-encoder.", hidden=True)] = None,
) -> None:
    """Read a published file, check it, and write a store."""
    from mmsa_lightning.data.importer import import_file
    from mmsa_lightning.data.releases import LABEL_RANGES, count_warning, range_warning
    from mmsa_lightning.data.store import Store

    if text_encoder and tokenizer and text_encoder != tokenizer:
        raise UserError(f"--text-encoder {text_encoder} and its older name, --tokenizer {tokenizer}, differ: give one")
    out = out or Path("stores", f"{dataset}.h5")
    meta = import_file(
        source[0],
        dataset,
        out,
        more=source[1:],
        tokenizer=text_encoder or tokenizer,
        keep_case=keep_case,
        split=split,
        label_range=label_range,
        separator=separator,
        encoding=encoding,
        text=text or text_features,
        audio=audio,
        vision=vision,
        word_vectors=word_vectors,
    )
    for line in meta.report:
        print(line)
    low, high = meta.label_range
    if label_range is None and dataset not in LABEL_RANGES:
        print(f"labels: found in [{low:g}, {high:g}], taken as their range; --label-range LOW HIGH states another")
    train, valid, test = (len(split) for split in Store(out).splits.values())
    for warning in filter(None, (count_warning(dataset, (train, valid, test)), range_warning(low, high))):
        print(f"warning: {warning}", file=sys.stderr)
    counts = f"{train} train, {valid} valid, {test} test"
    print(f"{out}: {counts}, read as {meta.layout} ({meta.release or 'no known release'})")
    print(f"next: mmsa data inspect {out}")


@data.command(cls=Command)
def extract(
    videos: Annotated[Path, argument("VIDEOS", "A CSV of id, video, start, end, text, label, split; or a folder.")],
    out: Annotated[Path, option("PATH", "A store, NAME.h5; or a folder of files, if there are no labels.")],
    dataset: Annotated[str, option("NAME", "mosi, mosei, sims or a name of your own.")] = "own",
    audio: Annotated[str, option("NAME", "librosa, opensmile, wav2vec2:NAME or none.")] = "librosa",
    vision: Annotated[str, option("NAME", "face_mesh, openface or none.")] = "face_mesh",
    words: Annotated[
        str, option("NAME", "Who hears words where no text is given: pocketsphinx, a Whisper (a directory), none.")
    ] = "pocketsphinx",
    text_encoder: Annotated[str | None, option("NAME", "Tokenize for it: minilm (default), a name, a folder.")] = None,
    keep_case: KeepCase = False,
    split: Annotated[
        tuple[float, float, float] | None, option("TRAIN VALID TEST", "Divide by video in these shares.")
    ] = None,
    label_range: Annotated[
        tuple[float, float] | None, option("LOW HIGH", "Lowest and highest label; default: those found.")
    ] = None,
    workers: Annotated[int, option("N", "How many processes.")] = 1,
) -> None:
    """Read videos: words, sound and face of each utterance, as a store."""
    from mmsa_lightning.media.install import required

    with required():
        from mmsa_lightning.media.extract import Importing, Settings
        from mmsa_lightning.media.extract import extract as run

        importing = Importing(dataset, split, label_range, text_encoder, keep_case)
        found = run(videos, out, Settings(audio, vision, words), importing, workers=workers)
    for line in found.report:
        print(line)
    print("written: " + ", ".join(map(str, found.written)))
    if found.failed:
        raise UserError(
            f"{len(found.failed)} utterances could not be extracted, {', '.join(list(found.failed)[:3])}: see above; "
            "the others are written, and the same command tries these again"
        )
    print(f"next: mmsa data inspect {out}" if out.suffix else f"next: mmsa predict MODEL {found.written[0]}")


@data.command(cls=Command)
def encode(
    store: Store,
    text_encoder: Annotated[
        str, option("NAME", "Its name on the hub, a directory, minilm or mpnet.")
    ] = "bert-base-uncased",
    out: Annotated[Path | None, option("PATH", "The new store; default: STORE's name and the encoder's.")] = None,
) -> None:
    """Encode a store's tokens with a frozen text encoder, for text=features."""
    from mmsa_lightning.data.encode import encode_store
    from mmsa_lightning.data.tokens import renamed
    from mmsa_lightning.training.trainer import quieten

    quieten()
    out = out or renamed(store, text_encoder)
    meta = encode_store(store, text_encoder, out)
    print(f"{out}: {meta.report[-1]}")
    print(f"next: python train.py data=… data.path={out} text=features")


@data.command(cls=Command)
def tokenize(
    store: Store,
    text_encoder: Annotated[str, option("NAME", "Whose tokenizer: minilm, a hub name or a directory.")],
    out: Annotated[Path | None, option("PATH", "The new store; default: STORE's name and the encoder's.")] = None,
    keep_case: KeepCase = False,
) -> None:
    """Tokenize a store's text again, for another text encoder."""
    from mmsa_lightning.data.tokenize import tokenize_store
    from mmsa_lightning.data.tokens import renamed

    out = out or renamed(store, text_encoder)
    for line in tokenize_store(store, text_encoder, out, keep_case=keep_case).report:
        print(line)
    print(f"{out}: tokenized for {text_encoder}")
    print(f"next: mmsa data inspect {out}")


@data.command(cls=Command)
def inspect(path: Store) -> None:
    """Say what is in a store."""
    from mmsa_lightning.data.inspect import describe
    from mmsa_lightning.data.store import Store

    print(describe(Store(path)))


@app.command(cls=Command)
def package(
    runs: Annotated[list[Path], argument("RUN", "A run directory, or a folder that holds one.")],
    out: Annotated[Path, option("PATH", "A folder or a .zip.")],
    ensemble: Annotated[bool, flag("--ensemble", "Average the predictions of the seeds of a row.")] = False,
    config_dir: Annotated[Path | None, option("DIR", "The folder of your own model, whose file is put in.")] = None,
) -> None:
    """Pack a trained model, to be loaded, handed on and predicted with."""
    from mmsa_lightning.experiment.result import directories
    from mmsa_lightning.inference.export import package

    runs = directories(runs)
    if len(runs) > 1 and not ensemble:
        raise UserError(
            f"{len(runs)} finished runs, {runs[0]} and others: give one, or --ensemble for a model that averages them"
        )
    if ensemble and len(runs) < 2:
        raise UserError(f"--ensemble averages two runs or more, and there is only {runs[0]}")
    about = package(runs, out, config_dir)
    size = sum(file.size for file in about.files.values())
    print(f"{out}: {about.name} on {about.dataset}, {' + '.join(about.modalities)}, {size / 1e6:.1f} MB")
    print(f"next: mmsa predict {out} INPUT --out predictions.csv")


@app.command(cls=Command)
def predict(
    model: Annotated[str, argument("MODEL", "A package's folder, .zip or name on the hub, or a run's directory.")],
    source: Annotated[str, argument("INPUT", "A store, a CSV of utterances, videos, or - for a line of text each.")],
    out: Annotated[Path, option("FILE", "Predictions, as .csv or .jsonl.")],
    audio: Annotated[Path | None, option("X.npz", "Audio features of a CSV's utterances, by their ids.")] = None,
    vision: Annotated[Path | None, option("X.npz", "Vision features, likewise.")] = None,
    text: Annotated[Path | None, option("X.npz", "Text features, likewise, for a model that reads no words.")] = None,
    split: Annotated[str, option("NAME", "Of a store: train, valid or test.")] = "test",
    attention: Annotated[bool, flag("--attention", "Also write the most attended words.")] = False,
    resume: Annotated[bool, flag("--resume", "Go on where the same command was interrupted.")] = False,
    separator: Annotated[str | None, option("CHAR", "Of a CSV's columns, or tab; default: as in the header.")] = None,
    encoding: Annotated[str | None, option("NAME", "Of a CSV, such as gbk; default: UTF-8 or by its BOM.")] = None,
    device: Annotated[str, option("NAME", "Where to compute, such as cuda.")] = "cpu",
    allow_code: Annotated[bool, flag("--allow-code", "Run the code that a package carries.")] = False,
    config_dir: OwnModel = None,
) -> None:
    """Predict the sentiment of your own utterances."""
    with uncollected():
        from mmsa_lightning.inference.command import predict

    features = {name: path for name, path in (("text", text), ("audio", audio), ("vision", vision)) if path}
    lines = predict(
        model,
        source,
        out,
        features=features,
        split=split,
        attention=attention,
        resume=resume,
        separator=separator,
        encoding=encoding,
        device=device,
        allow_code=allow_code,
        code=config_dir,
    )
    print(*lines, sep="\n")


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
    runs: Annotated[list[Path], argument("RUNS", "Run directories, or folders that hold some.")],
    out: Out = Path("report"),
    mask_seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Masks of seeds 1 to N.")] = 3,
    config_dir: OwnModel = None,
) -> None:
    """Measure finished runs on test with parts of it missing."""
    with extra("report"):
        from mmsa_lightning.report.page import find_cells
        from mmsa_lightning.report.robustness import write_robustness
    from mmsa_lightning.experiment.robustness import evaluate

    cells = find_cells(runs)
    for cell in cells:
        measured = evaluate(cell.run_dir, range(1, mask_seeds + 1), config_dir)
        print(f"{cell.run_dir}: {'measured' if measured else 'as before'}", flush=True)
    print(write_robustness(cells, out))


@app.command(cls=Command)
def evaluate(
    runs: Annotated[list[Path], argument("RUNS", "Run directories, or folders that hold some.")],
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
        from mmsa_lightning.report.evaluation import write_evaluation
        from mmsa_lightning.report.page import find_cells
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
    runs: Annotated[list[Path], argument("RUNS", "Run directories, or folders that hold some.")],
    out: Annotated[Path, option("FILE", "The page.")] = Path("report.html"),
    labels: Annotated[
        Path | None, option("DIR", "Write there, too, how generated labels agree with true ones: tables, a picture.")
    ] = None,
    against: Against = None,
) -> None:
    """Show finished runs as one page of HTML that opens offline."""
    with extra("report"):
        from mmsa_lightning.report.page import write_page
    print(*write_page(runs, out, labels, against=against), sep="\n")


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
def watch(
    model: Annotated[str, argument("MODEL", "A package of a model whose data mmsa data extract made.")],
    videos: Annotated[Path, argument("VIDEOS", "A video, a folder of videos, or a list of utterances.")],
    out: Annotated[Path, option("FILE", "The page.")] = Path("watch.html"),
) -> None:
    """Show what a model makes of a video, as one page of HTML that opens offline."""
    from mmsa_lightning.media.install import required

    with extra("report"), required():
        from mmsa_lightning.inference.load import load
        from mmsa_lightning.report.video import write_video
    count = write_video(load(model), videos, out)
    print(f"{out}: {count} utterances")


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


@app.command(cls=Command)
def serve(
    package: Annotated[str, argument("PACKAGE", "A folder or .zip of mmsa package, or user/name on the hub.")],
    host: Annotated[str, option("NAME", "Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")] = 8000,
    device: Annotated[str, option("NAME", "Where to compute, such as cuda.")] = "cpu",
    allow_code: Annotated[bool, flag("--allow-code", "Run the code that the package carries.")] = False,
) -> None:
    """Serve a trained model: a page and a JSON API."""
    with extra("serve"):
        from mmsa_lightning.inference.serve.run import serve as start
    from mmsa_lightning.inference.load import load

    start(load(package, device=device, allow_code=allow_code), host, port)


@app.command(cls=Command)
def info() -> None:
    """Print versions, devices and paths, to paste into an issue."""
    from mmsa_lightning.experiment.info import facts

    print(*facts(), sep="\n")


if __name__ == "__main__":
    main()
