"""Upper-case transcripts, such as MOSI's, and the tokenizers that tell upper case from lower."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

HARDLY = 0.05  # share of letters; a transcript's few lower-case ones are in marks such as (umm)


def tells_case(tokenizer: Any) -> bool:
    """Whether a fast tokenizer makes other pieces of ``A`` than of ``a``."""
    normalizer = tokenizer.backend_tokenizer.normalizer  # asked itself: a small vocabulary may know neither letter
    return normalizer is None or normalizer.normalize_str("A") != normalizer.normalize_str("a")


def is_upper(texts: Iterable[str]) -> bool:
    """Whether hardly any letter of all these texts together is a lower-case one, and some are upper-case ones."""
    upper = lower = 0
    for text in texts:
        upper += sum(map(str.isupper, text))
        lower += sum(map(str.islower, text))
    return upper > 0 and lower <= HARDLY * (upper + lower)
