"""From videos to stores and tables, killed and gone on with, with a video that is broken among them."""

from __future__ import annotations

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import videos

from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError
from mmsa_lightning.media import extract as module
from mmsa_lightning.media.extract import Importing, extract
from mmsa_lightning.media.pooling import by_words
from mmsa_lightning.media.tools import Settings, Tools

QUICK = Settings(audio="librosa", vision="none", words="none")
TEXTS = {"train": "A good film", "valid": "Not a good film", "test": "A film that is bad"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of two utterances each, and their list."""
    path = tmp_path_factory.mktemp("videos")
    rows = ["id,video,start,end,text,label,label_audio,split"]
    for i, (split, text) in enumerate(TEXTS.items()):
        videos.write(path / f"{split}.mp4", 2.0, sound=videos.tone(2.0, 200.0 * (i + 1)))
        rows += [f"{split}$_${j},{split}.mp4,{j},{j + 1},{text},{i - 1}.5,{'' if j else 0.5},{split}" for j in (0, 1)]
    (path / "list.csv").write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tone counts as a voice: speech itself is in the recordings, which are not everywhere."""
    monkeypatch.setattr("mmsa_lightning.media.voice.probabilities", lambda sound: np.ones(-(-len(sound) // 512)))


def test_both_stores(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.h5"
    found = extract(folder / "list.csv", out, QUICK, Importing("own", label_range=(-2, 2)))
    assert [path.name for path in found.written] == ["made.h5", "made_unaligned.h5", "made_extraction.csv"]
    assert not found.failed
    aligned, unaligned = Store(out), Store(tmp_path / "made_unaligned.h5")
    assert (aligned.meta.aligned, unaligned.meta.aligned) == (True, False)
    tools = Tools(QUICK)
    assert aligned.meta.feature_names == {"audio": tools.audio.names if tools.audio else None}
    for store in (aligned, unaligned):
        assert store.meta.extraction == tools.extraction(aligned=store is aligned)
        for name, text in TEXTS.items():
            split = store.splits[name]
            assert split.ids == [f"{name}$_$0", f"{name}$_$1"]
            assert split.raw_text == [text, text]
            np.testing.assert_array_equal(split.unimodal["audio"], np.array([0.5, np.nan], np.float32))
    clip = module.listing.read(folder / "list.csv")[-1]
    said = tools(clip)
    assert [word.text for word in said.words] == TEXTS["test"].split()
    assert 0 <= said.words[0].start < said.words[-1].end <= 1.0
    np.testing.assert_array_equal(unaligned.splits["test"].sequences["audio"][1], said.values["audio"])
    on_words = by_words(said.times["audio"], said.values["audio"], said.words)
    on_pieces = aligned.splits["test"].sequences["audio"][1]
    assert len(on_pieces) == len(aligned.splits["test"].sequences["tokens"][1])
    np.testing.assert_allclose(on_pieces[1:-1], on_words)  # each of these words is one piece
    rows = list(csv.DictReader((tmp_path / "made_extraction.csv").open()))
    assert [row["words_from"] for row in rows] == ["text"] * 6
    assert not (tmp_path / "made_parts").exists()


def test_a_folder_needs_no_labels(folder: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    videos.write(clips / "a.mp4", 1.0, sound=videos.tone(1.0))
    videos.write(clips / "b.mp4", 1.0)
    (clips / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nGood film\n")
    found = extract(clips, tmp_path / "out", Settings(vision="face_mesh", words="none"), Importing("own"))
    rows = list(csv.DictReader((tmp_path / "out" / "utterances.csv").open()))
    assert rows == [{"id": "a$_$0", "text": "Good film"}, {"id": "b$_$0", "text": "?"}]
    with np.load(tmp_path / "out" / "audio.npz") as audio, np.load(tmp_path / "out" / "vision.npz") as vision:
        assert audio["lengths"].tolist() == vision["lengths"].tolist() == [2, 1]
        assert audio["features"][:2].any(axis=1).all()
        assert not audio["features"][2].any()  # b has no sound
        assert not vision["features"].any()  # and there is no face
    made = json.loads((tmp_path / "out" / "extraction.json").read_text())
    assert (made["audio"], made["vision"], made["rates"]["vision"]) == ("librosa", "face_mesh", 15.0)
    notes = {row["id"]: row["notes"] for row in csv.DictReader((tmp_path / "out" / "extraction.csv").open())}
    assert "no audio: the file has no sound track" in notes["b$_$0"]
    assert "a face in 0 of 10 frames (0%)" in notes["a$_$0"]
    assert any(line.startswith("words: 1 utterances have none, such as b$_$0") for line in found.report)
    extract(clips, tmp_path / "out", Settings(vision="none", words="none"), Importing("own"))
    assert not (tmp_path / "out" / "vision.npz").exists()  # which is of the earlier call


def test_how_far_recognised_words_can_be_trusted_is_told(tmp_path: Path) -> None:
    heard = videos.write(tmp_path / "a.mp4", 1.0, sound=videos.tone(1.0))
    for words, told in (("pocketsphinx", True), ("none", False)):
        found = extract(heard, tmp_path / words, Settings("librosa", "none", words), Importing("own"))
        assert (
            any("PocketSphinx's packaged English model, which gets many of them wrong" in x for x in found.report)
            is told
        )


def test_a_broken_video_costs_its_own_row_alone(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "valid.mp4").read_bytes()
    (tmp_path / "list.csv").write_text(
        (folder / "list.csv").read_text()
        + "bad$_$0,bad.mp4,,,broken,0.5,,test\nlate$_$0,valid.mp4,9,10,late,0.5,,test\n"
    )
    for video in folder.glob("*.mp4"):
        (tmp_path / video.name).write_bytes(video.read_bytes())
    (tmp_path / "bad.mp4").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "made.h5"
    found = extract(tmp_path / "list.csv", out, QUICK, Importing("own", label_range=(-2, 2)))
    assert list(found.failed) == ["bad$_$0", "late$_$0"]
    assert "bad.mp4 cannot be read as a video" in found.failed["bad$_$0"]
    assert "late$_$0 is 9 to 10 s of" in found.failed["late$_$0"]
    assert len(Store(out).splits["test"]) == 2
    assert (tmp_path / "made_parts").exists()  # so that the same command tries these two alone
    (tmp_path / "bad.mp4").write_bytes(whole)
    assert list(extract(tmp_path / "list.csv", out, QUICK, Importing("own", label_range=(-2, 2))).failed) == [
        "late$_$0"
    ]
    assert len(Store(out).splits["test"]) == 3


def test_files_of_every_kind_that_are_broken_cost_their_own_rows_alone(tmp_path: Path) -> None:
    names = ("good", "textgrid", "nan", "denied", "half")
    for name in names:
        videos.write(tmp_path / f"{name}.mp4", 1.0, sound=videos.tone(1.0, 300.0))
    (tmp_path / "textgrid.TextGrid").write_text("2024-05-01 notes")
    (tmp_path / "nan.mp4").unlink()
    sound = np.full(16000, np.nan, np.float32).tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32)
    header = struct.pack("<4sI4s", b"RIFF", 36 + len(sound), b"WAVE") + form + struct.pack("<4sI", b"data", len(sound))
    (tmp_path / "nan.wav").write_bytes(header + sound)
    (tmp_path / "half.json").write_text(
        '{"segments": [{"start": 0, "end": 1, "text": "good \\ud83d film", "words": []}]}'
    )
    (tmp_path / "denied.mp4").unlink()
    Path(tmp_path / "denied.mp4").symlink_to("/proc/self/mem")  # which no one can read from its start
    found = extract(tmp_path, tmp_path / "out", QUICK, Importing("own"))
    assert sorted(found.failed) == [f"{name}$_$0" for name in sorted(names[1:])]
    assert "is not a TextGrid" in found.failed["textgrid$_$0"] and "not a number" in found.failed["nan$_$0"]
    assert "half a character" in found.failed["half$_$0"] and "denied.mp4" in found.failed["denied$_$0"]
    assert [row["id"] for row in csv.DictReader((tmp_path / "out" / "utterances.csv").open())] == ["good$_$0"]


def test_the_list_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    listed = (folder / "list.csv").read_text()
    (folder / "utterances.csv").write_text(listed)
    (folder / "made_extraction.csv").write_text(listed)
    for name, out in (("utterances.csv", folder), ("made_extraction.csv", folder / "made.h5")):
        with pytest.raises(UserError, match="would be written over"):
            extract(folder / name, out, QUICK, Importing("own"))
        assert (folder / name).read_text() == listed
        (folder / name).unlink()


def test_what_is_there_is_not_extracted_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    one = module._one
    monkeypatch.setattr(module, "_one", lambda clip, *others: done.append(clip.id) or one(clip, *others))
    monkeypatch.setattr(module.Parts, "remove", lambda parts: None)
    out = tmp_path / "made.h5"
    for settings, expected in ((QUICK, 6), (QUICK, 0), (Settings("librosa", "none", "pocketsphinx"), 6)):
        done.clear()
        extract(folder / "list.csv", out, settings, Importing("own", label_range=(-2, 2)))
        assert len(done) == expected
    videos.write(folder / "train.mp4", 2.0, sound=videos.tone(2.0, 500.0))  # another video of that name
    done.clear()
    extract(folder / "list.csv", out, QUICK, Importing("own", label_range=(-2, 2)))
    assert done == ["train$_$0", "train$_$1"]


@pytest.mark.slow
def test_killed_or_with_several_workers_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    def run(name: str, *options: str) -> subprocess.Popen[bytes]:
        code = "import sys; from mmsa_lightning.cli import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", code, "data", "extract", str(folder / "list.csv")]
        given = ["--out", str(tmp_path / name), "--vision", "none", "--label-range", "-2", "2", *options]
        return subprocess.Popen([*command, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    for extracted in (1, 4):
        process = run("killed.h5")
        while process.poll() is None and len(list((tmp_path / "killed_parts").glob("*.npz"))) < extracted:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert run("killed.h5").wait() == 0
    workers = run("workers.h5", "--workers", "2")
    assert workers.wait() == 0, workers.stderr.read().decode()  # type: ignore[union-attr]
    for suffix in ("", "_unaligned"):
        first, second = ((tmp_path / f"{name}{suffix}.h5").read_bytes() for name in ("killed", "workers"))
        assert first == second


@pytest.mark.parametrize(
    ("columns", "row", "words"),
    [
        ("id,video", "x,train.mp4", "1 of 1 utterances have no label, such as x, and a store needs them"),
        ("id,video,label", "x,train.mp4,1", "is not divided into train, valid and test"),
        ("id,video,start,end,label", "x,train.mp4,0,1,1\ny,train.mp4,1,2,1", "x and y are of one video, train.mp4"),
    ],
)
def test_what_a_store_needs_is_said_before_the_work(
    folder: Path, tmp_path: Path, columns: str, row: str, words: str
) -> None:
    (folder / "short.csv").write_text(f"{columns}\n{row}\n")
    with pytest.raises(UserError, match=words):
        extract(
            folder / "short.csv",
            tmp_path / "a.h5",
            QUICK,
            Importing("own", (70, 15, 15) if "start" in columns else None),
        )
    assert not list(tmp_path.iterdir())


def test_a_video_without_an_end_may_not_be_a_film(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsa_lightning.media.tools.LONGEST", 1.5)
    with pytest.raises(UserError, match=r"train.mp4 lasts 2 s, and an utterance 1.5 s at most"):
        extract(folder / "train.mp4", tmp_path / "out", QUICK, Importing("own"))


def test_a_header_that_claims_a_hundred_hours(tmp_path: Path) -> None:
    """A film of a second without sound: nobody waits for the rest, or makes room for it."""
    path = videos.write(tmp_path / "a.mp4", 1.0)
    content = bytearray(path.read_bytes())
    header = content.find(b"mvhd")
    scale = int.from_bytes(content[header + 16 : header + 20], "big")
    for box, at in ((b"mvhd", 20), (b"tkhd", 24)):
        place = content.find(box) + at
        content[place : place + 4] = (360_000 * scale).to_bytes(4, "big")
    path.write_bytes(content)
    extract(path, tmp_path / "out", QUICK, Importing("own"))
    (row,) = csv.DictReader((tmp_path / "out" / "extraction.csv").open())
    assert float(row["seconds"]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("start", "end", "stated"), [(0, 9, "0 to 9 s"), (3, 4, "3 to 4 s"), (2.5, "", "2.5 s")])
def test_an_utterance_behind_its_videos_end(
    folder: Path, tmp_path: Path, start: float, end: float, stated: str
) -> None:
    (folder / "behind.csv").write_text(f"id,video,start,end\nx,train.mp4,{start},{end}\n")
    with pytest.raises(UserError, match=f"x is {stated} of .*train.mp4, which lasts 2.0"):
        extract(folder / "behind.csv", tmp_path / "out", QUICK, Importing("own"))


def test_a_folder_of_the_users_own_stays(tmp_path: Path) -> None:
    """Its name happens to be that of the folder in which utterances are kept until all is done."""
    own = tmp_path / "own_parts"
    own.mkdir()
    videos.write(own / "a.mp4", 1.0, sound=videos.tone(1.0))
    extract(own, tmp_path / "own", QUICK, Importing("own"))
    assert [path.name for path in own.iterdir()] == ["a.mp4"]


def test_a_place_that_is_something_else_is_told_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Tools", None)  # nothing is extracted
    (tmp_path / "taken.h5").mkdir()
    (tmp_path / "taken").write_text("a file")
    for out, words in (
        (tmp_path / "taken.h5", "taken.h5 is a folder, and a store is a file"),
        (tmp_path / "taken", "taken is a file, and without .h5 a folder is written"),
        (Path(), "--out . has no name of its own"),
    ):
        with pytest.raises(UserError, match=words):
            extract(folder / "list.csv", out, QUICK, Importing("own", label_range=(-2, 2)))


@pytest.mark.slow
def test_a_worker_that_is_killed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_one_here", killed)
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        extract(folder / "list.csv", tmp_path / "out", QUICK, Importing("own"), workers=2)


@pytest.mark.slow
def test_what_ends_the_work_does_not_wait_for_the_rest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_one_here", slept)
    monkeypatch.setattr(module, "as_completed", lambda jobs: (_ for _ in ()).throw(KeyboardInterrupt))
    clips = [module.Clip(str(i), folder / "train.mp4") for i in range(40)]
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        module._extract_all(clips, module.Parts(tmp_path, Tools(QUICK).extraction(aligned=False)), Tools(QUICK), 2)
    assert time.perf_counter() - begun < 20


def killed(clip: module.Clip) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slept(clip: module.Clip) -> None:
    time.sleep(2)


def test_a_transcript_that_goes_on_after_its_video(folder: Path, tmp_path: Path) -> None:
    video = videos.write(tmp_path / "a.mp4", 1.0, sound=videos.tone(1.0))
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\ngood\n\n2\n00:01:00,000 --> 00:01:01,000\nbad\n")
    with pytest.raises(UserError, match=r"a.srt says 'bad' at 60.0 s, but a.mp4 ends at 1.0 s: is it of another"):
        Tools(QUICK)(module.Clip("a", video))


def test_pictures_that_go_on_after_the_sound_have_a_bound_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmsa_lightning.media.tools.LONGEST", 2.0)
    video = videos.write(tmp_path / "a.mp4", 6.0, sound=videos.tone(1.0))
    with pytest.raises(UserError, match=r"a.mp4 lasts 3 s, and an utterance 2 s at most"):
        Tools(Settings("none", "face_mesh", "none"))(module.Clip("a", video))


def test_an_utterance_without_words_has_one_text_in_both_stores(folder: Path, tmp_path: Path) -> None:
    """The one that ``mmsa predict`` gives it, too."""
    rows = [f"{split}$_$0,{split}.mp4,0,1,1,{split}" for split in TEXTS]
    (folder / "wordless.csv").write_text("\n".join(["id,video,start,end,label,split", *rows]) + "\n")
    extract(folder / "wordless.csv", tmp_path / "a.h5", QUICK, Importing("own", label_range=(-2, 2)))
    for name in ("a", "a_unaligned"):
        assert Store(tmp_path / f"{name}.h5").splits["test"].raw_text == ["?"]
