"""Finished runs written by hand, and what stands on a page that is made of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from records import MACHINE

from mmsa_lightning.training.protocols import PROTOCOLS


class Page(HTMLParser):
    """Its text, its elements, its addresses, and the cells of each table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.addresses: list[str] = []
        self.titles: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.titles += [value or "" for name, value in attrs if name == "alt"]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.in_cell:
            self.tables[-1][-1][-1] += data.strip()


def finished(
    folder: Path,
    model: str,
    seed: int,
    predictions: Mapping[str, float],
    labels: Mapping[str, float] | None = None,
    config: str = "",
    **changes: Any,
) -> Path:
    """What a run leaves.

    Args:
        folder: to write it below.
        model: its row.
        seed: of the run.
        predictions: of test, by id.
        labels: likewise; 1 where there is none.
        config: what ``config.yaml`` says beside the seed.
        changes: of ``result.json``.

    Returns:
        the run's folder.
    """
    run_dir = folder / model / f"seed{seed}"
    run_dir.mkdir(parents=True)
    known = dict.fromkeys(predictions, 1.0) | dict(labels or {})
    protocol = PROTOCOLS[changes.get("protocol", "mosi")]
    pairs = protocol.clipped(np.array([(known[id], value) for id, value in predictions.items()]))
    figures = dict.fromkeys(protocol.headings, 0.5) | {"mae": float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())}
    record = {
        **{"data": "demo", "model": model, "ablation": "full", "seed": seed, "valid": figures, "test": figures},
        **{"epochs": 2, "best_epoch": 1, "modalities": ["text"], **MACHINE},
        **{"precision": "32-true", "threads": 1, "git_commit": "abc"},
        **{"text": "bert", "text_encoder": "minilm", "config_hash": "c", "data_hash": "d"},
    }
    (run_dir / "result.json").write_text(json.dumps(record | changes))
    (run_dir / "config.yaml").write_text(f"seed: {seed}\n{config}")
    (run_dir / "metrics.csv").write_text("epoch,train/loss\n1,2.0\n2,1.0\n")
    with (run_dir / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "id", "label", "prediction", "text"])
        writer.writerow(["valid", "aside", 3.0, -3.0, ""])
        writer.writerows(["test", id, known[id], value, f"<b>{id}</b> & more"] for id, value in predictions.items())
    return run_dir
