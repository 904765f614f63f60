"""What a model attends to."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.figure import Figure


def attention_figure(record: dict[str, Any], title: str) -> Figure:
    """Attention weights in one utterance, one panel per map: a row for each step of the target, black for the largest.

    Args:
        record: of a run's ``attention.json``, see :func:`mmsa_lightning.experiment.attention.attention_maps`.
    """
    weights, steps = record["weights"], record["steps"]
    columns = min(3, len(weights))
    lines = -(-len(weights) // columns)
    side = min(9.0, 1.3 + 0.14 * max(map(len, steps.values())))  # inches of a panel
    figure = Figure(figsize=(columns * side, lines * side), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, (name, rows) in zip(panels, weights.items(), strict=False):
        target, _, source = name.partition("<-")
        largest = max(map(max, rows))
        axis.imshow(rows, cmap="Greys", vmin=0, vmax=largest, aspect="auto", interpolation="nearest")
        axis.set_yticks(range(len(steps[target])), steps[target], fontsize=7)
        axis.set_xticks(range(len(steps[source or target])), steps[source or target], fontsize=7, rotation=90)
        axis.set_title(f"{name.replace('<-', ' ← ')}, 0 to {largest:.2f}", fontsize=9)
    for axis in panels[len(weights) :]:
        axis.set_axis_off()
    figure.suptitle(textwrap.fill(title, max(40, int(11 * figure.get_figwidth()))), fontsize=11)
    return figure
