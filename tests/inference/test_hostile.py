"""Packages and inputs that are broken or mean harm end ``mmsa predict`` in one line; nothing of them is run.

All go through the command in one process of their own, whose memory is bounded, and in which every start of a program,
every connection and every file that is opened to be written is seen.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hostile_inputs
import hostile_packages
import numpy as np
import pytest
import torch
from hostile_packages import AS_IT_IS, Package

import mmsa_lightning
from mmsa_lightning.inference.export import package

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
    if event in PROGRAMS or event.startswith("socket."):
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
    print(json.dumps([name, code, errors.getvalue(), out.getvalue(), found, left, time.monotonic() - start]), flush=True)
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
    Path("/tmp/h/found.json").write_text(json.dumps(found))
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
    kept = ["p.csv"] if "is written, but" in words else [".p.csv.partial"] if "partial" in words else []
    assert [path.name for path in (folder / "out").iterdir()] == kept
    assert not (folder / "ran").exists()
    assert seconds < 10
