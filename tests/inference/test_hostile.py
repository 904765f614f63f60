"""Packages and inputs that are broken or mean harm end ``mmsa predict`` in one line; nothing of them is run.

All go through the command in one process of their own, whose memory is bounded, and in which every start of a program,
every connection and every file that is opened to be written is seen.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_inputs
import hostile_packages
import numpy as np
import pytest
import torch
from hostile_packages import AS_IT_IS, Package

import mmsa_lightning
from mmsa_lightning.cli import main
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference import predict
from mmsa_lightning.inference.export import package
from mmsa_lightning.inference.inputs import Reader, Utterance

pytestmark = pytest.mark.slow

CHILD = """
import io, json, os, resource, sys, tempfile, time, traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from mmsa_lightning import cli

seen, allowed = None, ()
PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "ctypes.dlopen")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def watch(event, arguments):
    if seen is None:
        return
    if (event in PROGRAMS and arguments[0] is not None) or event.startswith("socket."):
        seen.append(f"{event} {arguments}")
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if os.path.basename(path) == "secret" or (arguments[2] or 0) & WRITING and not path.startswith(allowed):
            seen.append(f"open {path}")

class Endless(io.RawIOBase):
    def readable(self):
        return True
    def readinto(self, buffer):
        buffer[:] = b"x" * len(buffer)
        return len(buffer)

sys.addaudithook(watch)
for line in sys.stdin:
    name, folder, arguments, given, size = json.loads(line)
    os.chdir(folder)
    allowed = (folder, tempfile.gettempdir(), "/dev/null")
    raw = Endless() if given == "endless" else io.BytesIO(bytes.fromhex(given))
    before, own_stdin = set(os.listdir(tempfile.gettempdir())), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BufferedReader(raw) if given == "endless" else raw)
    out, errors, code, start = io.StringIO(), io.StringIO(), 0, time.monotonic()
    files, memory = resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_AS)
    if name != "first":  # which imports what is needed
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), memory[1]))
        if size:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, files[1]))
    seen = []
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            code, errors = 1, io.StringIO(errors.getvalue() + traceback.format_exc())
    found, seen = seen if name != "first" else [], None
    resource.setrlimit(resource.RLIMIT_AS, memory)
    resource.setrlimit(resource.RLIMIT_FSIZE, files)
    sys.stdin = own_stdin
    left = sorted(set(os.listdir(tempfile.gettempdir())) - before)
    told = [code, errors.getvalue(), out.getvalue(), found, left, time.monotonic() - start]
    print(json.dumps([name, *told]), flush=True)
"""


@pytest.fixture(scope="module")
def sound(trained: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages of models of three modalities and of words alone."""
    folder = tmp_path_factory.mktemp("sound")
    package([trained("lmf")], folder / "three")
    package([trained("lmf", "bert", "modalities=[text]")], folder / "words")
    return {name: folder / name for name in ("three", "words")}


@pytest.fixture(scope="module")
def ended(sound: dict[str, Path], store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """How the command ended on each."""
    base = tmp_path_factory.mktemp("hostile")
    (base / "tmp").mkdir()
    made: list[tuple[str, str, list[str], str, int]] = []

    def add(name: str, model: str | Path, c: hostile_inputs.Command) -> None:
        arguments = ["predict", str(model), c.source, "--out", c.out, *c.more]
        made.append((name, str(c.folder), arguments, c.stdin if isinstance(c.stdin, str) else c.stdin.hex(), c.size))

    def folder(name: str) -> Path:
        (base / name / "out").mkdir(parents=True)
        (base / name / "secret").mkdir()
        return base / name

    line = {"source": "-", "stdin": b"fine\n"}
    add("first", sound["words"], hostile_inputs.Command(folder("first"), store, **line))
    for cases, of in ((hostile_packages.CASES, "three"), (hostile_packages.SOUND, "words")):
        for name, (_, change) in cases.items():
            broken = Package(sound[of], folder(name) / "package")
            if change(broken) is not AS_IT_IS:
                broken.finish()
            add(name, broken.given, hostile_inputs.Command(base / name, store, **line, more=broken.more))
    for name, (_, prepare) in (hostile_inputs.CASES | hostile_inputs.SOUND).items():
        command = hostile_inputs.Command(folder(name), store)
        prepare(command)
        add(name, sound[command.model], command)
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input="".join(json.dumps(case) + "\n" for case in made),
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
        env=os.environ | {"TMPDIR": str(base / "tmp"), "OMP_NUM_THREADS": "1"},
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: [Path(folder), *rest] for (name, *rest), (_, folder, *_) in zip(found, made, strict=False)}


@pytest.mark.parametrize("name", hostile_packages.CASES)
def test_a_package_is_refused_in_one_line(ended: dict[str, list[Any]], name: str) -> None:
    words = hostile_packages.CASES[name][0]
    folder, code, errors, out, seen, left, seconds = ended[name]
    assert errors.count("\n") == 1 and errors.startswith("error: "), errors
    assert words in errors
    assert (code, out, seen, left) == (2, "", [], [])
    assert not list((folder / "out").iterdir())
    assert not (folder / "ran").exists()
    assert seconds < 10


@pytest.mark.parametrize("name", hostile_packages.SOUND)
def test_a_package_loads_all_the_same(ended: dict[str, list[Any]], name: str) -> None:
    _, *how, _ = ended[name]
    assert how == [0, "", "out/p.csv: 1 utterances\n", [], []]


@pytest.mark.parametrize("name", hostile_inputs.SOUND)
def test_an_input_is_read_all_the_same(ended: dict[str, list[Any]], name: str) -> None:
    _, code, errors, *how, _ = ended[name]
    assert [code, *how] == [0, "out/p.csv: 1 utterances\n", [], []]
    assert hostile_inputs.SOUND[name][0] in errors and errors.count("\n") == bool(errors)


@pytest.mark.parametrize("name", hostile_inputs.CASES)
def test_an_input_is_refused_in_one_line(ended: dict[str, list[Any]], name: str) -> None:
    words = hostile_inputs.CASES[name][0]
    folder, code, errors, out, seen, left, seconds = ended[name]
    assert errors.count("\n") == 1 and errors.startswith("error: "), errors
    assert words in errors
    assert (code, out, seen, left) == (2, "", [], [])
    assert [path.name for path in (folder / "out").iterdir()] == ["p.csv"] * words.startswith("is written")
    assert not (folder / "ran").exists()
    assert seconds < 10


def test_loading_changes_and_leaves_nothing(
    sound: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hostile_packages.SOUND["a_zip"][1](zipped := Package(sound["three"], tmp_path / "p"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()

    def state() -> list[Any]:
        levels = [logging.getLogger(name).level for name in ("transformers", "huggingface_hub", "torch", "")]
        own = [torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(), torch.get_num_threads()]
        return [*levels, *own, dict(os.environ), list(sys.path), Path.cwd(), *(tmp_path / "tmp").iterdir()]

    before, random = state(), torch.get_rng_state()
    drawn = np.random.get_state()[1].tolist()  # noqa: NPY002  # type: ignore[index]
    mmsa_lightning.load(zipped.given)
    assert state() == before
    assert torch.equal(torch.get_rng_state(), random)
    assert np.random.get_state()[1].tolist() == drawn  # noqa: NPY002  # type: ignore[index]
    assert capfd.readouterr() == ("", "")


def test_several_threads_load_at_once(sound: dict[str, Path]) -> None:
    random, given = torch.get_rng_state(), {"audio": [np.ones((1, 5))], "vision": [np.ones((1, 20))]}
    found: dict[int, float] = {}

    def load(i: int) -> None:
        words = i % 2 == 0
        model = mmsa_lightning.load(sound["words" if words else "three"])
        found[i] = float(model.predict(["good"], **({} if words else given)).sentiment[0])

    threads = [threading.Thread(target=load, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found.values())) == 2
    assert torch.equal(torch.get_rng_state(), random)


def test_features_without_text_are_not_longer_than_a_text(sound: dict[str, Path]) -> None:
    model = mmsa_lightning.load(sound["three"])
    reader = Reader(dataclasses.replace(model.about, missing="modality"), model.tokenizer)
    features = {"audio": np.ones((511, 5)), "vision": np.ones((511, 20))}
    with pytest.raises(UserError, match="a has no text, and features of 511 steps: this model reads 510 at most"):
        reader.read([Utterance("a", None, features=features)])
    read = reader.read([Utterance("a", None, features={m: steps[:510] for m, steps in features.items()})])
    assert np.isfinite(model.run(read).sentiment).all()


def test_the_defaults_of_a_program_are_not_those_of_a_model(sound: dict[str, Path]) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        model = mmsa_lightning.load(sound["words"])
    finally:
        torch.set_default_dtype(torch.float32)
    assert {weight.dtype for weight in model.models[0].parameters()} == {torch.float32}


@pytest.fixture
def stopped(sound: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[], None], Path]:
    """A command that was stopped after two of three chunks and goes on, and the folder of its files."""
    monkeypatch.setattr(predict, "CHUNK", 2)
    rows = [f"{name},it was good,1" for name in "abcdef"]
    (tmp_path / "x.csv").write_text("\n".join(["id,text,label", *rows]), encoding="utf-8")
    ids = np.array(list("abcdef"))
    np.savez(tmp_path / "a.npz", id=ids, features=np.ones((6, 3, 5)))
    np.savez(tmp_path / "v.npz", id=ids, features=np.ones((6, 3, 20)))
    features = ["--audio", str(tmp_path / "a.npz"), "--vision", str(tmp_path / "v.npz")]
    command = ["predict", str(sound["three"]), str(tmp_path / "x.csv"), "--out", str(tmp_path / "p.csv"), *features]
    short = predict.files.short
    with monkeypatch.context() as patch:
        done: list[int] = []
        patch.setattr(predict.files, "short", lambda x: short(x) if len(done) < 6 and not done.append(1) else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command)
    assert json.loads((tmp_path / ".p.csv.partial.json").read_bytes())["rows"] == 4
    return lambda: main([*command, "--resume"]), tmp_path


STATES = {
    "rows": 3,  # within a chunk
    "rows ": 0,
    "rows  ": 10**12,
    "size": 10**12,
    "size ": -1,
    "size  ": "many",
    "what": "other",
    "read": "other",
    "notes": None,
    "more": 1,
}


@pytest.mark.parametrize("name", STATES)
def test_a_damaged_state_is_refused(
    stopped: tuple[Callable[[], None], Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    resume, folder = stopped
    place = folder / ".p.csv.partial.json"
    place.write_text(json.dumps(json.loads(place.read_bytes()) | {name.strip(): STATES[name]}), encoding="utf-8")
    refused(resume, folder, capsys)


def refused(resume: Callable[[], None], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = (folder / ".p.csv.partial").read_bytes()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        resume()
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert "leave out --resume to begin again" in error
    assert not (folder / "p.csv").exists()
    assert (folder / ".p.csv.partial").read_bytes() == kept


@pytest.mark.parametrize("what", ["text", "label", "audio", "fewer", "json"])
def test_another_input_does_not_go_on(
    stopped: tuple[Callable[[], None], Path], capsys: pytest.CaptureFixture[str], what: str
) -> None:
    resume, folder = stopped
    table = (folder / "x.csv").read_text(encoding="utf-8")
    changed = {
        "text": table.replace("a,it was good", "a,it was dull"),
        "label": table.replace("a,it was good,1", "a,it was good,2"),
        "fewer": "\n".join(table.splitlines()[:3]),
    }
    (folder / "x.csv").write_text(changed.get(what, table), encoding="utf-8")
    if what == "audio":
        np.savez(folder / "a.npz", id=np.array(list("abcdef")), features=np.full((6, 3, 5), 2.0))
    if what == "json":
        (folder / ".p.csv.partial.json").write_text("{", encoding="utf-8")
    refused(resume, folder, capsys)
