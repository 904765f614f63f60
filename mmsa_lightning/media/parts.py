"""What was extracted so far, one file an utterance: a run that is killed goes on from it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.data.extraction import Extraction
from mmsa_lightning.data.formats.npz import Archive
from mmsa_lightning.errors import UserError
from mmsa_lightning.media.clips import Clip
from mmsa_lightning.media.tools import Extracted
from mmsa_lightning.media.words import Word

_OURS = re.compile(r"[0-9a-f]{32}\.npz")


class Parts:
    """A folder of utterances that were extracted in one way.

    Args:
        folder: where; made if it is not there.
        extraction: the way: of another one nothing in the folder counts.
    """

    def __init__(self, folder: Path, extraction: Extraction) -> None:
        self.folder = folder
        self.extraction = extraction
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, clip: Clip) -> Path:
        """An utterance's file; another one as soon as the list, its video or the extractors change."""
        stat = clip.video.stat()
        beside = sorted(
            (p.name, p.stat().st_mtime_ns) for p in clip.video.parent.glob(f"{_escaped(clip.video.stem)}.*")
        )
        given = {**asdict(clip), "video": clip.video.name, "size": stat.st_size, "beside": beside}
        for judged in ("label", "unimodal", "split"):  # which nothing is extracted from
            del given[judged]
        key = json.dumps([given, asdict(self.extraction)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

    def write(self, clip: Clip, found: Extracted) -> None:
        """Keep an utterance, whole or not at all."""
        arrays = {f"{m}_times": times for m, times in found.times.items()}
        arrays |= {f"{m}_values": values for m, values in found.values.items()}
        other = {"words": [asdict(word) for word in found.words], "row": found.row, "notes": found.notes}
        memory = io.BytesIO()
        np.savez_compressed(memory, about=np.frombuffer(json.dumps(other).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        with files.aside(self.path(clip)) as temporary:
            temporary.write_bytes(memory.getvalue())

    def read(self, clip: Clip) -> Extracted:
        """An utterance that is there.

        Raises:
            UserError: its file is damaged.
        """
        path = self.path(clip)
        archive = Archive(path)
        try:
            about = json.loads(archive["about"].tobytes())
            arrays = {name: archive[name] for name in archive.members if name != "about"}
            return Extracted(
                [Word(**word) for word in about["words"]],
                {name.removesuffix("_times"): a for name, a in arrays.items() if name.endswith("_times")},
                {name.removesuffix("_values"): a for name, a in arrays.items() if name.endswith("_values")},
                about["row"],
                about["notes"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: remove it, and the utterance is extracted again") from error

    def remove(self) -> None:
        """The utterances' files, and the folder if nothing else is in it."""
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                path.unlink()
        with contextlib.suppress(OSError):  # a user's own folder of that name
            self.folder.rmdir()


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)
