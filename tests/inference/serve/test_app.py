"""The JSON API against the predictor itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import mmsa_lightning
from mmsa_lightning.inference.export import package
from mmsa_lightning.inference.serve.app import create_app
from mmsa_lightning.inference.serve.limits import Limits

HERE = "http://127.0.0.1"
JSON = {"Content-Type": "application/json"}
TEXTS = ["so good and fine work", "a dreadful plot", "well , an okay movie nothing more"]


@pytest.fixture(scope="module")
def client(texts_alone: Path) -> Iterator[TestClient]:
    limits = Limits(body=4000, utterances=20, characters=100)
    with TestClient(create_app(mmsa_lightning.load(texts_alone), limits), HERE) as found:
        yield found


@pytest.fixture(scope="module")
def client_of_ensemble(ensemble: Path) -> Iterator[TestClient]:
    with TestClient(create_app(mmsa_lightning.load(ensemble)), HERE) as found:
        yield found


def ask(client: TestClient, *utterances: dict[str, Any], **options: bool) -> dict[str, Any]:
    answer = client.post("/v1/predict", json={"utterances": utterances, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_answer_is_what_the_predictor_says(client: TestClient, texts_alone: Path) -> None:
    expected = mmsa_lightning.load(texts_alone).predict(TEXTS, attention=True)
    found = ask(client, {"text": TEXTS[0]}, {"text": TEXTS[1], "id": "b"}, {"text": TEXTS[2]}, attention=True)
    predictions = found["predictions"]
    assert [p["id"] for p in predictions] == ["1", "b", "3"] and found["notes"] == []
    np.testing.assert_allclose([p["sentiment"] for p in predictions], expected.sentiment, rtol=0, atol=1e-5)
    np.testing.assert_allclose([p["members"] for p in predictions], expected.members.T, rtol=0, atol=1e-5)
    assert expected.attention is not None
    for prediction, attention in zip(predictions, expected.attention, strict=True):
        assert [word for word, _ in prediction["attention"]] == [word for word, _ in attention.words]
        assert sum(share for _, share in prediction["attention"]) == pytest.approx(1, abs=1e-5)
    assert all(p["contributions"] is None for p in predictions)


def test_a_contribution_is_the_difference_to_leaving_out(client_of_ensemble: TestClient, ensemble: Path) -> None:
    audio, vision = np.ones((1, 5)), np.full((1, 20), 0.5)
    given = [
        {"text": TEXTS[0]},
        {"text": "fine", "features": {"audio": [[1.0] * 5] * 3, "vision": [[0.5] * 20] * 3}},
        {"features": {"audio": [[1.0] * 5] * 3}},  # on the steps of [CLS], the unknown piece and [SEP]
    ]
    predictions = ask(client_of_ensemble, *given, contributions=True)["predictions"]
    assert predictions[0]["contributions"] | {"text": 0} == {"text": 0, "audio": None, "vision": None}
    assert predictions[2]["contributions"] | {"audio": 0} == {"text": None, "audio": 0, "vision": None}
    model = mmsa_lightning.load(ensemble)
    both = model.predict(["fine"], audio=[audio.repeat(3, 0)], vision=[vision.repeat(3, 0)])
    for left_out in ("audio", "vision"):  # trained to miss it: as if it were not given
        kept = {m: [v.repeat(3, 0)] for m, v in {"audio": audio, "vision": vision}.items() if m != left_out}
        with warnings.catch_warnings(action="ignore"):
            expected = both.sentiment - model.predict(["fine"], **kept).sentiment
        assert predictions[1]["contributions"][left_out] == pytest.approx(float(expected[0]), abs=1e-5)
    members = predictions[1]["members"]
    assert members == pytest.approx(both.members[:, 0].tolist(), abs=1e-5) and len(set(members)) == 2
    assert predictions[1]["sentiment"] == pytest.approx(np.mean(members), abs=1e-6)


def test_notes_are_those_of_the_request(client_of_ensemble: TestClient) -> None:
    seen = {"text": "fine", "features": {"vision": [[0] * 20]}}
    found = ask(client_of_ensemble, {"text": "so good"}, {"text": "good " * 600}, seen)
    assert {(note["note"].split(",")[0], note["utterances"]) for note in found["notes"]} >= {
        ("have no audio", 3),
        ("have no vision", 2),
    }
    assert any(note["note"].startswith("are longer than") and note["utterances"] == 1 for note in found["notes"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 422, "is no JSON object"),
        (b"{", 400, "not JSON"),
        (b"\xff\xff", 400, ""),
        (b"[" * 3000, 400, ""),
        (b"null", 422, ""),
        (b"[]", 422, "is no JSON object"),
        (b"{}", 422, "utterances: Field required"),
        (b'{"utterances": []}', 422, "at least 1 item"),
        (b'{"utterances": [{"text": "a"}], "more": 1}', 422, "more: Extra inputs"),
        (b'{"utterances": [{"text": "a"}, {"text": 1}]}', 422, "utterance 2 text: Input should be a valid string"),
        (b'{"utterances": [{"text": "\\ud800"}]}', 422, "half of a surrogate pair"),
        (b'{"utterances": [{"\\ud800": 1}]}', 422, "utterance 1"),
        (b'{"utterances": [{"id": "x", "text": " "}]}', 422, "utterance 1 (x) has none of text"),
        (b'{"utterances": [{"text": "%s"}]}' % (b"a" * 101), 422, "utterance 1 has 101 characters: 100 are taken"),
        (b'{"utterances": [%s]}' % b",".join([b'{"text":"a"}'] * 21), 422, "21 utterances: send 20 at most"),
        (b'{"utterances": [{"text": "a", "features": {"audio": [[1]]}}]}', 422, "features of audio, which this model"),
        (b'{"utterances": [{"text": "a", "features": {"smell": [[1]]}}]}', 422, "'text', 'audio' or 'vision'"),
        (b" " * 4001, 413, "more than 4000 bytes"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_cannot_be_read_is_refused_in_one_line(client: TestClient, body: bytes, status: int, said: str) -> None:
    answer = client.post("/v1/predict", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    (error,) = answer.json().values()
    assert said in error and "\n" not in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        ("[[NaN, 1, 1, 1, 1]]", "infinite or not a number"),
        ("[[Infinity, 1, 1, 1, 1]]", "infinite or not a number"),
        ("[[1e999, 1, 1, 1, 1]]", "infinite or not a number"),
        ("[[1, 2]]", "has the shape (1, 2): this model reads (steps, 5)"),
        ("[[1, 2], [1]]", "steps of different widths"),
        ("[]", "has no steps"),
        ("[[]]", "has the shape"),
        ('[["1", 1, 1, 1, 1]]', "valid number"),
    ],
)
def test_wrong_features_are_refused_by_the_utterances_name(
    client_of_ensemble: TestClient, audio: str, said: str
) -> None:
    body = f'{{"utterances": [{{"text": "a"}}, {{"text": "b", "features": {{"audio": {audio}}}}}]}}'
    answer = client_of_ensemble.post("/v1/predict", content=body.encode(), headers=JSON)
    assert answer.status_code == 422 and said in answer.json()["error"] and "utterance 2" in answer.json()["error"]


def test_json_that_does_not_say_so_is_refused(client: TestClient) -> None:
    """A page of elsewhere can send text/plain to this machine without being asked, but no JSON."""
    body = json.dumps({"utterances": [{"text": "a"}]})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/v1/predict", content=body, headers={"Content-Type": kind} if kind else {})
        assert answer.status_code == 422 and "Content-Type" in answer.json()["error"]


def test_only_names_of_the_loopback_interface_are_taken(client: TestClient, texts_alone: Path) -> None:
    for host, status in {"localhost:80": 200, "127.0.0.1": 200, "[::1]:8000": 200, "a.org": 400, "": 400}.items():
        assert client.get("/health", headers={"Host": host}).status_code == status
    anywhere = TestClient(create_app(mmsa_lightning.load(texts_alone), any_host=True), HERE)
    assert anywhere.get("/health", headers={"Host": "a.org"}).status_code == 200


def test_what_it_says_of_its_model(client: TestClient, client_of_ensemble: TestClient, texts_alone: Path) -> None:
    said, of_ensemble = (c.get("/v1/model").json() for c in (client, client_of_ensemble))
    assert (said["name"], said["dataset"], said["attends"]) == ("interactive_attention", "x", True)
    assert said["needs"] is None and said["modalities"]["text"]["width"] is None
    (member,) = mmsa_lightning.load(texts_alone).about.members
    assert said["test"]["mae"] == pytest.approx(member.test["mae"], abs=1e-4)
    assert of_ensemble["members"] == 2 and of_ensemble["needs"] is None and of_ensemble["missing"] == "modality"
    assert [m["width"] for m in of_ensemble["modalities"].values()] == [None, 5, 20]


def test_what_texts_alone_are_not_enough_for(trained: Callable[..., Path], tmp_path: Path) -> None:
    for text, said in {"bert": "also needs features of audio (5 features", "features": "reads no text"}.items():
        package([trained("tfn", text)], tmp_path / text)
        with TestClient(create_app(mmsa_lightning.load(tmp_path / text)), HERE) as client:
            assert said in client.get("/v1/model").json()["needs"]
            answer = client.post("/v1/predict", json={"utterances": [{"text": "a"}]})
            assert answer.status_code == 422
            asked = {"utterances": [{"text": "a"}], "attention": True}
            assert "no attention weights" in client.post("/v1/predict", json=asked).json()["error"]


def test_the_api_describes_itself(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/v1/model", "/v1/predict", "/v1/clip", "/health"}
    assert {"200", "413", "422", "503"} <= set(described["paths"]["/v1/predict"]["post"]["responses"])
    assert client.get("/docs").status_code == 404  # its scripts lie elsewhere


def test_its_figures(texts_alone: Path) -> None:
    with TestClient(create_app(mmsa_lightning.load(texts_alone)), HERE) as client:
        ask(client, {"text": "a"}, {"text": "b"})
        client.post("/v1/predict", content=b"{", headers=JSON)
        client.get("/nowhere")
        lines = client.get("/metrics").text.splitlines()
    assert {
        'mmsa_requests_total{path="/v1/predict",status="200"} 1.0',
        'mmsa_requests_total{path="/v1/predict",status="400"} 1.0',
        'mmsa_requests_total{path="other",status="404"} 1.0',
        "mmsa_utterances_total 2.0",
        "mmsa_queue_utterances 0.0",
        "mmsa_batch_utterances_sum 2.0",
        "mmsa_predict_seconds_count 2.0",
    } <= set(lines)


def test_a_server_that_stops_takes_nothing_new(texts_alone: Path) -> None:
    stopping = False
    app = create_app(mmsa_lightning.load(texts_alone), draining=lambda: stopping)
    with TestClient(app, HERE) as client:
        assert client.get("/health").json() == {"status": "ready"}
        stopping = True
        health = client.get("/health")
        refused = client.post("/v1/predict", json={"utterances": [{"text": "a"}]})
    assert (health.status_code, health.json()) == (503, {"status": "draining"})
    assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"


def test_a_full_queue_and_a_late_answer(texts_alone: Path) -> None:
    predictor = mmsa_lightning.load(texts_alone)
    with TestClient(create_app(predictor, Limits(queue=2)), HERE) as client:
        full = client.post("/v1/predict", json={"utterances": [{"text": "a"}] * 3})
        assert full.status_code == 503 and full.headers["Retry-After"] == "1"
        ask(client, {"text": "a"}, {"text": "b"})
    with TestClient(create_app(predictor, Limits(answer_s=0)), HERE) as client:
        late = client.post("/v1/predict", json={"utterances": [{"text": "a"}]})
        assert late.status_code == 504 and "no answer after 0 s" in late.json()["error"]


def test_a_fault_of_its_own_is_one_line(texts_alone: Path) -> None:
    predictor = mmsa_lightning.load(texts_alone)
    for model in predictor.models:
        model.register_forward_pre_hook(lambda *_: 1 / 0)
    with TestClient(create_app(predictor), HERE, raise_server_exceptions=False) as client:
        answer = client.post("/v1/predict", json={"utterances": [{"text": "a"}]})
    assert answer.status_code == 500 and "Traceback" not in answer.text and list(answer.json()) == ["error"]


def test_the_page_may_load_and_run_nothing_else(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    for word in ("http:", "https:", "//www", "innerHTML", "style=", "onclick"):
        assert word not in page.text
