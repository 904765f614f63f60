"""A video that is sent to the server, against ``mmsa predict`` of the same file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import filmed
import pytest
import videos
from fastapi.testclient import TestClient

import mmsa_lightning
from mmsa_lightning.cli import main
from mmsa_lightning.inference.serve.app import create_app
from mmsa_lightning.inference.serve.limits import Limits

HERE = "http://127.0.0.1"
VIDEO = {"Content-Type": "video/mp4"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def heard() -> Iterator[None]:
    with filmed.tones_are_voices():
        yield


@pytest.fixture(scope="module")
def client(films: Path) -> Iterator[TestClient]:
    limits = Limits(clip=200_000, clip_s=3.0, body=1000)
    with TestClient(create_app(mmsa_lightning.load(films / "aligned.zip"), limits), HERE) as found:
        yield found


def test_a_clip_is_predicted_as_a_file_is(client: TestClient, films: Path, tmp_path: Path) -> None:
    assert client.get("/v1/model").json()["clips"] is True
    (tmp_path / "clip").write_bytes((films / "v0.mp4").read_bytes())
    main(["predict", str(films / "aligned.zip"), str(films / "v0.mp4"), "--out", str(tmp_path / "p.csv")])
    (row,) = csv.DictReader((tmp_path / "p.csv").open())
    answer = client.post("/v1/clip", content=(films / "v0.mp4").read_bytes(), headers=VIDEO)
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    assert prediction["sentiment"] == pytest.approx(float(row["prediction"]), abs=1e-5)
    assert prediction["heard"] == row["text"]
    assert set(prediction["contributions"]) == {"text", "audio"}


def test_what_is_no_clip_is_one_line_without_its_place(client: TestClient, tmp_path: Path) -> None:
    for content, words in (
        (b"no video at all", "the clip cannot be read as a video"),
        (b"", "the clip is empty"),
        (b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n", "the clip cannot be read as a video"),
        (videos.write(tmp_path / "long.mp4", 4.0).read_bytes(), "the clip lasts 4 s: 3 s are taken at most"),
        (
            videos.claim(videos.write(tmp_path / "short.mkv", 4.0), 1.0).read_bytes(),
            "the clip lasts 4 s: 3 s are taken at most",
        ),
    ):
        answer = client.post("/v1/clip", content=content, headers=VIDEO)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(words)
        assert "/tmp" not in answer.text


def test_a_clip_has_a_bound_of_its_own(client: TestClient) -> None:
    answer = client.post("/v1/clip", content=b"0" * 200_001, headers=VIDEO)
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "the body has more than 200000 bytes; send less at once",
    )
    assert client.post("/v1/predict", content=b"0" * 1001).status_code == 413


def test_a_model_of_words_takes_clips_and_one_of_other_features_none(
    texts_alone: Path, ensemble: Path, films: Path
) -> None:
    with TestClient(create_app(mmsa_lightning.load(texts_alone)), HERE) as client:
        assert client.get("/v1/model").json()["clips"] is True
        assert client.post("/v1/clip", content=(films / "v0.mp4").read_bytes(), headers=VIDEO).status_code == 200
        assert 'path="/v1/clip"' in client.get("/metrics").text
    with TestClient(create_app(mmsa_lightning.load(ensemble)), HERE) as client:
        assert client.get("/v1/model").json()["clips"] is False
        answer = client.post("/v1/clip", content=(films / "v0.mp4").read_bytes(), headers=VIDEO)
        assert answer.status_code == 422
        assert "were not extracted from videos" in answer.json()["error"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_page_of_elsewhere_may_send_unasked_is_refused(
    client: TestClient, films: Path, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post("/v1/clip", content=(films / "v0.mp4").read_bytes(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (
        415,
        "send the video with its Content-Type, such as video/mp4",
    )
