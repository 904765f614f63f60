"""What is told of a source and left as it is."""

from __future__ import annotations

import itertools

from mmsa_lightning.data.formats.fields import some
from mmsa_lightning.data.source import SourceSplit
from mmsa_lightning.data.store import SPLITS, Split

NO_TEXT = ("nan", "None", "<NA>")  # str() of NaN, None and pandas.NA


def videos(splits: dict[str, SourceSplit], report: list[str]) -> None:
    """Videos with utterances in two splits: what a model knows of their speakers from one helps it in the other."""
    found = {name: {id.split("$_$")[0] for id in split.ids if "$_$" in id} for name, split in splits.items()}
    for one, other in itertools.combinations(SPLITS, 2):
        if shared := sorted(found[one] & found[other]):
            report.append(f"{one} and {other} share {len(shared)} videos, such as {shared[0]}")


def words(splits: dict[str, SourceSplit], report: list[str]) -> None:
    """Texts such as "nan", which a script may have made of a missing text and which may be meant, and blank ones."""
    texts = [pair for s in splits.values() for pair in zip(s.ids, s.raw_text or [], strict=False)]
    if ids := [id for id, text in texts if text in NO_TEXT]:
        report.append(f"text: {some(ids)} have the text {' or '.join(NO_TEXT)}; if there is no text, leave it empty")
    if blank := [id for id, text in texts if not text.strip()]:
        report.append(f"text: {some(blank)} have no text")


def steps(cleaned: dict[str, Split], report: list[str]) -> None:
    """The sequences that are not aligned, in a source that says it is."""
    first, *others = cleaned["train"].sequences
    for other in others:
        apart = sum(int((s.sequences[first].lengths != s.sequences[other].lengths).sum()) for s in cleaned.values())
        if apart:
            report.append(f"{other}: {apart} utterances differ in length from their {first}, so nothing is aligned")
