"""On which steps a source's features lie: its words, its word pieces, its utterances, or some of their own."""

from __future__ import annotations

import numpy as np

from mmsa_lightning.data import padding
from mmsa_lightning.data.source import SourceSplit
from mmsa_lightning.data.store import SPLITS
from mmsa_lightning.data.tokens import Pieces, on_pieces

Lists = dict[str, list[np.ndarray]]  # split -> its utterances' sequences
Arrays = dict[str, np.ndarray]  # split -> an array over its utterances


def common_lengths(
    occupied: dict[str, Arrays],
    splits: dict[str, SourceSplit],
    tokens: Lists,
    pieces: dict[str, list[Pieces]] | None,
) -> Arrays:
    """The steps that all modalities of an utterance share.

    These are the source's own tokens, or else the furthest that any modality reaches: mostly a step for each word of
    the text, or for each of the ``pieces`` that were made of it here, of which the last may be zero throughout.
    """
    of_tokens = {name: np.array([len(ids) for ids in tokens[name]]) for name in SPLITS if tokens}
    if tokens and not pieces:
        return of_tokens
    anywhere = {name: np.logical_or.reduce([by[name] for by in occupied.values() if by]) for name in SPLITS}
    side = padding.found_side(list(anywhere.values()))
    found = {name: padding.found_lengths(steps, side) for name, steps in anywhere.items()}
    of_words = {name: np.array([len(words) for words in split.spoken or []]) for name, split in splits.items()}
    for counts in (of_words, of_tokens) if pieces else ():
        within = {name: np.minimum(counts[name], steps.shape[1]) for name, steps in anywhere.items()}
        ends, expected = (np.concatenate(list(lengths.values())) for lengths in (found, within))
        if (ends <= expected).all() and (ends == expected).mean() > 0.5:
            return within
    return found


def on_words(
    splits: dict[str, SourceSplit],
    modality: str,
    lists: Lists,
    tokens: Lists,
    pieces: dict[str, list[Pieces]] | None,
    report: list[str],
) -> Lists | None:
    """Features per word or per utterance as features per word piece; None where they are neither.

    Args:
        splits: as they were found.
        modality: what the report calls the features.
        lists: its features, without padding.
        tokens: ids of the word pieces.
        pieces: the same, where they were made of the text here.
        report: gets a line that says what was done.
    """
    words = {name: spoken for name, split in splits.items() if (spoken := split.spoken) is not None}
    apart = _apart(splits, lists, words) if pieces and words else []
    if pieces and words and not apart:
        report.append(
            f"{modality}: one step per word, given to each of its word pieces; the begin and the end mark got zeros"
        )
        return {n: [on_pieces(a, p) for a, p in zip(arrays, pieces[n], strict=True)] for n, arrays in lists.items()}
    if all(len(a) == 1 for arrays in lists.values() for a in arrays):
        report.append(f"{modality}: one step per utterance, repeated over the tokens")
        return {
            name: [np.repeat(array, len(ids), axis=0) for array, ids in zip(arrays, tokens[name], strict=True)]
            for name, arrays in lists.items()
        }
    if 0 < len(apart) < sum(map(len, lists.values())) / 2:
        name, row = apart[0]
        report.append(
            f"{modality}: {len(apart)} utterances do not have one step per word, as the others do, so nothing is "
            f"aligned: {splits[name].ids[row]} has {len(lists[name][row])} for {len(words[name][row])} words; if steps "
            "of zeros were taken for padding, state lengths"
        )
    return None


def _apart(splits: dict[str, SourceSplit], lists: Lists, words: dict[str, list[list[str]]]) -> list[tuple[str, int]]:
    """Split and row of each utterance that has not one step per word."""
    return [(n, row) for n in splits for row, a in enumerate(lists[n]) if len(a) != len(words[n][row])]
