"""What MkDocs does for this site beside its own work."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CELL = re.compile(r"<td.*?</td>", re.DOTALL)
CODE = re.compile(r"<code>.*?</code>")
LOADED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
ROLE = re.compile(r":\w+:<code>")
log = logging.getLogger("mkdocs.hooks")


def on_files(files: Files, *, config: Any) -> None:
    """Measured results stay where they are in the repository, and are pages of the site."""
    for path in sorted(EXPERIMENTS.rglob("*")):
        if path.suffix in (".md", ".csv", ".png", ".html"):
            place = path.relative_to(EXPERIMENTS.parent).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links between docs/ and experiments/: beside each other in the repository, one below the other on the site."""
    if page.file.src_uri.startswith("experiments/"):
        return markdown.replace("](../docs/", "](../")
    return markdown.replace("](../experiments/", "](experiments/")


def on_page_content(html: str, **_: Any) -> str:
    """Names in tables may be divided at their joints, else a long one takes the room of all other columns."""

    def divided(code: re.Match[str]) -> str:
        return re.sub(r"(?<=[_/.])(?=\w)", "<wbr>", code[0].replace("</code>", "")) + "</code>"

    return CELL.sub(lambda cell: CODE.sub(divided, cell[0]), html)


def on_post_page(output: str, *, page: Any, **_: Any) -> None:
    """Errors (``--strict``): a page loads something over the network, or shows a role that docstrings.py left."""
    for address in LOADED.findall(output):
        log.warning(f"{page.file.src_uri} loads {address}")
    for role in ROLE.findall(output):
        log.warning(f"{page.file.src_uri} shows {role}")
