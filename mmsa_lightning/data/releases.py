"""The published files that are known, and how many utterances and which labels a dataset should have."""

from __future__ import annotations

from collections.abc import Sequence

# MMSA's feature files (https://github.com/thuiar/MMSA); there are no checksums of the other layouts' files.
RELEASES = {
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9": "MMSA MOSI aligned_50.pkl",
    "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524": "MMSA MOSI unaligned_50.pkl",
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791": "MMSA MOSEI aligned_50.pkl",
    "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f": "MMSA MOSEI unaligned_50.pkl",
}

# Train, valid, test. MOSI and MOSEI: the paper's Table 1, with its misprints corrected. CH-SIMS: Yu et al., CH-SIMS: A
# Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality, ACL 2020.
COUNTS = {"mosi": (1284, 229, 686), "mosei": (16326, 1871, 4659), "sims": (1368, 456, 457)}

LABEL_RANGES = {"mosi": (-3.0, 3.0), "mosei": (-3.0, 3.0), "sims": (-1.0, 1.0), "demo": (-3.0, 3.0)}


def protocol(dataset: str, label_range: Sequence[float]) -> str:
    """The name of the protocol that data are measured by: ``mosi``, ``sims`` or, on another scale, ``other``.

    Args:
        dataset: as its store has it.
        label_range: the lowest and the highest label that there can be.
    """
    limit = max(map(abs, label_range))
    if dataset == "sims" and limit <= 1:  # an older store may have been given another range
        return "sims"
    return "mosi" if 1 < limit <= 3 else "other"


def count_warning(dataset: str, counts: tuple[int, int, int]) -> str | None:
    """A warning if the train, valid and test counts are not the official ones; None if they are, or none are known."""
    expected = COUNTS.get(dataset)
    if expected is None or counts == expected:
        return None
    found, official = (" / ".join(map(str, three)) for three in (counts, expected))
    return f"{found} utterances in train / valid / test, where {dataset} has {official}: not comparable"


def range_warning(low: float, high: float) -> str | None:
    """A warning if all labels lie on one side of 0; None if they have both signs."""
    if low < 0 < high:
        return None
    return (
        f"labels in [{low:g}, {high:g}] are not negative and positive: acc2, f1 and generated labels mean nothing; "
        "move their middle to 0"
    )
