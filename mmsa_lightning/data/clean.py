"""Checks a source as it was read and mends what can be mended. Every repair is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mmsa_lightning.data import findings, grid, padding
from mmsa_lightning.data.grid import Arrays, Lists
from mmsa_lightning.data.ragged import Loaded, Ragged
from mmsa_lightning.data.source import Source, SourceSplit
from mmsa_lightning.data.store import SPLITS, Split
from mmsa_lightning.data.tokens import MAX_PIECES, Pieces
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES


@dataclass
class Cleaned:
    """What goes into a store.

    Attributes:
        splits: train, valid and test.
        aligned: every sequence of an utterance has the same steps.
        report: one line for each thing that was found or put right.
        label_range: the lowest and the highest label, as stated or as found.
    """

    splits: dict[str, Split]
    aligned: bool
    report: list[str]
    label_range: list[float]


def clean(
    source: Source,
    pieces: dict[str, list[Pieces]] | None = None,
    label_range: tuple[float, float] | None = None,
) -> Cleaned:
    """Check a source and mend what can be mended.

    Args:
        source: as its reader found it.
        pieces: the word pieces of each split's text, where the source has text and no tokens of its own.
        label_range: the lowest and the highest label that there can be; None: what is found.

    Raises:
        UserError: a split is missing or empty, columns have different lengths, an id stands twice, a label is not a
            number in its range, or features do not fit their words or each other.
    """
    report = list(source.report)
    splits = _checked(source, label_range, report)
    findings.videos(splits, report)
    findings.words(splits, report)
    sequences: dict[str, Lists] = {}
    if tokens := _tokens(splits, pieces, report):
        sequences["tokens"] = _without_empty(tokens, "text", False, report)
    features, shared = _stripped(source.aligned, splits, tokens, pieces, report)
    for modality, lists in features.items():
        lists = _finite(lists, modality, report)
        on_grid = grid.on_words(splits, modality, lists, tokens, pieces, report) if tokens else None
        keep_steps = shared or on_grid is not None
        sequences[modality] = _without_empty(on_grid or lists, modality, keep_steps, report)
    if not sequences:
        raise UserError("the source has neither text nor features")

    cleaned = {}
    for name, split in splits.items():
        ragged: dict[str, Ragged] = {modality: Loaded(lists[name]) for modality, lists in sequences.items()}
        cleaned[name] = Split(split.ids, split.label, ragged, split.raw_text, split.unimodal)
    aligned = all(split.aligned(sequences) for split in cleaned.values())
    if shared and not aligned:
        findings.steps(cleaned, report)
    return Cleaned(cleaned, aligned, report, list(label_range or _found_range(splits, report)))


# What cannot be put right.


def _checked(source: Source, label_range: tuple[float, float] | None, report: list[str]) -> dict[str, SourceSplit]:
    """The three splits, with labels as float32 (n,)."""
    for name in SPLITS:
        if name not in source.splits or not source.splits[name].ids:
            found = ", ".join(f"{other} {len(split.ids)}" for other, split in source.splits.items())
            shares = "takes it from valid" if name == "test" else "divides a source that names no splits"
            raise UserError(
                f"the source has no {name} split, or it is empty; train, valid and test are needed, it has {found}: "
                f"mark some of these as {name}, or use --split 70 15 15, which {shares}, by video"
            )
    splits = {name: source.splits[name] for name in SPLITS}
    home: dict[str, str] = {}
    for name, split in splits.items():
        for utterance in split.ids:
            if utterance in home:
                raise UserError(f"the id {utterance} occurs twice: in {home[utterance]} and in {name}")
            home[utterance] = name
        split.check(name)
        if _contents(split) != _contents(splits["train"]):
            raise UserError(f"{name} holds {_contents(split)}, but train holds {_contents(splits['train'])}")
    splits = {
        name: replace(
            split,
            label=_label(split.label, split.ids, f"{name}: label", label_range),
            unimodal={
                m: _label(label, split.ids, f"{name}: {m} label", label_range, blank=True)
                for m, label in split.unimodal.items()
            },
        )
        for name, split in splits.items()
    }
    known = _known_unimodal(splits, report)
    return {name: replace(split, unimodal={m: split.unimodal[m] for m in known}) for name, split in splits.items()}


def _known_unimodal(splits: dict[str, SourceSplit], report: list[str]) -> list[str]:
    """The modalities that any utterance has a label of; MMSA's files keep the columns where there are none."""
    known = []
    for modality in splits["train"].unimodal:
        labels = np.concatenate([split.unimodal[modality] for split in splits.values()])
        if blank := int(np.isnan(labels).sum()):
            now = "left out" if blank == len(labels) else "unknown there"
            report.append(f"{modality} label: blank for {blank} of {len(labels)} utterances, {now}")
        if blank < len(labels):
            known.append(modality)
    return known


def _found_range(splits: dict[str, SourceSplit], report: list[str]) -> tuple[float, float]:
    """The lowest and the highest of all labels, those of single modalities included."""
    labels = {name: np.concatenate([split.label, *split.unimodal.values()]) for name, split in splits.items()}
    low, high = _bounds(np.concatenate(list(labels.values())))
    if (known := _bounds(labels["train"])) != (low, high):
        report.append(
            f"labels: those of train lie in [{known[0]:g}, {known[1]:g}], and valid or test go beyond; what is found "
            "bounds some models and their generated labels, so state with --label-range what labels there can be"
        )
    return low, high


def _bounds(labels: np.ndarray) -> tuple[float, float]:
    return float(str(np.nanmin(labels))), float(str(np.nanmax(labels)))


def _contents(split: SourceSplit) -> str:
    own = [column for column in ("raw_text", "words", "tokens") if getattr(split, column) is not None]
    return ", ".join([*own, *sorted(split.features), *(f"{m} labels" for m in sorted(split.unimodal))]) or "nothing"


def _label(
    label: np.ndarray, ids: list[str], where: str, allowed: tuple[float, float] | None, *, blank: bool = False
) -> np.ndarray:
    """float32 (n,) of numbers that are ``allowed``, or NaN where it may be ``blank``."""
    if label.size != len(ids):
        raise UserError(f"{where} has shape {label.shape}: one number per utterance is needed")
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is told of below
        flat = label.reshape(-1).astype(np.float32)
    low, high = allowed or (-np.inf, np.inf)  # numpy compares in float32: what the labels were rounded to
    right = (low <= flat) & (flat <= high) & np.isfinite(flat)
    wrong = ~(right | np.isnan(flat)) if blank else ~right
    if wrong.any():
        first = int(wrong.argmax())
        what = f"outside [{allowed[0]:g}, {allowed[1]:g}]" if allowed else "not a number of float32"
        raise UserError(
            f"{where} of {ids[first]} is {flat[first]:g}, {what}; so are {wrong.sum() - 1} more of {len(ids)}"
        )
    return flat


# What is put right and reported.


def _tokens(splits: dict[str, SourceSplit], pieces: dict[str, list[Pieces]] | None, report: list[str]) -> Lists:
    if pieces:
        if cut := sum(p.cut for name in SPLITS for p in pieces[name]):
            report.append(f"text: {cut} utterances are longer than {MAX_PIECES} word pieces; their end was cut off")
        return {name: [p.ids for p in pieces[name]] for name in SPLITS}
    return {name: split.tokens for name, split in splits.items() if split.tokens is not None}


def _stripped(
    aligned: bool,
    splits: dict[str, SourceSplit],
    tokens: Lists,
    pieces: dict[str, list[Pieces]] | None,
    report: list[str],
) -> tuple[dict[str, Lists], bool]:
    """Each modality's sequences without padding, and whether the modalities still share their steps."""
    lists: dict[str, Lists] = {}
    padded: dict[str, Arrays] = {}
    for modality in (m for m in MODALITIES if m in splits["train"].features):
        lists[modality], padded[modality] = {}, {}
        dtypes = set()
        for name, split in splits.items():
            values = split.features[modality].values
            if isinstance(values, np.ndarray):
                dtypes.add(str(values.dtype))
                padded[modality][name] = _float32(values)
            else:
                dtypes |= {str(steps.dtype) for steps in values}
                lists[modality][name] = [_float32(steps) for steps in values]
        if other := dtypes - {"float32"}:
            report.append(f"{modality}: {', '.join(sorted(other))} in the source, stored as float32")
        _check_widths(modality, splits)

    occupied = {m: {name: padding.occupied(values) for name, values in by.items()} for m, by in padded.items()}
    lengths = {m: _own_lengths(m, splits, by) for m, by in occupied.items()}
    if aligned and any(padded.values()):
        common = grid.common_lengths(occupied, splits, tokens, pieces)
        reaching = {m: padding.stated_side(_all(by), _all(common))[1] for m, by in occupied.items() if by}
        for modality, count in reaching.items():
            if count:
                report.append(f"{modality}: {count} utterances have steps after their text ends, so nothing is aligned")
        if any(reaching.values()):
            aligned = False
        else:
            lengths = dict.fromkeys(padded, common)

    for modality, values_of in padded.items():
        if not values_of:
            continue
        steps = occupied[modality]
        if lengths[modality]:
            side, beyond = padding.stated_side(_all(steps), _all(lengths[modality]))
            if beyond:
                report.append(f"{modality}: {beyond} utterances have values beyond their stated length, removed")
            final = lengths[modality]
        else:
            side = padding.found_side(_all(steps))
            final = {name: padding.found_lengths(found, side) for name, found in steps.items()}
        if side != "none":
            report.append(f"{modality}: padded on the {side}, removed")
        lists[modality] |= {name: padding.strip(values, final[name], side) for name, values in values_of.items()}
    return lists, aligned


def _all(by_split: Arrays) -> list[np.ndarray]:
    return list(by_split.values())


def _own_lengths(modality: str, splits: dict[str, SourceSplit], occupied: Arrays) -> Arrays:
    """The lengths that the source states, within the arrays; empty where it states none."""
    stated = {name: splits[name].features[modality].lengths for name in occupied}
    return {
        name: np.clip(np.nan_to_num(length), 0, occupied[name].shape[1]).astype(np.int64)
        for name, length in stated.items()
        if length is not None
    }


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and counted as such
        return values.astype(np.float32, copy=False)


def _check_widths(modality: str, splits: dict[str, SourceSplit]) -> None:
    first: tuple[int, str] | None = None
    for name, split in splits.items():
        for utterance, steps in zip(split.ids, split.features[modality].values, strict=True):
            width = steps.shape[-1]
            if width == 0:
                raise UserError(f"{name}: {modality} of {utterance} has no features: its width is 0")
            first = first or (width, utterance)
            if width != first[0]:
                raise UserError(f"{name}: {modality} of {utterance} has width {width}, but {first[1]} has {first[0]}")


def _each(lists: Lists, change: Callable[[np.ndarray], np.ndarray]) -> Lists:
    return {name: [change(array) for array in arrays] for name, arrays in lists.items()}


def _finite(lists: Lists, modality: str, report: list[str]) -> Lists:
    count = 0

    def zero_for_bad(array: np.ndarray) -> np.ndarray:
        nonlocal count
        bad = ~np.isfinite(array)
        if not bad.any():
            return array
        count += int(bad.sum())
        return np.where(bad, np.float32(0), array)

    lists = _each(lists, zero_for_bad)
    if count:
        report.append(f"{modality}: {count} values were infinite or not a number, now 0")
    return lists


def _without_empty(lists: Lists, modality: str, keep_steps: bool, report: list[str]) -> Lists:
    """Make every sequence at least one step long. One of zeros alone keeps its steps only if others share them."""
    empty = 0

    def at_least_one(array: np.ndarray) -> np.ndarray:
        nonlocal empty
        if array.any():
            return array
        empty += 1
        return array if keep_steps and len(array) else np.zeros((1, *array.shape[1:]), array.dtype)

    lists = _each(lists, at_least_one)
    if empty:
        now = "kept as zeros" if keep_steps else "kept as one step of zeros"
        report.append(f"{modality}: {empty} utterances are empty or zero throughout, {now}")
    return lists
