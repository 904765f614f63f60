"""How much a server takes: of one request, and of all together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Attributes:
        body: bytes of a request's body.
        utterances: in a request.
        characters: of a text.
        clip: bytes of a video.
        clip_s: seconds that a video may last.
        clips: videos that wait for being read, one of them at a time.
        body_s: seconds in which a request's body has to be there.
        idle_s: seconds in which a connection has to begin a request, with all of its headers.
        answer_s: seconds that a request waits for its answer.
        connections: at the same time.
        queue: utterances that wait for the model.
        batch: utterances that are collected from waiting requests; a larger request goes alone.
        collect_s: seconds that the first of them waits for others.
    """

    body: int = 8 << 20
    utterances: int = 256
    characters: int = 10_000
    clip: int = 64 << 20
    clip_s: float = 60.0
    clips: int = 4
    body_s: float = 10.0
    idle_s: int = 5
    answer_s: float = 60.0
    connections: int = 128
    queue: int = 4096
    batch: int = 64
    collect_s: float = 0.004
