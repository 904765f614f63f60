"""Keep the runs of a table where their data may not be published, and make them whole again from the data.

    python experiments/archive.py pack runs/mosi --out experiments/results/mosi_weightings/runs.zip
    python experiments/archive.py unpack experiments/results/mosi_weightings/runs.zip --store stores/mosi.h5 --out runs

An archive has what a run measured, its settings and its predictions in the order of the store, but no id, text or label
of an utterance. With the store that it was trained on, tables with tests can be made of it, beside runs of one's own.
What ``mmsa robustness`` and ``mmsa evaluate`` measured later is not in it: they need the weights.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmsa_lightning import files
from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError, one_line_errors
from mmsa_lightning.experiment import result

COPIED = (result.NAME, "config.yaml", "metrics.csv")
VALUES = "predictions"  # one a line, below the SHA-256 of the file that they are of


def pack(folders: list[Path], out: Path) -> None:
    """Write the archive of all finished runs below some folders.

    Raises:
        UserError: a folder has none; two runs would have the same place.
    """
    found: dict[str, Path] = {}
    for run_dir in result.directories([folder.resolve() for folder in folders]):
        if (other := found.setdefault(result.place(run_dir), run_dir)) != run_dir:
            raise UserError(f"{other} and {run_dir} would be one run in the archive: pack them one by one")
    with files.aside(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, run_dir in found.items():
            members = {name: (run_dir / name).read_bytes() for name in COPIED}
            values = [row["prediction"] for row in files.read_rows(run_dir / result.PREDICTIONS)]
            members[VALUES] = "\n".join([files.sha256(run_dir / result.PREDICTIONS), *values]).encode()
            for name, content in members.items():  # without a time, so that the same runs are the same archive
                archive.writestr(zipfile.ZipInfo(f"{place}/{name}"), content, zipfile.ZIP_DEFLATED)
    for name in result.MEASURED_LATER:
        if count := sum((run_dir / name).is_file() for run_dir in found.values()):
            print(f"left out: {name} of {count} runs")


def unpack(path: Path, store: Path, out: Path) -> None:
    """Write the runs of an archive below a folder.

    Raises:
        UserError: they were trained on other data than the store's; something in the archive is no part of a run; a run
            of one's own is in the place of one.
    """
    known = utterances(store)
    with opened(path) as archive:
        for member in archive.namelist():
            there = out / member
            if there.name != result.NAME:
                continue
            own = (
                there.read_bytes() != archive.read(member)
                if there.is_file()
                else (there.parent / "checkpoints").exists()
            )
            if own:
                raise UserError(f"{there.parent} is a run of your own: unpack to another --out")
        # Predictions first: a run has no result, and so is none, before its data are known to be those.
        for member in sorted(archive.namelist(), key=lambda member: not member.endswith(f"/{VALUES}")):
            place, _, name = member.rpartition("/")
            if name not in (*COPIED, VALUES) or not (out / place).resolve().is_relative_to(out.resolve()):
                raise UserError(f"{path}: {member} is no part of a run")
            (out / place).mkdir(parents=True, exist_ok=True)
            if name != VALUES:
                (out / member).write_bytes(archive.read(member))
                continue
            expected, *values = archive.read(member).decode().split("\n")
            with files.aside(out / place / result.PREDICTIONS) as temporary:
                files.write_rows(temporary, [{**row, "prediction": v} for row, v in zip(known, values, strict=False)])
                if len(values) != len(known) or files.sha256(temporary) != expected:
                    raise UserError(f"{path}: {place} was not trained on what {store} has now")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive to read.

    Raises:
        UserError: it is none, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is no archive of runs, or a damaged one ({error}): get it again") from error


def utterances(store: Path) -> list[dict[str, object]]:
    """Those of valid and test, as the rows of ``predictions.csv`` have them."""
    splits, rows = Store(store).splits, list[dict[str, object]]()
    for name in ("valid", "test"):
        texts = splits[name].raw_text or [""] * len(splits[name])
        for id, label, text in zip(splits[name].ids, files.short(splits[name].label), texts, strict=True):
            rows.append({"split": name, "id": id, "label": label, "prediction": "", "text": text})
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("runs", nargs="+", type=Path, help="folders that hold runs")
    packing.add_argument("--out", type=Path, required=True, help="the archive")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("archive", type=Path)
    unpacking.add_argument("--store", type=Path, required=True, help="the data that the runs were trained on")
    unpacking.add_argument("--out", type=Path, required=True, help="the folder of all runs")
    args = parser.parse_args(argv)
    with one_line_errors():
        if args.command == "pack":
            pack(args.runs, args.out)
        else:
            unpack(args.archive, args.store, args.out)


if __name__ == "__main__":
    main(sys.argv[1:])
