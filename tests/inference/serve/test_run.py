"""A server in a process of its own, and clients that mean it no good."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from served import IMPATIENT, served
from serving.load import load

from mmsa_lightning.cli import main

BODY = json.dumps({"utterances": [{"text": "so good"}]}).encode()
HEAD = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def server(texts_alone: Path) -> Iterator[str]:
    with served("-c", IMPATIENT, str(texts_alone)) as (_, url):
        yield url


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def answered(connection: socket.socket) -> bytes:
    """All that comes before the other side closes."""
    found = b""
    try:
        while part := connection.recv(1 << 16):
            found += part
    except ConnectionError:  # it closed while we were sending
        pass
    return found


def ask(url: str, body: bytes = BODY) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def memory(process: subprocess.Popen[str]) -> int:
    """The most that a process has held, in bytes."""
    (line,) = (s for s in Path(f"/proc/{process.pid}/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_gigabyte_is_refused_while_it_comes(texts_alone: Path, chunked: bool) -> None:
    with served("-c", IMPATIENT, str(texts_alone)) as (process, url):
        assert ask(url)[0] == 200
        before, sent = memory(process), 0
        with connected(url) as connection:
            how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {GIGABYTE}"
            connection.sendall(f"{HEAD}{how}\r\n\r\n".encode())
            part = b" " * (1 << 20)
            try:
                while sent < GIGABYTE:
                    connection.sendall(b"100000\r\n" + part + b"\r\n" if chunked else part)
                    sent += len(part)
            except ConnectionError:
                pass
        assert sent < GIGABYTE // 10
        assert memory(process) - before < 100 << 20
        status, answer = ask(url)
        assert status == 200 and answer["predictions"]


@pytest.mark.slow
def test_a_declared_gigabyte_is_told_so(server: str) -> None:
    with connected(server) as connection:
        connection.sendall(f"{HEAD}Content-Length: {GIGABYTE}\r\n\r\n".encode())
        found = answered(connection)
    assert found.startswith(b"HTTP/1.1 413 ") and b'{"error":"the body has more than' in found


@pytest.mark.slow
def test_slow_clients_are_cut_off(server: str) -> None:
    with connected(server) as body, connected(server) as headers, connected(server) as silent:
        body.sendall(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:5])
        ended = threading.Event()

        def drip() -> None:  # a byte at a time keeps nothing alive
            try:
                while not ended.wait(0.2):
                    headers.sendall(b"P")
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert ask(server)[0] == 200  # in the meantime
        assert answered(silent) == b"" and answered(headers) == b""
        ended.set()
        dripping.join()
        found = answered(body)
    assert found.startswith(b"HTTP/1.1 408 ") and b"the body was not there after 1.5 s" in found


@pytest.mark.slow
def test_a_thousand_malformed_requests_stop_nothing(server: str) -> None:
    rng = random.Random(0)
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=60)
    whole = json.dumps({"utterances": [{"id": "a", "text": "so good", "features": {"audio": [[1, 2.5]]}}] * 3}).encode()
    for i in range(1000):
        body = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            match rng.randrange(3):
                case 0:
                    body[rng.randrange(len(body))] = rng.randrange(256)
                case 1:
                    del body[rng.randrange(len(body)) :]
                    body += b"}"
                case 2:
                    at = rng.randrange(len(body))
                    body[at:at] = rng.choice(
                        [b"[" * 50, b"1e999", b"NaN", b'"', b"\\ud800", b"\x00", b"null", b"9" * 5000]
                    )
        connection.request("POST", "/v1/predict", bytes(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        error = json.loads(response.read())["error"]
        assert 400 <= response.status < 500 and "\n" not in error, (i, bytes(body))
    for line in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 100_000,
        f"{HEAD}Content-Length: -1\r\n\r\n".encode(),
    ):
        with connected(server) as raw:
            raw.sendall(line)
            assert answered(raw)[:12] in (b"HTTP/1.1 400", b"")
    assert ask(server)[0] == 200


@pytest.mark.slow
def test_many_clients_at_once_and_the_end_of_what_has_begun(texts_alone: Path) -> None:
    command = ["-m", "mmsa_lightning.cli", "serve", str(texts_alone), "--port", "0", "--device", "cpu"]
    with served(*command) as (process, url):
        _, errors, _ = load(url, requests=320, clients=32)
        assert errors == []
        with connected(url) as begun:
            begun.sendall(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:5])
            time.sleep(0.3)  # so that its headers have been read
            process.send_signal(signal.SIGTERM)
            refused = False
            for _ in range(100):  # until it has noticed
                try:
                    refused = ask(url)[0] == 503 or refused
                except OSError:
                    refused = True
                    break
                time.sleep(0.02)
            assert refused
            begun.sendall(BODY[5:])
            assert answered(begun).startswith(b"HTTP/1.1 200 ")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_and_imports_nothing_of_training(texts_alone: Path, number: signal.Signals) -> None:
    with served("-c", IMPATIENT, str(texts_alone)) as (process, url):
        status, _ = ask(url)
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", "/")
        headers = connection.getresponse().headers
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, status, out, err) == (0, 200, "imported:\n", "")
    assert (
        headers["X-Content-Type-Options"] == "nosniff" and "script-src 'sha256-" in headers["Content-Security-Policy"]
    )


@pytest.mark.slow
def test_another_host_is_warned_of(texts_alone: Path) -> None:
    command = ["-m", "mmsa_lightning.cli", "serve", str(texts_alone), "--port", "0", "--host", "0.0.0.0"]
    with served(*command) as (process, url):
        assert ask(url.replace("0.0.0.0", "127.0.0.1"))[0] == 200
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert err.startswith("warning: whoever reaches 0.0.0.0") and err.count("\n") == 1


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "in use"), ("203.0.113.1", "cannot listen on 203.0.113.1")])
def test_a_place_that_cannot_be_had_is_one_line(
    texts_alone: Path, host: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as end:
        main(["serve", str(texts_alone), "--host", host, "--port", str(taken.getsockname()[1])])
    error = capsys.readouterr().err
    assert end.value.code == 2 and said in error and error.count("\n") == 1


def test_no_package_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", str(tmp_path / "none")])
    assert end.value.code == 2 and "there is no package at" in capsys.readouterr().err
