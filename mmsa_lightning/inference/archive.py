"""Where a package lies: a folder, a .zip of one, or a repository on the Hugging Face hub. Its files are checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mmsa_lightning.errors import UserError
from mmsa_lightning.inference import about
from mmsa_lightning.inference.about import CARD, CONFIG, TEXT_ENCODER, About

LARGEST_CONFIG = 1 << 24  # bytes
MOST = 20  # times its size that a zip unpacks to: weights can hardly be packed


@contextlib.contextmanager
def opened(where: str | Path, revision: str | None = None) -> Iterator[tuple[About, Path]]:
    """What a package says of itself, and a folder with its files, as long as the context lasts.

    Args:
        where: a folder, a .zip, or ``user/name`` on the hub.
        revision: a branch, tag or commit on the hub.

    Raises:
        UserError: there is no package, or its files are not those that it says.
    """
    path = Path(where)
    if path.is_dir():
        yield _checked(path), path
    elif path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            _extract(path, Path(folder))
            yield _checked(Path(folder), path), Path(folder)
    elif path.exists() or str(where).count("/") != 1 or str(where).startswith((".", "~", "/")):
        raise UserError(f"there is no package at {where}; mmsa package RUN --out {where} makes one of a run")
    else:
        snapshot = _fetched(str(where), revision)
        yield _checked(snapshot, path), snapshot


def foreign(folder: Path) -> list[str]:
    """What lies in the folder of a package, see :func:`is_package`, beside what the package says that it has."""
    try:
        named = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["files"]
        own = {Path(name).parts[0] for name in named if name}
    except (OSError, LookupError, TypeError, ValueError, RecursionError):
        own = set()  # made by another version
    return sorted(path.name for path in folder.iterdir() if path.name not in {CONFIG, CARD, *own})


def is_package(path: Path) -> bool:
    """Whether a folder or a .zip says that it is a package, of this version or another."""
    try:
        if path.is_dir():
            with (path / CONFIG).open("rb") as file:
                text = file.read(LARGEST_CONFIG)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as packed:
                text = packed.read(LARGEST_CONFIG)
        return str(json.loads(text)["format"]).startswith(about.FORMATS)
    except (OSError, zipfile.BadZipFile, LookupError, TypeError, ValueError, RecursionError):
        return False


def _checked(folder: Path, shown: Path | None = None) -> About:
    """What the package in a folder says of itself, if its files are as it says."""
    shown = shown or folder
    config = folder / CONFIG
    try:
        if not config.is_file():
            raise UserError(f"{shown} has no {CONFIG}: it is no package; mmsa package RUN --out DIR makes one of a run")
        if config.stat().st_size > LARGEST_CONFIG:
            raise UserError(f"{shown}: {CONFIG} has {config.stat().st_size} bytes, which is no package's")
        found = about.read(config.read_bytes())
    except ValueError as error:
        raise UserError(f"{shown}: {CONFIG}: {error}") from error
    beside = folder / TEXT_ENCODER  # where transformers reads whatever is there
    here = [path.name for path in beside.iterdir() if not path.name.startswith(".")] if beside.is_dir() else []
    if other := [name for name in here if f"{TEXT_ENCODER}/{name}" not in found.files]:
        raise UserError(f"{shown}: {TEXT_ENCODER}/{other[0]} is no file of it: take it away")
    for name, file in found.files.items():
        path = folder / name
        status = path.stat() if path.exists() else None
        if status is None or not stat.S_ISREG(status.st_mode):
            raise UserError(f"{shown} lacks its file {name}: copy or download the package again")
        if status.st_size != file.size or _sha256(path) != file.sha256:
            raise UserError(f"{shown}: {name} is not the file that {CONFIG} says: copy or download the package again")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(path: Path, folder: Path) -> None:
    """Write out the files of a package that a zip holds: those that it names itself, and no more bytes than it says."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise UserError(f"{path} has a file twice: it is no package")
            if CONFIG not in members:
                raise UserError(f"{path} has no {CONFIG}: it is no package")
            if members[CONFIG].file_size > LARGEST_CONFIG:
                raise UserError(f"{path}: {CONFIG} has {members[CONFIG].file_size} bytes, which is no package's")
            text = archive.read(CONFIG)
            (folder / CONFIG).write_bytes(text)
            found = about.read(text).files
            if (size := sum(file.size for file in found.values())) > MOST * path.stat().st_size:
                raise UserError(f"{path}: its files unpack to {size} bytes, which is no package's")
            for name, file in found.items():  # names that have been checked
                if name not in members or members[name].file_size != file.size:
                    raise UserError(f"{path}: {name} is not the file that {CONFIG} says: copy or download it again")
                (folder / name).parent.mkdir(exist_ok=True)
                with archive.open(name) as packed, (folder / name).open("wb") as out:
                    shutil.copyfileobj(packed, out, 1 << 20)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: {CONFIG}: {error}") from error
    except OSError as error:  # the disk is full: that of a file that is open names none
        raise OSError(error.errno, error.strerror or str(error), error.filename or str(folder)) from error
    except Exception as error:  # a damaged archive raises nearly anything
        raise UserError(f"{path} is no package, neither a folder nor a whole .zip of one ({error})") from error


def _fetched(name: str, revision: str | None) -> Path:
    """The folder of a snapshot from the hub, or from its cache on this machine."""
    from huggingface_hub import snapshot_download

    try:
        wanted = [CONFIG, CARD, "*.safetensors", "*.py", f"{TEXT_ENCODER}/*"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except Exception as error:  # offline, unknown, private: each release of the client raises its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"there is no package at {name}, and it cannot be had from the hub ({reason}); give a folder or a .zip of "
            "mmsa package, or a user/name of the hub with a network"
        ) from error
