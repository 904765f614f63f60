"""``mmsa report``: finished runs as one page of HTML that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmsa_lightning import files
from mmsa_lightning.data.inspect import label_counts
from mmsa_lightning.data.store import UNSTATED
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import attention, result
from mmsa_lightning.report import agreement, evaluation, html, robustness, tables, wording
from mmsa_lightning.report.cells import find_cells
from mmsa_lightning.report.comparison import Comparison
from mmsa_lightning.report.curves import read_curves
from mmsa_lightning.report.figures.attention import attention_figure
from mmsa_lightning.report.figures.predictions import predictions_figure
from mmsa_lightning.report.figures.rows import differences_figure, ranks_figure, rows_figure
from mmsa_lightning.report.figures.training import label_histograms_figure, labels_figure, losses_figure
from mmsa_lightning.report.grid import Grid
from mmsa_lightning.report.history import read_history
from mmsa_lightning.report.rows import Row, Utterance, read_rows, subject

SHOWN = 15  # utterances with the largest errors


def write_page(
    folders: Sequence[Path],
    out: Path,
    labels: Path | None = None,
    *,
    against: str | None = None,
    utterances: bool = True,
) -> list[Path]:
    """Write the page.

    Args:
        folders: run directories, or folders that hold some at any depth.
        out: the HTML file.
        labels: a folder for files of how generated labels agree with true ones.
        against: the row that tests compare with each other one; None for the paper's model.
        utterances: whether single ones are shown, with ids, texts, labels and attention, which the licence of data may
            not let one publish.

    Returns:
        what was written.

    Raises:
        UserError: no finished run, two of the same row and seed, runs that do not belong in one table, or ``labels``
            where no run has generated labels and true ones, or there is no row ``against``.
    """
    cells = find_cells(folders)
    rows = read_rows(cells)
    courses = agreement.courses(rows)
    if labels and not courses:
        raise UserError(
            f"{', '.join(map(str, folders))}: no run has generated labels beside true ones of single modalities; leave "
            "out --labels"
        )
    first = next(iter(rows[0].results.values()))
    found = Comparison(rows, against=against)
    tested = tables.tests_grid(found)
    curves = read_curves(cells)
    # Those of all rows before those of each one.
    drawn = agreement.drawn(courses) | _figures(found, utterances=utterances) | robustness.drawn(curves, first["data"])
    html.write(
        out,
        "page.html",
        title=f"{len(rows)} row{'s' * (len(rows) > 1)} on {subject(rows)}",
        subtitle=" ".join(
            f"{sentence}."
            for sentence in (
                "Selected on validation MAE; test was read once",
                "Figures of tables are times 100",
                rows[0].protocol.note,
            )
            if sentence
        ),
        data=_data_card(rows),
        results=[
            tables.measured_grid(found, "Test: mean ± sample standard deviation over n seeds; best in bold."),
            *tables.intervals_grids(found),
            *([tested] if tested else []),
            *agreement.grids(courses),
            *robustness.grids(curves, first["data"]),
            *evaluation.grids(evaluation.read_evaluations(cells)),
        ],
        figures=[(title, html.image(figure), figure.get_figwidth() > 8) for title, figure in drawn.items()],
        row_names=[row.name for row in rows],
        largest=_largest_errors(rows) if utterances else [],
        generated=[entry for row in rows if (entry := _farthest_labels(row))] if utterances else [],
        settings=[settings_of(row) for row in rows],
    )
    return [out, *(agreement.write_agreement(courses, labels) if labels else [])]


def _data_card(rows: Sequence[Row]) -> Grid:
    first = next(iter(rows[0].results.values()))
    labels = rows[0].labels
    counts = label_counts(labels, *first.get("label_range", UNSTATED))
    return Grid(
        f"{subject(rows)}: {len(labels)} test utterances; SHA-256 of the store's content {first['data_hash']}. Test "
        "labels, rounded:",
        ["", *(value for value, _ in counts), "mean", "std"],
        [
            [
                "utterances",
                *(str(count) for _, count in counts),
                f"{labels.mean():.2f}",
                f"{labels.std():.2f}",
            ]
        ],
    )


def _figures(found: Comparison, *, utterances: bool) -> dict[str, Figure]:
    """By their titles."""
    title = "Test figures"
    drawn = {title: rows_figure(found, title)}
    if len(found.rows) > 1:
        title = wording.ranked([len(row.results) for row in found.rows])
        title = title[0].upper() + title[1:]
        drawn[title] = ranks_figure(found.names, found.ranks, {}, title)
    if found.tests:
        title = f"MAE of {wording.in_words(found.tested)} minus each other row's"
        drawn[title] = differences_figure(found, title)
    for row in found.rows:
        title = f"{row.name}: training loss"
        histories = [read_history(run_dir) for run_dir in row.run_dirs.values()]
        drawn[title] = losses_figure(histories, title)
        title = f"{row.name}: generated labels by epoch"
        if followed := labels_figure(histories, title):
            drawn[title] = followed
        if utterances:  # a dot has the label of one
            title = f"{row.name}: predicted against true, test"
            drawn[title] = predictions_figure(row, title)
        seed, run_dir = next(iter(row.run_dirs.items()))
        if (path := run_dir / result.HISTOGRAMS).is_file():
            title = f"{row.name}: generated labels, seed {seed}"
            with files.as_written(path):
                drawn[title] = label_histograms_figure(files.read_rows(path), title)
        for record in attention.read(run_dir) if utterances else []:
            title = f"{row.name}: attention in {attention.headline(record)}, seed {seed}"
            drawn[title] = attention_figure(record, title)
    return drawn


def _largest_errors(rows: Sequence[Row]) -> list[tuple[Utterance, list[float]]]:
    """Utterances by their error over all rows, largest first, with each row's mean prediction."""
    error = np.mean([row.errors.mean(axis=0) for row in rows], axis=0)
    order = np.argsort(-error, kind="stable")[:SHOWN]
    return [(rows[0].utterances[i], [float(row.predictions[:, i].mean()) for row in rows]) for i in order]


def _farthest_labels(row: Row) -> tuple[str, list[str], list[list[str]]] | None:
    """Training utterances of the row's first seed whose generated labels lie farthest from the label."""
    seed, run_dir = next(iter(row.run_dirs.items()))
    path = run_dir / result.LABELS
    if not path.is_file():
        return None
    records = files.read_rows(path)
    with files.as_written(path):
        made = [name for name in records[0] if name.startswith("generated_")]
        records.sort(key=lambda r: -max(abs(float(r[name]) - float(r["label"])) for name in made))
        header = ["id", "label", *made]
        cells = [[r["id"], *(f"{float(r[name]):+.2f}" for name in header[1:])] for r in records[:SHOWN]]
    return f"{row.name}, seed {seed}", header, cells


def settings_of(row: Row) -> tuple[str, str, str]:
    """Name, resolved config of the first seed, and how all were run."""
    seed, run_dir = next(iter(row.run_dirs.items()))
    record = row.results[seed]
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    count = record.get("trainable_parameters", record["parameters"])  # older runs trained all of them
    trained = f", of which {count:,} train" if count < record["parameters"] else ""
    precision, threads, commit = (record.get(key, "unknown") for key in ("precision", "threads", "git_commit"))
    where = (
        f"Seeds {', '.join(map(str, row.results))}. {record['parameters']:,} parameters{trained}, {record['device']}, "
        f"precision {precision}, threads {threads}, {record['epochs']} epochs in {record['seconds']} s; "
        f"commit {commit}; {versions}."
    )
    return row.name, (run_dir / "config.yaml").read_text(encoding="utf-8"), where
