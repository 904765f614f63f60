"""Say what a store holds."""

from __future__ import annotations

import textwrap

import numpy as np

from mmsa_lightning.data.releases import count_warning, range_warning
from mmsa_lightning.data.store import SPLITS, Store
from mmsa_lightning.modalities import MODALITIES

WIDTH = 100
PERCENTILES = (5, 25, 50, 75, 95, 100)


def describe(store: Store) -> str:
    """A plain text of at most 100 columns: provenance, counts, lengths, labels, what is missing, what was put right."""
    parts = [_provenance(store), _splits(store), _sequences(store), _lengths(store), _labels(store), _report(store)]
    return "\n\n".join("\n".join(part) for part in parts)


def _provenance(store: Store) -> list[str]:
    meta = store.meta
    return [
        f"{store.path}",
        *_wrapped("dataset", meta.dataset),
        *_wrapped("metrics", f"protocol {meta.protocol}"),
        *_wrapped("layout", meta.layout),
        *_wrapped("source", meta.source),
        *_wrapped("SHA-256", meta.source_sha256),
        *_wrapped("release", meta.release or "not a known release"),
        *_wrapped("content", meta.content_sha256),
        *(_wrapped("extracted", str(meta.extraction)) if meta.extraction else []),
    ]


def _wrapped(name: str, value: str) -> list[str]:
    return textwrap.wrap(value, WIDTH, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14) or [f"  {name}"]


def _splits(store: Store) -> list[str]:
    counts = {name: len(store.splits[name]) for name in SPLITS}
    lines = ["Utterances", *(f"  {name:<12}{count:>7}" for name, count in counts.items())]
    warning = count_warning(store.meta.dataset, (counts["train"], counts["valid"], counts["test"]))
    return lines + (_wrapped("warning", warning) if warning else [])


def _sequences(store: Store) -> list[str]:
    lines = ["Sequences"]
    meta = store.meta
    assumed = ", it is assumed: the source does not say" if meta.vocabulary_assumed else ""
    lowered = ", of the text in lower case" if meta.lower_cased else ""
    known = f" (SHA-256 {meta.vocabulary_sha256[:12]})" if meta.vocabulary_sha256 else ""
    for name, dim in store.dims.items():
        kind = f"word pieces of {meta.vocabulary}{known}{lowered}{assumed}" if dim is None else f"{dim} features"
        named = meta.feature_names.get(name)
        lines += _wrapped(name, f"{kind}: {', '.join(named)}" if named else kind)
    missing = [m for m in MODALITIES if m not in store.modalities]
    true = {m: int(np.isfinite(label).sum()) for m, label in store.splits["train"].unimodal.items()}
    told = ", ".join(
        m if count == len(store.splits["train"]) else f"{m} ({count} of train)" for m, count in true.items()
    )
    return [
        *lines,
        *_wrapped("missing", ", ".join(missing) or "no modality"),
        *_wrapped("aligned", "yes: an utterance's sequences share their steps" if meta.aligned else "no"),
        *_wrapped("unimodal", f"true labels of {told}" if told else "no true labels"),
    ]


def _lengths(store: Store) -> list[str]:
    header = "".join(f"{'max' if p == 100 else f'{p} %':>8}" for p in PERCENTILES)
    lines = [f"{'Lengths, percentiles':<22}{header}"]
    for sequence in store.dims:
        for name in SPLITS:
            lengths = store.splits[name].sequences[sequence].lengths
            row = "".join(f"{int(v):>8}" for v in np.percentile(lengths, PERCENTILES, method="higher"))
            lines.append(f"  {sequence:<12}{name:<8}{row}")
    return lines


def _labels(store: Store) -> list[str]:
    low, high = store.meta.label_range
    counts = {name: label_counts(store.splits[name].label, low, high) for name in SPLITS}
    total = sum(len(store.splits[name]) for name in SPLITS)
    lines = [f"Labels in [{low:g}, {high:g}], rounded", f"  {'':<12}" + "".join(f"{name:>8}" for name in SPLITS)]
    for i, (value, _) in enumerate(counts["train"]):
        found = [counts[name][i][1] for name in SPLITS]
        share = sum(found) / total
        row = "".join(f"{count:>8}" for count in found)
        lines.append(f"  {value:<12}{row}  {share:>5.1%} {'#' * round(share * 50)}")
    if store.meta.protocol == "other":
        lines += _wrapped("note", "acc7 and acc5 need labels in [-3, 3]: undefined here")
    if warning := range_warning(low, high):
        lines += _wrapped("warning", warning)
    return lines


def label_bins(labels: np.ndarray, low: float, high: float) -> tuple[list[str], np.ndarray]:
    """Some evenly spaced values, written with their sign, and which of them each label is nearest to, int (labels,).

    The values are acc7's classes -3 … 3, halves going to the even one; on another scale eleven, ``low`` to ``high``.
    """
    if 1 < max(-low, high) <= 3:
        values, nearest = np.arange(-3.0, 4.0), np.rint(labels) + 3
    else:
        values, nearest = low + (high - low) * np.arange(11) / 10, np.rint((labels - low) / ((high - low) or 1) * 10)
    return [f"{value:+.4g}" if value else "0" for value in values], nearest.astype(int)


def label_counts(labels: np.ndarray, low: float, high: float) -> list[tuple[str, int]]:
    """How many labels are nearest to each value of :func:`label_bins`."""
    values, nearest = label_bins(labels, low, high)
    return [(value, int((nearest == i).sum())) for i, value in enumerate(values)]


def _report(store: Store) -> list[str]:
    lines = ["Import report"]
    for entry in store.meta.report or ["nothing had to be put right"]:
        lines += textwrap.wrap(entry, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return lines
