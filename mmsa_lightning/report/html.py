"""Pages of HTML that need no other file and no network: one style, one way to write a table and a figure.

The templates lie beside this file. ``base.html`` is the page and its style, ``parts.html`` has the parts, and each
command has a template of its own that fills the page. All that is put in is escaped: texts and ids are untrusted.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from mmsa_lightning import files
from mmsa_lightning.errors import UserError

START = b"<!doctype html"  # of a page

_TEMPLATES = Environment(
    loader=PackageLoader("mmsa_lightning.report", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write(out: Path, template: str, **values: Any) -> None:
    """Write a page, whole or not at all; its folder is made if it is not there, and an older page is replaced.

    Args:
        out: the HTML file.
        template: the name of a file beside this one.
        values: all that it names.

    Raises:
        UserError: something else is at ``out``.
    """
    if out.exists() and not (out.is_file() and out.read_bytes()[: len(START)].lower() in (START, b"")):
        raise UserError(f"{out} exists and is no page; give another --out")
    text = _TEMPLATES.get_template(template).render(values)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, text)


def image(figure: Figure) -> str:
    """The figure as a ``data:`` address. Not an ``<svg>`` element, since its ids would clash with other figures'."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
