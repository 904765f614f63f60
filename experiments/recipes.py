"""Write ``docs/results.md`` from ``recipes.yaml`` and the CSVs that it names: ``python experiments/recipes.py``.

Sentences of a recipe take their figures from the tables, too: ``{table[tfn].mae}``, or ``{table[tfn][mae]}``, is what
the page's row of TFN shows under MAE. README shows the tables that it names between two marks.
"""

from __future__ import annotations

import posixpath
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmsa_lightning import files
from mmsa_lightning.training.protocols import PROTOCOLS

HERE = Path(__file__).parent
RECIPES = HERE / "recipes.yaml"
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "results.md"
README = HERE.parent / "README.md"
BEGIN = "<!-- Made by experiments/recipes.py from experiments/recipes.yaml"
END = "<!-- End of what is made. -->"

NAMES = {
    "tfn": "TFN",
    "lmf": "LMF",
    "mfn": "MFN",
    "raven": "RAVEN",
    "mult": "MulT",
    "misa": "MISA",
    "mag_bert": "MAG-BERT",
    "self_mm": "Self-MM",
    "interactive_attention": "the paper's model",
    "full": "the paper's model",
    "none": "without its three parts",
}
HEADINGS = {name: heading for protocol in PROTOCOLS.values() for name, heading in protocol.headings.items()}
CHOICE = {"valid": "MAE of validation", "best_epoch": "best epoch"}
FRACTIONS = ("mae", "corr")  # shown as such; the others are in per cent
AXES = ("row", "text", "modality", "mode", "metric", "epoch")
VERDICTS = {"holds": "What holds.", "fails": "What does not.", "open": "What cannot be said."}


@dataclass(frozen=True)
class Row:
    """A line of a table of the page: what it is of, its cells by column, and what a test against it found."""

    name: str
    axes: tuple[str, ...]
    cells: dict[str, str]
    test: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """A cell, or ``difference``, ``interval`` or ``p`` of the test; for the sentences."""
        return (self.cells | self.test)[column]

    def __getattr__(self, column: str) -> str:
        """The same."""
        try:
            return self[column]
        except KeyError:
            raise AttributeError(f"{self.name} has no {column}") from None


@dataclass(frozen=True)
class Table:
    """A CSV of ``results/`` as the page shows it: a line a row, a column a metric or an epoch."""

    title: str
    axes: list[str]
    rows: dict[str, Row]
    detectable: list[float]
    over_seeds: bool  # its intervals; those of older tables are over utterances alone

    def __getitem__(self, row: str) -> Row:
        return self.rows[row]

    def markdown(self) -> str:
        """A GitHub table."""
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row.cells))
        tested = any(row.test for row in self.rows.values())
        header = ["", *self.axes, *((HEADINGS | CHOICE).get(column, column) for column in columns)]
        header += ["Δ MAE, 95 % interval; p"] * tested
        lines = [
            [row.name, *row.axes, *(row.cells.get(column, "") for column in columns)]
            + [" ".join(row.test.values())] * tested
            for row in self.rows.values()
        ]
        rules = ["---", *["---:"] * (len(header) - 1)]
        parts = [self.title, "\n".join(map(_line, [header, rules, *lines]))]
        told = []
        if tested:
            told.append(
                "Δ MAE is that of the row without one, minus this row's; each interval is of its difference alone, and "
                "p is corrected for all rows by Holm's method."
            )
        if self.detectable:
            least, median, most = (_figure("mae", str(q)) for q in np.quantile(self.detectable, (0, 0.5, 1)))
            shown = f"{median} (median; {least} to {most})" if least != most else median
            told.append(f"Before correction, a test has a power of 80 % to show a difference of {shown} at p < .05.")
        parts.append(_filled(" ".join(told)))
        if tested and not self.over_seeds:
            parts.append("Intervals and p are over utterances alone, and so say too much: other seeds would move them.")
        return "\n\n".join(filter(None, parts))


def read() -> list[dict[str, Any]]:
    """The recipes, as the file holds them."""
    recipes: list[dict[str, Any]] = yaml.safe_load(RECIPES.read_text(encoding="utf-8"))
    return recipes


def command(recipe: Mapping[str, Any], *models: str) -> str:
    """What measures these models."""
    return str(recipe["command"]).replace("MODEL", ",".join(models)).strip()


def table(folder: str, given: Mapping[str, Any]) -> Table:
    """A table of the page.

    Args:
        folder: of ``results/``.
        given: the ``csv`` in it; a ``title``; ``rows``, those that are shown by a short name, each with its name in the
            CSV and on the page (all rows without it); ``where``, what other columns must be; ``across``, the column
            that the table's columns are of; ``validation``, whether each row's MAE on validation, which its epoch was
            chosen by, stands there too: of the list of runs beside the CSV.
    """
    where, across = given.get("where", {}), given.get("across", "metric")
    path = RESULTS / folder / given["csv"]
    lines = files.read_rows(path)
    runs = files.read_rows(path.with_name(f"{path.stem}_runs.csv")) if given.get("validation") else []
    lines = [line for line in lines if all(line[column] == str(value) for column, value in where.items())]
    chosen = given.get("rows") or {row: [row, NAMES.get(row, row)] for row in dict.fromkeys(x["row"] for x in lines)}
    axes = [axis for axis in AXES if axis in lines[0] and axis not in (across, "row", *where)]
    axes = [axis for axis in axes if len({line[axis] for line in lines}) > 1]
    rows = {}
    for key, (row, name) in chosen.items():
        places = dict.fromkeys(tuple(line[axis] for axis in axes) for line in lines if line["row"] == row)
        for values in places:
            own = [x for x in lines if x["row"] == row and tuple(x[axis] for axis in axes) == values]
            cells = {x[across]: _cell(x, str(where.get("metric", x["metric"]))) for x in own}
            if across == "metric":
                seeds = {"n": own[0]["n"]} if "n" in own[0] else {}
                choice = _choice([run for run in runs if run["row"] == row]) if runs else {}
                cells = seeds | choice | {metric: cells[metric] for metric in cells if metric in HEADINGS}
            test = next((_test(x) for x in own if x.get("model_minus_row")), {})
            rows[" ".join([key, *values]) if len(places) > 1 else key] = Row(name, values, cells, test)
    names = {row for row, _ in chosen.values()}
    detectable = [float(line["detectable"]) for line in lines if line["row"] in names and line.get("detectable")]
    return Table(given.get("title", ""), axes, rows, detectable, "low_utterances" in lines[0])


def tables(recipe: Mapping[str, Any]) -> dict[str, Table]:
    """Those of a recipe that was measured, by the name that sentences call them by."""
    return {given.get("name", "table"): table(recipe["folder"], given) for given in recipe["tables"]}


def _cell(line: Mapping[str, str], metric: str) -> str:
    if "difference" in line:
        difference, low, high = (_signed(line[name], metric) for name in ("difference", "low", "high"))
        return f"{difference} [{low}, {high}]" + (f" {_p(line)}" if "p_holm" in line else "")
    if not line["mean"]:
        return "undefined"
    spread = (
        [_figure(metric, line["std"])] if line["std"] and float(line["std"]) else []
    )  # none of what is always equal
    return " ± ".join([_figure(metric, line["mean"]), *spread])


def _choice(runs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Of a row's runs: the mean of what their epochs were chosen by, and from which to which these were."""
    mean, epochs = np.mean([float(run["valid_mae"]) for run in runs]), sorted(int(run["best_epoch"]) for run in runs)
    return {"valid": _bare(f"{mean:.3f}"), "best_epoch": f"{epochs[0]} to {epochs[-1]}"}


def _figure(metric: str, text: str) -> str:
    """Of a figure that is times 100 in the CSV."""
    return _bare(f"{float(text) / 100:.3f}" if metric in FRACTIONS else f"{float(text):.1f}")


def _test(line: Mapping[str, str]) -> dict[str, str]:
    """The paper's model against this row."""
    low, high, difference = (_signed(line[name]) for name in ("low", "high", "model_minus_row"))
    return {"difference": difference, "interval": f"[{low}, {high}]", "p": _p(line)}


def _p(line: Mapping[str, str]) -> str:
    """Of a test, corrected."""
    return f"p {float(line['p_holm']):.2g}"


def _signed(text: str, metric: str = "mae") -> str:
    return _bare(f"{float(text) / 100:+.3f}" if metric in FRACTIONS else f"{float(text):+.1f}")


def _bare(number: str) -> str:
    """Without the nought before the point of a fraction, and with a minus."""
    return re.sub(r"^([+-]?)0(\.\d{3})$", r"\1\2", number).replace("-", "−")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def section(recipe: Mapping[str, Any]) -> str:
    """A recipe in Markdown."""
    measured = "folder" in recipe
    state = f"Measured on {recipe['date']}, on {recipe['machine']}." if measured else "**Not measured yet.**"
    parts = [
        f"## {recipe['title']}",
        _filled(f"{recipe['note']} {state}"),
        f"```bash\n{command(recipe, *recipe['models'])}\n```",
    ]
    if measured:
        found = tables(recipe)
        parts += [shown.markdown() for shown in found.values()]
        parts += [_picture(recipe["folder"], name, what) for name, what in recipe.get("pictures", {}).items()]
        parts.append("\n".join(_filled(f"- **{VERDICTS[v]}** {_told(recipe, v, found)}", "  ") for v in VERDICTS))
        links = [_link(recipe["folder"], given["csv"]) for given in _csvs(recipe)]
        parts.append(f"From {', '.join(links)}.")
    return "\n\n".join(parts)


def _csvs(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list({given["csv"]: given for given in recipe["tables"]}.values())


def _told(recipe: Mapping[str, Any], verdict: str, found: Mapping[str, Table]) -> str:
    return str(recipe[verdict]).format_map(found)


def _picture(folder: str, name: str, what: str) -> str:
    return f"![{what}](../experiments/results/{folder}/{name})"


def _link(folder: str, name: str) -> str:
    address = posixpath.normpath(f"../experiments/results/{folder}/{name}")  # published figures lie beside results/
    shown = name if not name.startswith("..") else posixpath.relpath(address, "../experiments")
    return f"[{shown}]({address})"


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False, subsequent_indent=indent)


def page(text: str) -> str:
    """``docs/results.md`` with every recipe between its two marks."""
    return _between(text, {"": "\n\n".join(map(section, read()))})


def readme(text: str) -> str:
    """README with the tables and sentences that its marks name by their folders."""
    found = {recipe["folder"]: recipe for recipe in read() if "folder" in recipe}
    shown = {}
    for folder, recipe in found.items():
        own = tables(recipe)
        told = " ".join(_told(recipe, verdict, own) for verdict in ("holds", "fails"))
        shown[folder] = "\n\n".join([_filled(recipe["note"]), next(iter(own.values())).markdown(), _filled(told)])
    return _between(text, shown)


def _between(text: str, made: Mapping[str, str]) -> str:
    """``text`` with what is made between each opening mark, which may name what, and the mark of its end."""

    def put(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{made[found[2] or '']}\n\n{END}"

    return re.sub(rf"({re.escape(BEGIN)}(?:: (\w+))?\. -->).*?{re.escape(END)}", put, text, flags=re.DOTALL)


if __name__ == "__main__":
    for path, updated in ((PAGE, page), (README, readme)):
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
