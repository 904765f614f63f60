"""Sources in exactly the published layouts, quirks included, and where the real data lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

COUNTS = {"train": 5, "valid": 3, "test": 4}
VOCABULARY = 30522


def make_mmsa(aligned: bool, seed: int = 0) -> dict[str, dict[str, Any]]:
    """MMSA's pickle: float text_bert, -inf in audio; aligned: zeros in front; unaligned: behind, with lengths."""
    rng = np.random.default_rng(seed)
    data = {}
    for name, n in COUNTS.items():
        text_lengths = rng.integers(3, 50, n)
        text_bert = np.zeros((n, 3, 50), np.float32)
        for row, length in zip(text_bert, text_lengths, strict=True):
            row[0, :length] = [101, *rng.integers(1000, VOCABULARY, length - 2), 102]
            row[1, :length] = 1
        part = {
            "raw_text": np.array([f"words of {name} {i}" for i in range(n)]),
            "id": np.array([f"{name}_video$_${i}" for i in range(n)]),
            "text": rng.normal(size=(n, 50, 768)).astype(np.float32),  # not zero in the padding: BERT's output
            "text_bert": text_bert,
            "annotations": np.array(["Positive"] * n),
            "classification_labels": np.ones(n),
            "regression_labels": np.round(rng.uniform(-3, 3, n), 1),
        }
        for modality, dim, longest in (("audio", 5, 375), ("vision", 20, 500)):
            time = 50 if aligned else longest
            lengths = text_lengths if aligned else rng.integers(1, longest, n)
            values = np.zeros((n, time, dim), np.float64 if modality == "audio" else np.float32)
            for row, length in zip(values, lengths, strict=True):
                row[time - length if aligned else 0 : time if aligned else length] = rng.normal(size=(length, dim))
            part[modality] = values
            if not aligned:
                part[f"{modality}_lengths"] = [int(length) for length in lengths]
        part["audio"][0, -1 if aligned else 0, 2] = -np.inf
        data[name] = part
    return data


def make_mult(time: dict[str, int], ids: str = "triples", seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """MulT's pickle: zeros in front, labels (n, 1, 1), -inf in audio, ids as (n, 3) bytes."""
    rng = np.random.default_rng(seed)
    data = {}
    for name, n in COUNTS.items():
        common = rng.integers(1, min(time.values()), n)
        part: dict[str, np.ndarray] = {"labels": np.round(rng.uniform(-3, 3, (n, 1, 1)), 1)}
        for modality, dim in (("text", 300), ("audio", 74), ("vision", 35)):
            lengths = common if len(set(time.values())) == 1 else rng.integers(1, time[modality], n)
            part[modality] = np.zeros((n, time[modality], dim), np.float32)
            for row, length in zip(part[modality], lengths, strict=True):
                row[-length:] = rng.normal(size=(length, dim))
        part["audio"][0, -1, 3] = -np.inf
        triples = [[f"{name}_video".encode(), b"%d.5" % i, b"%d.25" % (i + 1)] for i in range(n)]
        part["id"] = {
            "triples": np.array(triples),
            "segments": np.array([[f"{name}_video[{i}]"] for i in range(n)]),
            "repeated": np.array(["same[0]"] * n),
        }[ids]
        data[name] = part
    return data


SENTENCES = ["i really loved it", "unbelievably bad", "so", "no plot whatsoever um", "it was okay i guess"]


def make_fold(name: str, n: int, *, own_words: bool, seed: int = 0) -> list[Any]:
    """One fold as MISA (``own_words``: ids and words) or MAG-BERT (words only) write it."""
    rng = np.random.default_rng(seed)
    fold = []
    for i in range(n):
        words = SENTENCES[i % len(SENTENCES)].split()
        visual = rng.normal(size=(len(words), 47)).astype(np.float32)
        acoustic = rng.normal(size=(len(words), 74)).astype(np.float32)
        label = np.array([[np.round(rng.uniform(-3, 3), 1)]], np.float32)
        first = (np.arange(len(words)), visual, acoustic, words) if own_words else (words, visual, acoustic)
        fold.append((first, label, f"{name}{i % 4}[{i}]"))
    return fold


@pytest.fixture
def real_data() -> Path:
    """The folder of real CMU-MOSI material beside the repository; it may not be distributed."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "mosi"
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def layouts() -> Any:
    """The makers above, for tests, which cannot import a conftest."""
    from types import SimpleNamespace

    return SimpleNamespace(mmsa=make_mmsa, mult=make_mult, fold=make_fold, counts=COUNTS)


@pytest.fixture(scope="session")
def packaged() -> Any:
    """MiniLM's tokenizer."""
    from mmsa_lightning.data.tokenizers import tokenizer

    return tokenizer("minilm")


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tokenizer's folder of each family."""
    import vocabularies

    folder = tmp_path_factory.mktemp("families")
    return {family: vocabularies.save(folder / family, family) for family in vocabularies.FAMILIES}
