"""Write the results of ``docs/models.md`` from ``recipes.yaml``: ``python experiments/recipes.py``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import yaml

from mmsa_lightning.data.releases import LABEL_RANGES, protocol
from mmsa_lightning.training.protocols import PROTOCOLS

HERE = Path(__file__).parent
RECIPES = HERE / "recipes.yaml"
PAGE = HERE.parent / "docs" / "models.md"
BEGIN = "<!-- Made by experiments/recipes.py from experiments/recipes.yaml. -->"
END = "<!-- End of what is made. -->"


def read() -> list[dict[str, Any]]:
    """The recipes, as the file holds them."""
    recipes: list[dict[str, Any]] = yaml.safe_load(RECIPES.read_text(encoding="utf-8"))
    return recipes


def columns(recipe: dict[str, Any]) -> dict[str, str]:
    """The headings of what its data are measured by, without F1."""
    headings = PROTOCOLS[protocol(recipe["data"], LABEL_RANGES[recipe["data"]])].headings
    return {metric: heading for metric, heading in headings.items() if not metric.startswith("f1")}


def command(recipe: dict[str, Any], *models: str) -> str:
    """What measures these models."""
    return str(recipe["command"]).replace("MODEL", ",".join(models))


def section(recipe: dict[str, Any]) -> str:
    """A recipe in Markdown."""
    models = recipe["models"]
    measured = [name for name, figures in models.items() if figures]
    state = f"Measured on {recipe['date']}, on {recipe['machine']}." if measured else "**Not measured yet.**"
    parts = [
        f"### {recipe['title']}",
        textwrap.fill(f"{recipe['note']} {state}", 120, break_on_hyphens=False),
        f"```bash\n{command(recipe, *models)}\n```",
    ]
    if measured:
        shown = columns(recipe)
        rows = [["model", "seeds", *shown.values()], ["---", *["---:"] * (1 + len(shown))]]
        rows += [_row(name, figures, list(shown)) for name, figures in models.items()]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts)


def _row(name: str, figures: dict[str, Any] | None, metrics: list[str]) -> list[str]:
    if not figures:
        return [f"`{name}`", "not measured", *[""] * len(metrics)]
    seeds = ", ".join(map(str, figures["seeds"]))
    shown = (figures[key] and " ± ".join(f"{number:.2f}" for number in figures[key]) for key in metrics)
    return [f"`{name}`", seeds, *(cell or "undefined" for cell in shown)]


def updated(page: str) -> str:
    """``page`` with the recipes between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return "\n\n".join([before + BEGIN, *map(section, read()), END + after])


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
