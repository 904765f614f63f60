"""``mmsa robustness``: how figures fall as more goes missing, in tables, figures and tests.

Of a model that was trained both with parts missing and on complete data, tables show what that costs and gains at
:data:`AT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing

from mmsa_lightning import files
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.result import RATES
from mmsa_lightning.report import comparison, tables, wording
from mmsa_lightning.report.cells import Cell
from mmsa_lightning.report.comparison import Test
from mmsa_lightning.report.curves import Curve, area, read_curves, row_names
from mmsa_lightning.report.figures.robustness import robustness_figure
from mmsa_lightning.report.figures.style import save_figure
from mmsa_lightning.report.grid import Grid, write_grids
from mmsa_lightning.report.paper import published_auilc
from mmsa_lightning.report.resampling import sampled_means
from mmsa_lightning.report.rows import run_record
from mmsa_lightning.report.significance import estimate
from mmsa_lightning.training.protocols import Protocol

WHAT = {
    "frames": "frames and word pieces are missing",
    "block": "a block of frames and word pieces is missing",
    "modality": "only some modalities are there",
}

AT = (0.0, 0.5)
"""The rates at which training with parts missing is held against training on complete data."""


def grids(curves: Sequence[Curve], data: str) -> list[Grid]:
    """Of each mode its table and its tests, and what was published where that was measured in the same way."""
    found = []
    for mode in WHAT:
        own = [curve for curve in curves if curve.mode == mode]
        if own:
            found += [grid for grid in (_table(own, mode, data), _tests(own), _costs_grid(own, mode)) if grid]
    published = published_auilc(data)
    if published and any("[frames, same, reference]" in curve.row for curve in curves):
        metrics = [m for m in curves[0].protocol.metrics if m in published[0]]
        rows = [[record["name"], *(record[m] for m in metrics)] for record in published]
        title = "Published AUILC, EMT-DLFR's Table 6: one model a rate, these masks, chosen on validation, mean of 3."
        found.append(Grid(title, ["", *(heading(curves[0].protocol, m) for m in metrics)], rows))
    elif published and found:
        found[0].title += (
            " The published AUILC of EMT-DLFR's Table 6 are not beside it: they are of one model a rate, which "
            "missing.train=same missing.draw=reference trains."
        )
    return found


def heading(protocol: Protocol, metric: str) -> str:
    """What a table calls a metric; not all of them stand in every table."""
    return protocol.headings.get(metric, metric.capitalize())


def _table(curves: Sequence[Curve], mode: str, data: str) -> Grid:
    metrics = curves[0].protocol.metrics
    figures = [{m: curve.figure(m) for m in metrics} for curve in curves]
    cells = [
        [curve.row, str(len(curve.draws)), *(wording.spread(found[m]) for m in metrics)]
        for curve, found in zip(curves, figures, strict=True)
    ]
    bold = tables.best(figures, list(metrics), column=2)
    if mode == "modality":
        what = f"mean over {', '.join(curves[0].at)}"
    else:
        what = "AUILC over the rates 0 to 1 in steps of 0.1"
    seeds, masks = (sorted({draw[i] for curve in curves for draw in curve.draws} - {""}, key=int) for i in (0, 1))
    title = (
        f"{data}, {curves[0].errors.shape[2]} test utterances where {WHAT[mode]}: {what}; mean ± sample standard "
        f"deviation over n draws of seeds {_listed(seeds)}"
        f"{f' and of mask seeds {_listed(masks)}' if masks else ''}, times 100; best in bold."
    )
    return Grid(title, ["", "n", *(heading(curves[0].protocol, m) for m in metrics)], cells, bold)


def _tests(curves: Sequence[Curve]) -> Grid | None:
    """The row with the lowest MAE against each other one; of rows that were measured at every rate."""
    errors = {curve.row: area(curve.errors.swapaxes(1, 2), curve.mode) for curve in curves}  # (seeds, utterances)
    errors = {row: own for row, own in errors.items() if np.isfinite(own).all()}
    if len(errors) < 2:
        return None
    best, found = comparison.best_against(errors)
    fewest = min(map(len, errors.values()))
    title = (
        f"MAE of {best} minus each other row's, {'mean' if curves[0].mode == 'modality' else 'AUILC'} as above, mask "
        f"seeds pooled: paired, over {wording.resampled(fewest)}; "
        f"{wording.said_of(found, fewest)} {best} was chosen as the best of these rows, which favours it."
    )
    return tables.differences_grid(found, {}, title)


def _listed(seeds: Sequence[object]) -> str:
    return ", ".join(map(str, seeds))


def costs(curves: Sequence[Curve]) -> dict[str, dict[float, Test]]:
    """What training with parts missing costs and gains: MAE times 100 minus that of training on complete data.

    Args:
        curves: of one mode, over rates.

    Returns:
        by row and rate, of :data:`AT`, with p corrected for the rows of a rate; rows that were measured at no other or
        have no row beside them are left out.
    """
    places = [RATES.index(rate) for rate in AT]
    errors = {curve.row: 100 * curve.errors[:, places] for curve in curves}
    errors = {row: own for row, own in errors.items() if np.isfinite(own).all()}
    pairs = [(c.row, c.complete) for c in curves if c.row in errors and c.complete in errors]
    if not pairs:
        return {}
    keys = [(row, i) for row in errors for i in range(len(AT))]
    sampled = dict(zip(keys, sampled_means([errors[row][:, i] for row, i in keys]), strict=True))
    tested = {
        rate: comparison.tests({row: estimate(sampled[row, i], sampled[complete, i]) for row, complete in pairs})
        for i, rate in enumerate(AT)
    }
    return {row: {rate: tested[rate][row] for rate in AT} for row, _ in pairs}


def _costs_grid(curves: Sequence[Curve], mode: str) -> Grid | None:
    if mode == "modality" or not (found := costs(curves)):
        return None
    compared = {*found, *(curve.complete for curve in curves if curve.row in found)}
    fewest = min(len(curve.errors) for curve in curves if curve.row in compared)
    title = (
        f"MAE where {WHAT[mode]}, of training with parts missing minus that of training on complete data (negative: it "
        f"gains), with 95 % intervals: paired, over {wording.resampled(fewest)}; p by Holm over {len(found)} "
        "comparisons at each rate."
    )
    cells = [
        [
            row,
            *(
                text
                for rate in AT
                for text in (
                    wording.signed(own[rate].difference.value),
                    wording.interval(own[rate].difference),
                    wording.shown_p(own[rate].corrected),
                )
            ),
        ]
        for row, own in found.items()
    ]
    return Grid(title, ["", *(text for rate in AT for text in (f"Δ at rate {rate:g}", "95 % interval", "p"))], cells)


def cost_records(curves: Sequence[Curve]) -> list[dict[str, object]]:
    """One record a row, mode and rate of :func:`costs`, for CSV."""
    return [
        {
            "row": row,
            "mode": mode,
            "at": rate,
            "metric": "mae",
            "difference": wording.rounded(own.difference.value),
            "low": wording.rounded(own.difference.low),
            "high": wording.rounded(own.difference.high),
            "p": wording.short_p(own.difference.p),
            "p_holm": wording.short_p(own.corrected),
        }
        for mode in ("frames", "block")
        for row, rates in costs([curve for curve in curves if curve.mode == mode]).items()
        for rate, own in rates.items()
    ]


def records(curves: Sequence[Curve]) -> list[dict[str, object]]:
    """One record a row, mode and metric, for CSV."""
    return [
        {
            "row": curve.row,
            "mode": curve.mode,
            "metric": m,
            "draws": len(curve.draws),
            "mean": wording.rounded(curve.figure(m).mean),
            "std": wording.rounded(curve.figure(m).std),
        }
        for curve in curves
        for m in curve.protocol.metrics
    ]


def write_robustness(cells: Sequence[Cell], out: Path) -> str:
    """Write ``robustness`` .csv, every figure; ``auilc`` .csv, .md and .tex; and a figure a mode, .png and .svg.

    With these come ``auilc_runs.csv``, of which runs they were made, and, where models were trained both ways,
    ``training.csv``, what training with parts missing costs.

    Args:
        cells: finished runs that were measured.
        out: folder to write to; made if it is not there.

    Returns:
        the Markdown.

    Raises:
        UserError: as :func:`read_curves`.
    """
    curves = read_curves(cells)
    shown = {cell: record for cell in cells if (record := result.read(cell.run_dir))}
    data = next(iter(shown.values()))["data"]
    made = grids(curves, data)
    out.mkdir(parents=True, exist_ok=True)
    names = row_names(cells)
    lines = [
        {"row": names[cell], "seed": cell.seed, **line, "run": str(cell.run_dir)}
        for cell in shown
        for line in files.read_rows(cell.run_dir / result.ROBUSTNESS)
    ]
    files.write_rows(out / "robustness.csv", lines)
    files.write_rows(out / "auilc.csv", records(curves))
    read = result.NAME, result.ROBUSTNESS, result.ROBUSTNESS_ERRORS
    runs = [run_record(names[cell], cell.seed, cell.run_dir, record, *read) for cell, record in shown.items()]
    files.write_rows(out / "auilc_runs.csv", runs)
    for stale in [
        out / "training.csv",
        *(out / f"robustness_{mode}{kind}" for mode in WHAT for kind in (".png", ".svg")),
    ]:
        stale.unlink(missing_ok=True)  # of an earlier call
    if costed := cost_records(curves):
        files.write_rows(out / "training.csv", costed)
    markdown = write_grids(made, out / "auilc")
    for mode, figure in zip(dict.fromkeys(curve.mode for curve in curves), drawn(curves, data).values(), strict=True):
        save_figure(figure, out / f"robustness_{mode}")
    return markdown


def drawn(curves: Sequence[Curve], data: str) -> dict[str, Drawing]:
    """A figure a mode, by its title."""
    titles = {mode: f"{data}, test where {WHAT[mode]}" for mode in dict.fromkeys(curve.mode for curve in curves)}
    return {
        title: robustness_figure([curve for curve in curves if curve.mode == mode], title)
        for mode, title in titles.items()
    }
