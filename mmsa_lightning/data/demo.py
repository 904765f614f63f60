"""Demo data: made up by a seed, so that everything runs before any data set is at hand.

Every utterance has a mood. Its text, audio and vision each show it in their own way and with their own error; in an
ironic utterance the words say the opposite of what voice and face show. The label mixes the three. The per-modality
sentiments are stored as true unimodal labels, to compare generated ones with.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import numpy as np

from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.data.releases import LABEL_RANGES
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.data.store import SPLITS, Store
from mmsa_lightning.errors import UserError

LAYOUT = "demo"
VERSION = 2  # of the generator: raise it when the data it makes change
MIX = {"text": 0.5, "audio": 0.25, "vision": 0.25}
IRONY = 0.2  # share of utterances whose words say the opposite
DIMS = {"audio": 5, "vision": 20}  # as in the published MOSI features
WORD_VECTOR = 50  # width of a word's vector
NOISE = {"audio": 4.0, "vision": 6.0}  # standard deviation of a feature at one word, beside a sentiment in [-3, 3]
ANNOTATORS = 0.5  # standard deviation of the label about the mix

ADJECTIVES = {
    -3: ["terrible", "horrible", "awful", "a complete disaster", "unwatchable"],
    -2: ["bad", "boring", "disappointing", "annoying", "weak"],
    -1: ["a bit slow", "rather flat", "not that good", "somewhat predictable", "forgettable"],
    0: ["okay", "average", "what you would expect", "about two hours long", "set in the city"],
    1: ["fairly nice", "quite decent", "not bad", "rather pleasant", "kind of fun"],
    2: ["good", "enjoyable", "funny", "touching", "strong"],
    3: ["amazing", "brilliant", "wonderful", "absolutely fantastic", "a masterpiece"],
}
NOUNS = ["movie", "film", "story", "plot", "acting", "ending", "music", "script", "cast", "dialogue", "first half"]
OPENINGS = ["", "i mean", "you know", "honestly", "so", "well", "um", "i have to say", "in my opinion"]
CLAUSES = ["the {noun} was {adjective}", "i thought the {noun} was {adjective}", "the {noun} is just {adjective}"]
JOINTS = ["and", "and then", "also", "plus"]


def generate(seed: int, counts: dict[str, int]) -> Source:
    """Make up ``counts`` utterances of each split.

    Returns:
        a word-aligned source: text (words, 50), audio (words, 5) and vision (words, 20) float32, labels float64 in
        steps of 0.2. A word's vector tells it from other words and nothing of its sentiment.
    """
    rng = np.random.default_rng(seed)
    directions = {m: rng.normal(size=dim) / np.sqrt(dim) for m, dim in DIMS.items()}
    splits = {name: _generate_split(rng, name, count, directions) for name, count in counts.items()}
    return Source(LAYOUT, splits, aligned=True)


def _generate_split(rng: np.random.Generator, name: str, count: int, directions: dict[str, np.ndarray]) -> SourceSplit:
    mood = rng.uniform(-3, 3, count)
    said = np.where(rng.random(count) < IRONY, -mood, mood)
    shown = {"text": said, "audio": mood, "vision": mood}
    unimodal = {m: np.clip(value + rng.normal(0, 0.4, count), -3, 3) for m, value in shown.items()}
    label = np.clip(sum(MIX[m] * unimodal[m] for m in MIX) + rng.normal(0, ANNOTATORS, count), -3, 3)
    words = [_sentence(rng, sentiment).split() for sentiment in unimodal["text"]]
    features = {"text": Sequences([np.stack([_word_vector(word) for word in w]) for w in words])} | {
        m: Sequences(
            [_sequence(rng, len(w), s, directions[m], NOISE[m]) for w, s in zip(words, unimodal[m], strict=True)]
        )
        for m in DIMS
    }
    return SourceSplit(
        ids=[f"{name}{i // 10:03d}$_${i % 10}" for i in range(count)],
        label=np.round(label * 5) / 5,
        raw_text=[" ".join(w) for w in words],
        words=words,
        features=features,
        unimodal=unimodal,
    )


def _sentence(rng: np.random.Generator, sentiment: float) -> str:
    def clause() -> str:
        level = int(np.clip(np.rint(sentiment + rng.normal(0, 0.3)), -3, 3))
        return str(rng.choice(CLAUSES)).format(noun=rng.choice(NOUNS), adjective=rng.choice(ADJECTIVES[level]))

    parts = [str(rng.choice(OPENINGS)), clause()]
    for _ in range(rng.integers(0, 3)):
        parts += [str(rng.choice(JOINTS)), clause()]
    return " ".join(parts)


@functools.cache
def _word_vector(word: str) -> np.ndarray:
    """The same for a word everywhere, float32 (50,), made up from its letters."""
    return np.random.default_rng(list(word.encode())).normal(size=WORD_VECTOR).astype(np.float32)


def _sequence(
    rng: np.random.Generator, steps: int, sentiment: float, direction: np.ndarray, noise: float
) -> np.ndarray:
    return (sentiment * direction + rng.normal(0, noise, (steps, len(direction)))).astype(np.float32)


class DemoDataModule(StoreDataModule):
    """A :class:`StoreDataModule` that makes its store up, unless it is there already.

    Args:
        path: where the store is kept.
        generator_seed: of the made-up data; ``seed`` is the training order's.
        counts: utterances of train, valid and test.
        others: :class:`StoreDataModule`'s.

    Raises:
        ValueError: as :class:`StoreDataModule`; a split without utterances.
    """

    def __init__(self, path: str, *, generator_seed: int, counts: dict[str, int], **others: Any) -> None:
        super().__init__(path, **others)
        if set(counts) != set(SPLITS) or min(counts.values()) < 1 or generator_seed < 0:
            raise ValueError(f"counts needs an utterance for each of {SPLITS}, generator_seed a number from 0")
        self.generator_seed = generator_seed
        self.counts = counts

    def prepare_data(self) -> None:
        """Write the store where it is missing or was made with other arguments.

        Raises:
            UserError: something else lies at ``path``.
        """
        if hasattr(self, "store"):
            return  # Lightning asks again before it trains, validates and tests
        recipe = json.dumps({"version": VERSION, "seed": self.generator_seed, "counts": self.counts})
        sha256 = hashlib.sha256(recipe.encode()).hexdigest()
        if self.path.exists():
            found = Store(self.path).meta
            if found.layout != LAYOUT:
                raise UserError(f"{self.path} holds {found.dataset}, not demo data; data=own data.path=… trains on it")
            if found.source_sha256 == sha256:
                return
        source = generate(self.generator_seed, self.counts)
        import_source(
            source,
            self.path,
            dataset="demo",
            name="made up",
            sha256=sha256,
            tokenizer="minilm",
            label_range=LABEL_RANGES["demo"],
        )
