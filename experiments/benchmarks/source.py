"""A pickle in the layout of MMSA's aligned_50.pkl, which both sides read.

Real utterances with ``--utterances``, else made up, as long as those of CMU-MOSI (15 word pieces in the mean).
"""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from mmsa_lightning import minilm

STEPS = 50  # what MMSA pads to and cuts off at


def write(path: Path, counts: dict[str, int], utterances: Path | None, audio: Path | None, seed: int = 0) -> None:
    """Text in word pieces and 768 features, audio of 73 columns, vision of 20; noise where not given.

    Args:
        path: of the pickle.
        counts: utterances of train, valid and test at most.
        utterances: a CSV with id, text, label and split.
        audio: an npz with id and features (n, 73), one vector an utterance, repeated over its steps.
    """
    rng = np.random.default_rng(seed)
    rows = _read(utterances) if utterances else _make_up(counts, rng)
    vectors = dict(zip(*(np.load(audio)[name] for name in ("id", "features")), strict=True)) if audio else {}
    tokenizer = AutoTokenizer.from_pretrained(minilm.directory(), local_files_only=True)
    splits = {}
    for split, count in counts.items():
        chosen = [row for row in rows if row["split"] == split][:count]
        encoded = tokenizer(
            [row["text"].lower() for row in chosen], padding="max_length", truncation=True, max_length=STEPS
        )
        mask = np.array(encoded["attention_mask"])
        real = mask[:, :, None].astype(np.float32)
        heard = np.stack([vectors[row["id"]] if vectors else rng.normal(size=73) for row in chosen])
        splits[split] = {
            "raw_text": np.array([row["text"] for row in chosen]),
            "id": np.array([row["id"] for row in chosen]),
            "text": rng.normal(size=(len(chosen), STEPS, 768)).astype(np.float32) * real,
            "text_bert": np.stack([encoded["input_ids"], mask, np.zeros_like(mask)], axis=1).astype(np.float32),
            "audio": np.repeat(heard[:, None], STEPS, axis=1).astype(np.float32) * real,
            "vision": rng.normal(size=(len(chosen), STEPS, 20)).astype(np.float32) * real,
            "regression_labels": np.array([float(row["label"]) for row in chosen], dtype=np.float32),
        }
    path.write_bytes(pickle.dumps(splits, protocol=4))


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _make_up(counts: dict[str, int], rng: np.random.Generator) -> list[dict[str, Any]]:
    words = ["film", "acting", "story", "great", "slow", "really", "the", "was", "a", "of", "funny", "dull"]
    return [
        {
            "id": f"{split}${i}",
            "split": split,
            "label": str(round(rng.uniform(-3, 3), 1)),
            "text": " ".join(rng.choice(words, size=np.clip(round(rng.lognormal(2.3, 0.6)), 1, STEPS - 2))),
        }
        for split, count in counts.items()
        for i in range(count)
    ]
