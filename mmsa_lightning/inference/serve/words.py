"""A predicted sentiment in words: the classes that a protocol's accuracies are of."""

from __future__ import annotations

from typing import Literal

from mmsa_lightning.inference.about import About

# The annotation of CMU-MOSI, -3 to +3 (Zadeh et al., MOSI: Multimodal Corpus of Sentiment Intensity, 2016).
SEVEN = (
    "strongly negative",
    "negative",
    "weakly negative",
    "neutral",
    "weakly positive",
    "positive",
    "strongly positive",
)
# Of CH-SIMS (Yu et al., ACL 2020), by the upper ends of the classes but the last.
FIVE = ("negative", "weakly negative", "neutral", "weakly positive", "positive")
FIVE_ENDS = (-0.7, -0.1, 0.1, 0.7)


def in_words(about: About, sentiment: float) -> str | None:
    """The class of seven, acc7; of CH-SIMS of five, acc5; None for labels of another scale, which has no such classes.

    Args:
        about: of the package that predicted it.
        sentiment: in the unit of its labels.
    """
    if about.protocol == "mosi":
        return SEVEN[round(min(max(sentiment, -3.0), 3.0)) + 3]  # half to even, as acc7 rounds
    if about.protocol == "sims":
        return FIVE[sum(sentiment > end for end in FIVE_ENDS)]
    return None


def polarity(about: About, sentiment: float) -> Literal["positive", "negative"] | None:
    """The class of two, acc2_non0 and CH-SIMS's acc2: 0 is negative. None where the labels do not lie around 0."""
    low, high = about.label_range
    if not low < 0 < high:
        return None
    return "positive" if sentiment > 0 else "negative"
