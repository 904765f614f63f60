"""How generated labels agree with true ones, epoch by epoch, where the data have true ones of single modalities.

Seeds stop at different epochs. What is shown of an epoch is over the seeds that were trained so long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing

from mmsa_lightning import files
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.report import comparison, wording
from mmsa_lightning.report.figures.style import save_figure
from mmsa_lightning.report.figures.training import agreement_figure
from mmsa_lightning.report.grid import Grid, write_grids
from mmsa_lightning.report.history import read_history
from mmsa_lightning.report.rows import Row

AFTER = (1, 3, 5, 9)  # epochs that tables show
BEST, LAST = "best", "last"
MEASURES = ("corr", "mae")
TITLE = "Correlation of generated labels with true ones by epoch: mean over the seeds that were trained so long ± std"


@dataclass(frozen=True)
class Course:
    """How the generated labels of one modality agree with true ones in the runs of a row.

    Attributes:
        data: on which it was trained.
        row: its name.
        modality: text, audio or vision.
        epochs: by measure, of each seed float64 (epochs,), as far as it was trained; empty for a run of a version that
            did not log it.
        best: by measure, after each seed's best epoch, float64 (seeds,).
        label: by measure, of the utterances' own label, from which generated labels start.
    """

    data: str
    row: str
    modality: str
    epochs: dict[str, list[np.ndarray]]
    best: dict[str, np.ndarray]
    label: dict[str, float]

    def after(self, measure: str, epoch: int | str) -> np.ndarray:
        """Of the seeds that were trained so long, float64 (seeds,).

        Args:
            measure: one of :data:`MEASURES`.
            epoch: its number, from 1, or each seed's own :data:`BEST` or :data:`LAST`.
        """
        if epoch == BEST:
            return self.best[measure]
        number = 1 if epoch == LAST else int(epoch)
        place = -1 if epoch == LAST else number - 1
        return np.array([values[place] for values in self.epochs[measure] if len(values) >= number])


def courses(rows: Sequence[Row]) -> list[Course]:
    """Of each modality and row; empty where nothing is generated or nothing true is known."""
    known = [row for row in rows if row.agreement]
    histories = {row.name: [read_history(run_dir) for run_dir in row.run_dirs.values()] for row in known}
    return [
        Course(
            next(iter(row.results.values()))["data"],
            row.name,
            modality,
            {
                measure: [h.get(f"ulgm/{measure}_true_{modality}", np.empty(0)) for h in histories[row.name]]
                for measure in MEASURES
            },
            row.agreement[modality].generated,
            row.agreement[modality].label,
        )
        for modality in MODALITIES
        for row in known
        if modality in row.agreement
    ]


def grids(found: Sequence[Course]) -> list[Grid]:
    """A table for each modality: a line for the utterances' own label, then one for each row."""
    modalities = list(dict.fromkeys(course.modality for course in found))
    return [_table([c for c in found if c.modality == m], first=m == modalities[0]) for m in modalities]


def _table(found: Sequence[Course], *, first: bool) -> Grid:
    numbers = [epoch for epoch in AFTER if any(len(course.after("corr", epoch)) for course in found)]
    shown: list[int | str] = [*numbers, BEST, LAST]
    columns = [*(("corr", epoch) for epoch in shown), ("mae", BEST)]
    header = [*(f"epoch {epoch}" for epoch in numbers), BEST, LAST, f"MAE, {BEST}"]
    own = ["the label itself", "", *(f"{100 * found[0].label[measure]:.2f}" for measure, _ in columns)]
    lines = [
        [course.row, str(len(course.best["corr"])), *(_cell(course, measure, epoch) for measure, epoch in columns)]
        for course in found
    ]
    title = f"Agreement of generated labels with true ones, {found[0].data}, {found[0].modality}."
    if first:
        title += (
            " Correlation over the training utterances that have a true one, after an epoch, after the one that was "
            "chosen on validation (best) and after the last; MAE of the best. Mean ± sample standard deviation over n "
            "seeds, times 100; in brackets over how many, where not all were trained so long. The label itself is the "
            "utterance's, with which generated labels start."
        )
    return Grid(title, ["", "n", *header], [own, *lines])


def _cell(course: Course, measure: str, epoch: int | str) -> str:
    values = course.after(measure, epoch)
    if not len(values):
        return ""
    seeds = len(course.best[measure])
    return wording.spread(comparison.over_seeds(values)) + (f" ({len(values)})" if len(values) < seeds else "")


def records(found: Sequence[Course]) -> list[dict[str, object]]:
    """One record a row, modality, measure and epoch, for CSV; figures times 100."""
    out: list[dict[str, object]] = []
    for course in found:
        for measure in MEASURES:
            for epoch in (*AFTER, BEST, LAST):
                values = course.after(measure, epoch)
                if len(values):
                    figure = comparison.over_seeds(values)
                    out.append(
                        {
                            "row": course.row,
                            "modality": course.modality,
                            "metric": measure,
                            "epoch": epoch,
                            "n": figure.n,
                            "mean": wording.rounded(figure.mean),
                            "std": wording.rounded(figure.std),
                            "label": wording.rounded(100 * course.label[measure]),
                        }
                    )
    return out


def drawn(found: Sequence[Course]) -> dict[str, Drawing]:
    """The figure by its title; none where no course is known by epoch."""
    shown = [course for course in found if any(map(len, course.epochs["corr"]))]
    return {TITLE: agreement_figure(shown, TITLE)} if shown else {}


def write_agreement(found: Sequence[Course], out: Path) -> list[Path]:
    """Write ``agreement`` .csv, .md and .tex, and the figure, .png and .svg.

    Args:
        found: courses, at least one.
        out: folder to write to; made if it is not there.

    Returns:
        where they lie.
    """
    out.mkdir(parents=True, exist_ok=True)
    stem = out / "agreement"
    tables = grids(found)
    files.write_rows(stem.with_suffix(".csv"), records(found))
    write_grids(tables, stem)
    figures = drawn(found)
    for kind in (".png", ".svg"):
        stem.with_suffix(kind).unlink(missing_ok=True)  # of an earlier call
    for figure in figures.values():
        save_figure(figure, stem)
    return [stem.with_suffix(kind) for kind in (".csv", ".md", ".tex", *([".png", ".svg"] if figures else []))]
