"""Sound and pictures of a stretch, against videos whose every moment is known."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import videos

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import decode


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of pictures; one second of silence, then three of a tone at 440 Hz."""
    sound = np.concatenate([np.zeros(48_000, np.float32), videos.tone(3.0)])
    return videos.write(tmp_path_factory.mktemp("video") / "a.mp4", 4.0, sound=sound)


def hertz(sound: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound))


def test_what_is_in_a_file(video: Path, tmp_path: Path) -> None:
    found = decode.describe(video)
    assert found.seconds == pytest.approx(4.0, abs=0.1)
    assert (found.sound, found.picture) == (True, True)
    silent = decode.describe(videos.write(tmp_path / "silent.mp4", 1.0))
    assert (silent.sound, silent.picture) == (False, True)
    heard = decode.describe(videos.write(tmp_path / "heard.wav", sound=videos.tone(0.5), pictures=False))
    assert (heard.sound, heard.picture) == (True, False)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_sound_of_a_stretch(video: Path, rate: int) -> None:
    whole = decode.sound(video, 0.0, None, rate)
    assert whole is not None
    assert whole.dtype == np.float32
    assert len(whole) / rate == pytest.approx(4.0, abs=0.05)
    assert np.abs(whole[: int(0.95 * rate)]).max() < 0.01
    assert hertz(whole[rate:], rate) == pytest.approx(440, abs=1)
    for start, end in ((0.5, 2.5), (2.0, 3.0)):
        part = decode.sound(video, start, end, rate)
        assert part is not None
        assert len(part) == round((end - start) * rate)
        same = whole[round(start * rate) : round(end * rate)]
        # Where a sample falls between those of the resampler depends on where it began.
        assert np.abs(part - same).max() < 0.05


@pytest.mark.parametrize(
    ("name", "codecs"),
    [("a.ts", ("libx264", "aac")), ("a.mpg", ("mpeg2video", "mp2")), ("a.mkv", ("libx264", "aac"))],
)
def test_a_stretch_of_a_stream_without_an_index(tmp_path: Path, name: str, codecs: tuple[str, str]) -> None:
    """Of the ten seconds only the first picture is whole in H.264: the others are changes of it."""
    path, seconds = tmp_path / name, 10.0
    videos.write(path, seconds, sound=videos.tone(seconds), codecs=codecs)
    found = list(decode.frames(path, 6.0, 8.0, 10))
    assert len(found) == pytest.approx(20, abs=1)
    for at, picture in found:
        assert picture[48, 48].mean() == pytest.approx(videos.brightness(6.0 + at, seconds), abs=8)
    heard = decode.sound(path, 6.0, 8.0)
    assert heard is not None
    assert hertz(heard, 16_000) == pytest.approx(440, abs=1)
    assert np.abs(heard.reshape(-1, 1600)).max(axis=1).min() > 0.4


def joined(folder: Path, *parts: Path) -> Path:
    (folder / f"joined{parts[0].suffix}").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / f"joined{parts[0].suffix}"


def test_a_sound_that_goes_on_with_other_channels(tmp_path: Path) -> None:
    """As in a broadcast."""
    parts = []
    for layout, height in (("mono", 300.0), ("stereo", 600.0)):
        sound = videos.tone(2.0, height)
        parts.append(videos.write(tmp_path / f"{layout}.aac", sound=sound, pictures=False, layout=layout))
    found = decode.sound(joined(tmp_path, *parts), 0.0, None)
    assert found is not None and len(found) / 16_000 == pytest.approx(4, abs=0.1)
    assert hertz(found[8000:24_000], 16_000) == pytest.approx(300, abs=2)
    assert hertz(found[-24_000:-8000], 16_000) == pytest.approx(600, abs=2)


def test_a_sound_that_goes_on_at_another_rate_is_refused(tmp_path: Path) -> None:
    """ffmpeg counts the time of such a file by its first rate."""
    parts = []
    for rate in (44_100, 22_050):
        sound = videos.tone(2.0, rate=rate)
        parts.append(videos.write(tmp_path / f"{rate}.aac", sound=sound, sound_rate=rate, pictures=False))
    with pytest.raises(UserError, match="its sound changes from 44100 to 22050 samples a second"):
        decode.sound(joined(tmp_path, *parts), 0.0, None)


def test_a_stream_whose_times_begin_again_is_refused(tmp_path: Path) -> None:
    """The second half would come to lie on the first."""
    part = videos.write(tmp_path / "a.ts", 2.0, sound=videos.tone(2.0))
    path = joined(tmp_path, part, part)
    with pytest.raises(UserError, match=r"joined[.]ts: its times go back at 2[.]0 s"):
        decode.sound(path, 0.0, None)
    with pytest.raises(UserError, match=r"its times go back at 1[.]9 s"):
        list(decode.frames(path, 0.0, None, 10))


@pytest.mark.parametrize("start", [0.0, 2.0])
def test_pictures_of_an_avi_come_in_the_order_in_which_they_are_seen(tmp_path: Path, start: float) -> None:
    """It stores the order of packets alone, which is another where pictures are made of later ones."""
    path = videos.write(tmp_path / "a.avi", 4.0, fps=25, codecs=("libx264", "mp3"))
    with av.open(str(path)) as container:
        stored = [frame.pts for frame in container.decode(video=0)]
    assert stored != sorted(stored)
    found = list(decode.frames(path, start, None, 25))
    times = np.array([at for at, _ in found])
    assert (np.diff(times) > 0).all() and len(found) == pytest.approx(25 * (4 - start), abs=2)
    for at, picture in found:
        assert picture[48, 48].mean() == pytest.approx(videos.brightness(start + at, 4.0), abs=8)


def test_pictures_of_oblong_pixels_are_as_wide_as_they_are_seen(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mkv", 1.0, aspect=Fraction(3, 2))
    _, picture = next(decode.frames(path, 0.0, None, 10))
    assert picture.shape == (videos.SIDE, videos.SIDE * 3 // 2, 3)


def test_the_length_of_a_file_that_says_another(tmp_path: Path) -> None:
    path = videos.claim(videos.write(tmp_path / "a.mkv", 2.0), 0.5)
    assert decode.describe(path).seconds == 0.5
    assert decode.length(path) == pytest.approx(2.0, abs=0.11)


def test_a_title_in_an_old_encoding(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mkv", 1.0, title="Gruss")
    path.write_bytes(path.read_bytes().replace(b"Gruss", "Gruß!".encode("latin-1")))
    assert decode.describe(path).picture


def test_a_film_that_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    """As a browser's recorder writes it."""
    path = videos.write(tmp_path / "live.mkv", 2.0, options={"live": "1"})
    assert decode.describe(path).seconds == pytest.approx(2.0, abs=0.01)


def test_a_sound_that_begins_late_and_ends_early_is_silent_there(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "late.mov", 3.0, sound=videos.tone(1.0), delay=1.0)
    found = decode.sound(path, 0.0, 3.0)
    assert found is not None
    assert len(found) == 48_000
    loud = np.flatnonzero(np.abs(found) > 0.1)
    assert loud[0] / 16_000 == pytest.approx(1.0, abs=0.01)
    assert loud[-1] / 16_000 == pytest.approx(2.0, abs=0.01)


def test_decoding_ends_after_the_most_that_is_wanted(video: Path) -> None:
    found = decode.sound(video, 0.0, None, most=1.5)
    assert found is not None
    assert 1.5 <= len(found) / 16_000 < 1.6
    stated = decode.sound(video, 0.0, 3.0, most=1.5)
    assert stated is not None and len(stated) == 48_000


def test_no_sound_track_is_none_and_not_silence(tmp_path: Path) -> None:
    assert decode.sound(videos.write(tmp_path / "a.mp4", 1.0), 0.0, None) is None


@pytest.mark.parametrize(("start", "end"), [(0.0, None), (1.0, 2.0), (2.55, 3.0)])
def test_the_pictures_of_a_stretch_by_their_time(video: Path, start: float, end: float | None) -> None:
    found = list(decode.frames(video, start, end, rate=10))
    last = 4.0 if end is None else end
    assert len(found) == pytest.approx((last - start) * 10, abs=1)
    for at, picture in found:
        assert picture.shape == (videos.SIDE, videos.SIDE, 3)
        assert 0 <= at < last - start
        assert picture[40, 40].mean() == pytest.approx(videos.brightness(start + at, 4.0), abs=6)


def test_fewer_pictures_a_second(video: Path) -> None:
    assert [round(at, 3) for at, _ in decode.frames(video, 1.0, 3.0, rate=5)] == [i / 5 for i in range(10)]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(30, [0, 2, 4, 6]), (25, [0, 2, 4, 5, 7]), (15, list(range(8))), (10, list(range(8)))],
)
def test_pictures_between_are_skipped(fps: float, expected: list[int]) -> None:
    assert [i for _, i in decode.thinned(((i / fps, i) for i in range(8)), 15)] == expected


def test_times_in_milliseconds_leave_no_picture_out() -> None:
    rounded = ((round(i / 15, 3), i) for i in range(60))
    assert len(list(decode.thinned(rounded, 15))) == 60


def test_a_large_picture_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGEST", 32)
    _, picture = next(decode.frames(videos.write(tmp_path / "a.mp4", 1.0), 0.0, None, 1))
    assert picture.shape == (32, 32, 3)
    assert picture[:14, :14].mean() < 30 < picture[18:, 18:].mean() + 20


def test_a_picture_is_turned_as_the_file_says(tmp_path: Path) -> None:
    """The upper left is dark. A phone on end says: a quarter clockwise; then the upper right is."""
    path = videos.write(tmp_path / "a.mp4", 1.0)
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44  # of the box that the track's header is
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    _, picture = list(decode.frames(path, 0.0, None, 10))[-1]
    half = videos.SIDE // 2
    dark, bright = picture[4 : half - 4, half + 4 : -4], picture[4 : half - 4, 4 : half - 4]
    assert dark.mean() < 60 < 120 < bright.mean()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"this is not a video\n" * 100, "cannot be read as a video"),
        (
            "list.mp4",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
            "cannot",
        ),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be read as a video"),
        ("dash.mp4", b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>', "cannot"),
        ("pointer.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer"),
    ],
)
def test_what_is_no_video_is_one_line_and_opens_nothing_else(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as raised:
        decode.describe(tmp_path / name)
    assert name in str(raised.value)


def test_a_video_that_is_cut_off(video: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cut[.]mp4 cannot be read as a video"):
        decode.sound(tmp_path / "cut.mp4", 0.0, None)


def test_a_playlist_is_a_playlist_to_ffmpeg_itself(tmp_path: Path) -> None:
    """Without this, the test above would show nothing."""
    inner = videos.write(tmp_path / "inner.ts", 1.0)
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{inner}\n#EXT-X-ENDLIST\n")
    with av.open(str(tmp_path / "list.m3u8")) as container:
        assert container.format.name == "hls"
    with pytest.raises(UserError, match="cannot be read as a video"):
        decode.describe(tmp_path / "list.m3u8")
