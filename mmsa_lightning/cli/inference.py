"""``mmsa package``, ``predict``, ``watch`` and ``serve``: what was learnt, on new data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmsa_lightning.cli.parser import Command, Encoding, OwnModel, Separator, app, argument, extra, flag, option
from mmsa_lightning.errors import UserError
from mmsa_lightning.memory import uncollected

Device = Annotated[str, option("NAME", "Where to compute, such as cuda.")]


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
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = "cpu",
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
def watch(
    model: Annotated[str, argument("MODEL", "A package of a model whose data mmsa data extract made.")],
    videos: Annotated[Path, argument("VIDEOS", "A video, a folder of videos, or a list of utterances.")],
    out: Annotated[Path, option("FILE", "The page.")] = Path("watch.html"),
    separator: Separator = None,
    encoding: Encoding = None,
) -> None:
    """Show what a model makes of a video, as one page of HTML that opens offline."""
    from mmsa_lightning.media.install import required

    with extra("report"), required():
        from mmsa_lightning.inference.load import load
        from mmsa_lightning.report.video import write_video
    count, more = write_video(load(model), videos, out, separator=separator, encoding=encoding)
    print(f"{out}: {f'the first {count}' if more else count} utterances")


@app.command(cls=Command)
def serve(
    package: Annotated[str, argument("PACKAGE", "A folder or .zip of mmsa package, or user/name on the hub.")],
    host: Annotated[str, option("NAME", "Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")] = 8000,
    device: Device = "cpu",
    allow_code: Annotated[bool, flag("--allow-code", "Run the code that the package carries.")] = False,
) -> None:
    """Serve a trained model: a page and a JSON API."""
    with extra("serve"):
        from mmsa_lightning.inference.serve.run import serve as start
    from mmsa_lightning.inference.load import load

    start(load(package, device=device, allow_code=allow_code), host, port)
