"""What MkDocs does for this site beside its own work."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
LOADED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
ROLE = re.compile(r":\w+:<code>")
log = logging.getLogger("mkdocs.hooks")


def on_files(files: Files, *, config: Any) -> None:
    """Measured results stay where they are in the repository, and are pages of the site."""
    for path in sorted(EXPERIMENTS.rglob("*")):
        if path.suffix in (".md", ".csv", ".png"):
            place = path.relative_to(EXPERIMENTS.parent).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links between docs/ and experiments/: beside each other in the repository, one below the other on the site."""
    if page.file.src_uri.startswith("experiments/"):
        return markdown.replace("](../docs/", "](../")
    return markdown.replace("](../experiments/", "](experiments/")


def on_post_page(output: str, *, page: Any, **_: Any) -> None:
    """Errors (``--strict``): something is loaded over the network, or a role is shown that docstrings.py does not know."""
    for address in LOADED.findall(output):
        log.warning(f"{page.file.src_uri} loads {address}")
    for role in ROLE.findall(output):
        log.warning(f"{page.file.src_uri} shows {role}")
