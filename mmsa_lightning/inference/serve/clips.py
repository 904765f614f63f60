"""Videos that are sent to a server: kept in a file while they are read, one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.about import About
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.serve.batching import Full
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.videos import VideoReader, reads_a_video_alone
from mmsa_lightning.media.clips import Clip

NAME = "clip"  # of the file


class Clips:
    """Reads videos for one model.

    Args:
        about: of the model.
        limits: of which ``clips`` and ``clip_s``.
    """

    def __init__(self, about: About, limits: Limits) -> None:
        self.about = about
        self.limits = limits
        self.reader: VideoReader | None = None  # made for the first video: its models take a second to load
        self.turn = threading.Lock()  # held by the reading itself, which a client that goes away does not end
        self.waiting = 0

    async def read(self, body: AsyncIterator[bytes]) -> Utterance:
        """What the model reads of a video.

        Args:
            body: its bytes.

        Raises:
            UserError: the model reads no videos, or this one is not readable, or too long.
            Full: too many wait.
        """
        if self.waiting >= self.limits.clips:
            raise Full
        self.waiting += 1
        try:
            with TemporaryDirectory(prefix="mmsa-clip-") as folder:
                path = Path(folder) / NAME
                with path.open("wb") as file:
                    async for block in body:
                        file.write(block)
                return await asyncio.to_thread(self._read, path)
        finally:
            self.waiting -= 1

    def _read(self, path: Path) -> Utterance:
        from mmsa_lightning.media.decode import length

        try:
            with self.turn:
                self.reader = self.reader or VideoReader(self.about)
                if not reads_a_video_alone(self.about):
                    raise UserError("this model reads OpenFace's table beside a video: take mmsa predict on both")
                seconds = length(path)
                if seconds is not None and seconds > self.limits.clip_s:
                    raise UserError(f"the clip lasts {seconds:.0f} s: {self.limits.clip_s:g} s are taken at most")
                return self.reader(Clip(NAME, path, 0.0, self.limits.clip_s if seconds is None else None))[1]
        except UserError as error:
            raise UserError(str(error).replace(str(path), "the clip")) from error
