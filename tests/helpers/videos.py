"""Small videos: tones and coloured pictures whose every moment is known."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIDE = 64


def write(
    path: Path,
    seconds: float = 2.0,
    *,
    fps: int = 10,
    sound: np.ndarray | None = None,
    sound_rate: int = 48_000,
    delay: float = 0.0,
    pictures: bool = True,
    codecs: tuple[str, str] | None = None,
    options: dict[str, str] | None = None,
    title: str = "",
    aspect: Fraction | None = None,
    layout: str = "mono",
) -> Path:
    """A video whose picture is as bright as it is late: grey 20 at its start, 220 at its end.

    Args:
        path: an .mp4 or what else ffmpeg writes.
        seconds: how long the pictures last.
        fps: pictures a second.
        sound: float32 (samples,) at ``sound_rate``; None: no sound track.
        delay: seconds after the pictures' start at which the sound begins.
        pictures: whether there is a picture track.
        codecs: of pictures and sound; None: some that suit the file.
        options: of the container.
        title: that stands in it.
        aspect: of a pixel, its width by its height; None: not said.
        layout: of the sound, which is the same in all channels.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata["title"] = title
        tracks = []
        if pictures:
            video = container.add_stream(codecs[0] if codecs else "libx264", fps)
            video.width = video.height = SIDE
            video.pix_fmt = "yuv420p"
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
            tracks.append(video)
        if sound is not None:
            fitting = "pcm_s16le" if path.suffix in (".wav", ".mov") else "aac"
            audio = container.add_stream(codecs[1] if codecs else fitting, sound_rate)
            audio.layout = layout
            tracks.append(audio)
        for i in range(round(seconds * fps) if pictures else 0):
            grey = np.full((SIDE, SIDE, 3), brightness(i / fps, seconds), np.uint8)
            grey[: SIDE // 2, : SIDE // 2] = 0  # the upper left is dark, so that a turn is seen
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            for packet in video.encode(frame):
                container.mux(packet)
        if sound is not None:
            frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = sound_rate, Fraction(1, sound_rate)
            frame.pts = round(delay * sound_rate)
            for packet in audio.encode(frame):
                container.mux(packet)
        for track in tracks:
            for packet in track.encode(None):
                container.mux(packet)
    return path


def claim(path: Path, seconds: float) -> Path:
    """Let an .mkv say that it is so long."""
    content = bytearray(path.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3  # Matroska's Duration, of eight bytes, in milliseconds
    content[place : place + 8] = struct.pack(">d", 1000 * seconds)
    path.write_bytes(content)
    return path


def brightness(at: float, seconds: float) -> int:
    return round(20 + 200 * at / seconds)


def tone(seconds: float, hertz: float = 440.0, rate: int = 48_000) -> np.ndarray:
    """Float32 (samples,) of half the loudness that there can be."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
