"""Sound and pictures of a stretch of a local video file, by PyAV (ffmpeg)."""

from __future__ import annotations

import contextlib
import heapq
import math
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.audio.resampler import AudioResampler

from mmsa_lightning.errors import UserError
from mmsa_lightning.files import check_content

SPEECH_RATE = 16_000  # Hz: what recognisers of speech read
# Containers of one file. A playlist (HLS, DASH, concat, …) would open other files or addresses.
CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,wav,flac,mp3,aac,m4v,gif"
LARGEST = 960  # pixels of a picture's longer side: more would only take time
EDGE = 0.1  # seconds of sound before and after a stretch, for the resampler
SLACK = 0.5  # seconds before a stretch that are decoded too: a seek may end behind the first frame that it needs
HELD_BACK = 16  # pictures that a decoder keeps, at most, until those that are seen earlier have come
BACK = 1.0  # seconds by which times may go back: some files are not exact
BEFORE = 10.0  # seconds before a file's start from which on a seek finds its first packet

T = TypeVar("T")

av.logging.set_level(av.logging.PANIC)  # ffmpeg's own lines are for its developers


@dataclass(frozen=True)
class Described:
    """What a file says of itself, which need not be true.

    Attributes:
        seconds: how long it is; where it does not say, as the films of a browser's recorder, when its last packet ends.
            None: its packets say nothing either.
        sound, picture: whether there is a track of it.
    """

    seconds: float | None
    sound: bool
    picture: bool


def describe(path: Path) -> Described:
    """What is in a file.

    Raises:
        UserError: there is none, or it is no video or sound that ffmpeg reads.
    """
    with _opened(path) as container:
        seconds = _last(container) if container.duration is None else container.duration / av.time_base
        return Described(seconds, bool(container.streams.audio), bool(_pictures(container)))


def length(path: Path) -> float | None:
    """When the last packet of a file ends, in seconds from its start; None where none says so.

    All of them are read for it, since what a file says of itself need not be true.

    Raises:
        UserError: as :func:`describe`.
    """
    with _opened(path) as container:
        return _last(container)


def sound(
    path: Path, start: float, end: float | None, rate: int = SPEECH_RATE, *, most: float = math.inf
) -> np.ndarray | None:
    """The sound of a stretch, all channels mixed.

    Args:
        path: the file.
        start, end: in seconds from the file's start; None: to its end.
        rate: in Hz, what the sound is resampled to.
        most: seconds after which decoding ends, if ``end`` is None: a small file may hold many hours of silence.

    Returns:
        float32 (samples,) in [-1, 1], from ``start`` on: where the track has a gap, or begins later, there is silence.
        None: the file has no sound.

    Raises:
        UserError: as :func:`describe`; the sound cannot be decoded, or holds a sample that is not a finite number.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        blocks: list[tuple[int, np.ndarray]] = []  # place of the first sample, samples
        last = start + most if end is None else end + EDGE
        found = (_timed(*timed) for timed in _frames(container, stream, start - EDGE, last))
        first: int | None = None
        for (*_, own), alike in groupby(found, key=_setup):  # a broadcast may go on with other channels
            first = first or own
            if own != first:  # then times may be of the first rate
                raise _joined(container, f"its sound changes from {first} to {own} samples a second")
            resampler = AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in chain(alike, [None]):
                blocks += [(_place(out, start, rate), out.to_ndarray()[0]) for out in resampler.resample(frame)]
    behind = max((place + len(samples) for place, samples in blocks), default=0)
    wave = np.zeros(max(0, behind if end is None else round((end - start) * rate)), np.float32)
    for place, samples in blocks:
        kept = samples[max(0, -place) : len(wave) - place if place < len(wave) else 0]
        wave[max(0, place) : max(0, place) + len(kept)] = kept
    if not np.isfinite(wave).all():
        raise UserError(f"{path} has samples of sound that are infinite or not a number")
    return np.clip(wave, -1, 1)


def frames(path: Path, start: float, end: float | None, rate: float) -> Iterator[tuple[float, np.ndarray]]:
    """Pictures of a stretch, at most ``rate`` a second, one at a time: memory does not grow with the stretch.

    Yields:
        seconds from ``start``, uint8 (height, width, 3) in red, green, blue, turned and as wide as the file says it is
        to be seen, the longer side no longer than :data:`LARGEST`.

    Raises:
        UserError: as :func:`describe`; a picture cannot be decoded.
    """
    with _opened(path) as container:
        pictures = _pictures(container)
        if not pictures:
            return
        aspect = float(pictures[0].sample_aspect_ratio or 1)
        stretch = ((seconds - start, frame) for seconds, frame in _frames(container, pictures[0], start, end))
        for at, frame in thinned(stretch, rate):
            yield at, _picture(frame, aspect)


def thinned(frames: Iterator[tuple[float, T]], rate: float) -> Iterator[tuple[float, T]]:
    """The first frame of each 1 / ``rate`` seconds; it may begin two milliseconds early, as rounded times do."""
    last = None
    for at, frame in frames:
        slot = int((at + 0.002) * rate)
        if slot != last:
            last = slot
            yield at, frame


def _picture(frame: Any, aspect: float) -> np.ndarray:
    """``aspect`` is the width of a pixel by its height."""
    width = frame.width * aspect
    share = min(1.0, LARGEST / max(width, frame.height))
    size = {"width": max(1, round(width * share)), "height": max(1, round(frame.height * share))}
    picture = frame.reformat(**size, format="rgb24", interpolation="AREA").to_ndarray()
    # Quarter turns, counter-clockwise: a phone held on end says so beside the picture.
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90) % 4))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file's container; nothing but this file is opened, whatever is in it."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        check_content(path)
        options: dict[str, Any] = {"options": {"format_whitelist": CONTAINERS}, "metadata_errors": "replace"}
        with path.open("rb") as file, av.open(file, **options) as container:
            yield container
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video ({_reason(error)})") from error
    except OSError as error:  # of a failing disk, for one
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _reason(error: av.FFmpegError) -> str:
    return (error.strerror or os.strerror(error.errno or 0)).lower()


def _pictures(container: Any) -> list[Any]:
    """Video tracks, without the cover of a song."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def _frames(container: Any, stream: Any, start: float, end: float | None) -> Iterator[tuple[float, Any]]:
    """Decoded frames that lie in a stretch, each after its time in seconds from the file's start."""
    stream.thread_count = 1
    zero = (container.start_time or 0) / av.time_base
    for seconds, frame in _from(container, stream, start, zero):
        if end is not None and seconds >= end:
            return
        length = frame.samples / frame.sample_rate if hasattr(frame, "samples") else 0.0
        if seconds + length >= start and (length or seconds >= start - 1e-6):
            yield seconds, frame


def _from(container: Any, stream: Any, start: float, zero: float) -> Iterator[tuple[float, Any]]:
    """Decoded frames from one on that is no later than ``start``, or from the track's first.

    MPEG streams have no index: a seek there may end far behind the picture that the next ones are made of.
    """
    slack = SLACK
    while start > slack:
        container.seek(int((start - slack + zero) * av.time_base), backward=True)
        found = _decoded(container, stream, zero, cut=True)
        first = next(found, None)
        if first is not None and first[0] <= start:
            yield first
            yield from found
            return
        slack *= 4
    if slack > SLACK:
        container.seek(int((zero - BEFORE) * av.time_base), backward=True)
    yield from _decoded(container, stream, zero, cut=False)


def _decoded(container: Any, stream: Any, zero: float, *, cut: bool) -> Iterator[tuple[float, Any]]:
    """Each frame after its time, in their order."""
    found = _as_stored(container, stream, zero, cut=cut)
    return found if stream.type == "audio" else _in_order(found)


def _in_order(found: Iterator[tuple[float, T]]) -> Iterator[tuple[float, T]]:
    """Pictures come as they are seen. In an .avi times are of packets, and so in another order: each gets the next."""
    times: list[float] = []
    pictures: deque[T] = deque()
    for seconds, picture in found:
        heapq.heappush(times, seconds)
        pictures.append(picture)
        if len(times) > HELD_BACK:
            yield heapq.heappop(times), pictures.popleft()
    while times:
        yield heapq.heappop(times), pictures.popleft()


def _as_stored(container: Any, stream: Any, zero: float, *, cut: bool) -> Iterator[tuple[float, Any]]:
    """Each frame after its time; the first packet is not whole, perhaps, where the stream was ``cut`` by a seek."""
    latest = -math.inf
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.InvalidDataError:
            if not cut:
                raise
            continue
        for frame in decoded:
            if frame.pts is not None:
                cut = False
                seconds = float(frame.pts * frame.time_base) - zero
                if seconds < latest - BACK:
                    raise _joined(container, f"its times go back at {latest:.1f} s")
                latest = max(latest, seconds)
                yield seconds, frame


def _joined(container: Any, what: str) -> UserError:
    return UserError(
        f"{container.name}: {what}, as where files were joined end to end: make one of it, as by ffmpeg -i OLD NEW.mp4"
    )


def _last(container: Any) -> float | None:
    """When the last packet of a file ends, in seconds from the file's start."""
    zero = (container.start_time or 0) / av.time_base
    ends = (float((p.pts + (p.duration or 0)) * p.time_base) for p in container.demux() if p.pts is not None)
    last = max(ends, default=None)
    return None if last is None else last - zero


def _timed(seconds: float, frame: Any) -> Any:
    frame.time_base = Fraction(1, frame.sample_rate)
    frame.pts = round(seconds * frame.sample_rate)
    return frame


def _setup(frame: Any) -> tuple[str, str, int]:
    """What a resampler is made for."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def _place(frame: Any, start: float, rate: int) -> int:
    return round(float(frame.pts * frame.time_base) * rate - start * rate)
