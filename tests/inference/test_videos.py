"""``mmsa predict MODEL clip.mp4``: extracted as the model's training data was, or said why not."""

from __future__ import annotations

import contextlib
import csv
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import filmed
import pytest

from mmsa_lightning.cli import main
from mmsa_lightning.data.extraction import Extraction
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference import about, command
from mmsa_lightning.inference.serve.clips import Clips
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.videos import VideoReader, reads_a_video_alone, reads_videos
from mmsa_lightning.report import video

TEXTS = filmed.TEXTS


@pytest.fixture(scope="module", autouse=True)
def heard() -> Iterator[None]:
    """A tone counts as a voice."""
    with filmed.tones_are_voices():
        yield


@pytest.fixture(scope="module")
def folder(films: Path) -> Path:
    return films


@pytest.fixture(scope="module", params=["aligned", "unaligned"])
def packed(request: pytest.FixtureRequest, films: Path) -> Path:
    """An epoch on what was extracted, on the words' steps and on those of sound."""
    return films / f"{request.param}.zip"


def predicted(*arguments: str | Path) -> dict[str, float]:
    out = Path(arguments[-1])
    main(["predict", *map(str, arguments[:-1]), "--out", str(out)])
    with out.open(newline="") as file:
        return {row["id"]: float(row["prediction"]) for row in csv.DictReader(file)}


@pytest.mark.slow
def test_a_video_gets_what_its_utterance_in_the_store_gets(packed: Path, folder: Path, tmp_path: Path) -> None:
    from_store = predicted(packed, folder / f"{packed.stem}.h5", "--split", "test", tmp_path / "store.csv")
    from_list = predicted(packed, folder / "list.csv", tmp_path / "list.csv")
    assert list(from_list) == [f"v{i}$_$0" for i in range(6)]
    for id in ("v4$_$0", "v5$_$0"):
        assert from_list[id] == pytest.approx(from_store[id], abs=1e-5)
    shutil.copy(folder / "v4.mp4", tmp_path / "new.mp4")
    (tmp_path / "new.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\ngreat\n")
    alone = predicted(packed, tmp_path / "new.mp4", tmp_path / "one.csv")
    assert list(alone) == ["new$_$0"]
    assert alone["new$_$0"] == pytest.approx(from_store["v4$_$0"], abs=0.1)


@pytest.mark.slow
def test_the_command_that_extract_names_next_predicts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "v4.mp4", tmp_path)
    (tmp_path / "list.csv").write_text("id,video,text\nv4$_$0,v4.mp4,great\n")
    monkeypatch.chdir(tmp_path)
    main(["data", "extract", "list.csv", "--out", "features", "--vision", "none"])
    following = capsys.readouterr().out.splitlines()[-1].removeprefix("next: mmsa ")
    main(shlex.split(following.replace("MODEL", str(folder / "aligned.zip"))))
    with Path("predictions.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["v4$_$0"]


@pytest.mark.slow
def test_a_package_says_how_its_features_were_made(packed: Path, folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(packed) as archive:
        found = about.read(archive.read("config.json"))
    assert found.extraction is not None
    assert (found.extraction.audio, found.extraction.vision) == ("librosa", "none")
    assert found.extraction.aligned is (packed.stem == "aligned")
    assert "librosa" in found.extraction.versions


@pytest.mark.slow
def test_a_page_of_videos(
    packed: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["watch", str(packed), str(folder / "list.csv"), "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)  # it opens offline
    assert page.count("<h2>v") == 6
    for text in TEXTS:
        for word in text.split():
            assert f">{word}</span>" in page
    assert page.count("data:image/jpeg") == sum(min(4, len(text.split())) for text in TEXTS)
    assert page.count("Without text: ") == 6
    monkeypatch.setattr(video, "MOST", 2)
    capsys.readouterr()
    main(["watch", str(packed), str(folder / "list.csv"), "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<h2>v") == 2 and "The first 2 utterances." in page
    assert capsys.readouterr().out.endswith("page.html: the first 2 utterances\n")


@pytest.mark.slow
def test_other_versions_are_a_warning(
    packed: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmsa_lightning.media.audio.librosa.version", lambda name: "99.0")
    predicted(packed, folder / "v0.mp4", tmp_path / "a.csv")
    assert "warning: features of training were made by librosa" in capsys.readouterr().err


@pytest.mark.slow
def test_features_that_were_made_elsewhere_cannot_be_made_of_a_video(
    trained: Callable[..., Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["predict", str(trained("self_mm")), str(folder / "v0.mp4"), "--out", str(tmp_path / "a.csv")])
    assert raised.value.code == 2
    assert (
        "this model reads features of audio and vision that were not extracted from videos" in capsys.readouterr().err
    )
    assert not (tmp_path / "a.csv").exists()


def test_a_package_whose_features_of_a_modality_are_not_of_videos() -> None:
    made = Extraction("none", "none", "none", aligned=True, rates={}, versions={})
    with pytest.raises(UserError, match="this model reads features of audio that were not extracted from videos"):
        VideoReader(SimpleNamespace(extraction=made, dims={"audio": 3}))  # type: ignore[arg-type]


def of_openface() -> SimpleNamespace:
    made = Extraction("none", "openface", "none", aligned=True, rates={}, versions={})
    return SimpleNamespace(extraction=made, dims={"vision": 49})


def test_a_table_of_openface_is_not_written_over(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.csv"):
        (tmp_path / name).write_text("x")
    predictor = SimpleNamespace(about=of_openface())
    for out, refused in ((tmp_path / "a.csv", True), (tmp_path / "b.csv", False)):
        with pytest.raises(UserError, match="it is the input") if refused else contextlib.nullcontext():
            command._chunks(predictor, str(tmp_path / "a.mp4"), out, "test", {}, None, None, False)  # type: ignore[arg-type]


def test_a_video_that_is_sent_has_no_table_beside_it(tmp_path: Path) -> None:
    about, path = of_openface(), tmp_path / "clip"
    path.write_text("x")
    assert reads_videos(about) and not reads_a_video_alone(about)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="this model reads OpenFace's table beside a video"):
        Clips(about, Limits())._read(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(("audio", "words"), [("wav2vec2:stranger/weights", "none"), ("librosa", "stranger/weights")])
def test_weights_that_a_package_names_are_not_fetched(audio: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmsa_lightning.media.tools.Tools", None)  # nothing is loaded
    made = Extraction(audio, "none", words, aligned=True, rates={}, versions={})
    with pytest.raises(UserError, match="made with the weights 'stranger/weights', which are not on this machine"):
        VideoReader(SimpleNamespace(extraction=made, dims={"audio": 3}))  # type: ignore[arg-type]
