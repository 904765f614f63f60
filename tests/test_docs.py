"""The documents name tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/equations.md", "docs/models.md", "experiments/README.md"],
)
def test_what_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.M)}
    assert set(re.findall(r"`(test_\w+)`", text)) <= defined

    files = {
        path.name for folder in ("mmsa_lightning", "tests", "experiments") for path in (ROOT / folder).rglob("*.py")
    }
    assert {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", text)} <= files | {"train.py"}

    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / document).parent.joinpath(link).exists(), link
