"""What a package says of itself, ``config.json``: plain values alone, checked before anything is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from mmsa_lightning.annotations import describe, fits
from mmsa_lightning.data.extraction import Extraction
from mmsa_lightning.data.missing import ABSENT, MODES
from mmsa_lightning.data.tokens import MAX_PIECES
from mmsa_lightning.data.utterances import Scale
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.training.protocols import PROTOCOLS

FORMATS = "mmsa-lightning package"  # how the format of every version begins
FORMAT = f"{FORMATS} 1"
CONFIG, CARD = "config.json", "README.md"
TEXT_ENCODER = "text_encoder"  # the folder of its configuration and tokenizer
STEPS = ("utterance", "text", "own")
OURS = re.compile(r"mmsa_lightning\.models\.\w+\.\w+")  # a model, and no layer of one
NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # of a file
OF_ENCODER = re.compile(TEXT_ENCODER + r"/\w[\w.-]*\.(json|txt|model|jinja)", re.ASCII)  # what a tokenizer is saved as
LONGEST = 1 << 16  # steps of an utterance
LARGEST = 1 << 26  # bytes of a file that is no weights: no tokenizer comes near it


@dataclass
class Modality:
    """How a model reads a modality.

    Attributes:
        width: of its features; None for text as word pieces.
        steps: ``utterance``: one step per utterance, repeated over the steps of the text. ``text``: the steps of the
            text, or one per word; where no text is read as word pieces, their steps all the same. ``own``: any number.
        names: of each feature, where they are known.
        mean, std: of each feature over the training split; None for text.
        median_steps: of an utterance of the training split, [CLS] and [SEP] not counted: what is missing is so long
            where nothing else of an utterance tells how long it is.
    """

    width: int | None
    steps: str
    names: list[str] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    median_steps: int = 1

    @property
    def scale(self) -> Scale | None:
        """Mean and standard deviation, float32 (width,) each."""
        if self.mean is None or self.std is None:
            return None
        return np.array(self.mean, np.float32), np.array(self.std, np.float32)


@dataclass
class Vocabulary:
    """Whose word pieces the model reads.

    Attributes:
        name: of the text encoder that it is of.
        sha256: see :func:`mmsa_lightning.data.vocabularies.vocabulary_sha256`.
        unknown: the id of its unknown piece.
        lower_cased: text is put in lower case before it is tokenized.
        longest: so many pieces are read at most.
    """

    name: str
    sha256: str
    unknown: int
    lower_cased: bool
    longest: int


@dataclass
class Member:
    """One trained model: the package's own, or one of an ensemble.

    Attributes:
        weights: its file.
        seed, best_epoch, config_hash, git_commit, versions: as ``result.json`` has them.
        valid, test: figures; an undefined one is None.
    """

    weights: str
    seed: int
    best_epoch: int
    config_hash: str
    git_commit: str | None
    versions: dict[str, str]
    valid: dict[str, float | None]
    test: dict[str, float | None]


@dataclass
class File:
    """A file of the package, its size in bytes."""

    size: int
    sha256: str


@dataclass
class About:
    """A package.

    Attributes:
        name: of the model, such as ``self_mm``.
        model: ``_target_`` and the arguments of its class, without the place of the text encoder.
        modalities: how each is read, in the order of the model's ``dims``.
        dataset, data_hash, label_range, protocol: of the data that it was trained on.
        aligned: the modalities that it was trained on share their steps.
        standardized: audio and vision get zero mean and unit variance by their moments.
        text_encoder: the name of the encoder that was fine-tuned; None where the model reads no word pieces.
        vocabulary: of that.
        missing: mode of what was missing in training (:mod:`mmsa_lightning.data.missing`); None where nothing was.
        absent: what stands for a dropped modality.
        members: one; several in an ensemble, whose predictions are averaged.
        code: the file of the user's own model; None for the project's.
        files: every file of the package but this one and the card.
        extraction: how its features were made of videos; None where they were not, or not here.
    """

    name: str
    model: dict[str, Any]
    modalities: dict[str, Modality]
    dataset: str
    data_hash: str
    label_range: list[float]
    protocol: str
    aligned: bool
    standardized: bool
    text_encoder: str | None
    vocabulary: Vocabulary | None
    missing: str | None
    absent: str
    members: list[Member]
    code: str | None = None
    files: dict[str, File] = field(default_factory=dict)
    extraction: Extraction | None = None

    @property
    def dims(self) -> dict[str, int | None]:
        """The width of each modality's features; None for text as word pieces."""
        return {m: modality.width for m, modality in self.modalities.items()}

    @property
    def limit(self) -> float:
        """The largest absolute value of a label."""
        return max(map(abs, self.label_range))

    @property
    def scale(self) -> dict[str, Scale]:
        """By which features are standardised."""
        found = {m: modality.scale for m, modality in self.modalities.items()} if self.standardized else {}
        return {m: scale for m, scale in found.items() if scale is not None}

    def text(self) -> str:
        """As the JSON text of ``config.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, allow_nan=False) + "\n"


def read(text: bytes) -> About:
    """Read ``config.json``.

    Raises:
        ValueError: what is wrong with it.
    """
    try:
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ValueError(f"it does not begin with the format {FORMAT!r}: made by another version?")
    found.setdefault("extraction", None)  # which older packages lack, and median_steps
    for modality in found["modalities"].values() if isinstance(found.get("modalities"), dict) else ():
        if isinstance(modality, dict):
            modality.setdefault("median_steps", 1)
    about: About = _read(About, found, "it")
    _check(about)
    return about


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a field twice")
    return found


def _read(cls: Any, value: Any, where: str) -> Any:
    """A dataclass of this file from the plain value that it became."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is no object")
    hints = get_type_hints(cls)
    if set(value) != set(hints):
        other = sorted(set(value) ^ set(hints))
        raise ValueError(f"{where} has not the fields that it should have: {', '.join(other)[:200]}")
    return cls(**{f.name: _field(hints[f.name], value[f.name], f"{where}.{f.name}") for f in fields(cls)})


def _field(hint: Any, value: Any, where: str) -> Any:
    inner = next((h for h in (hint, *get_args(hint)) if is_dataclass(h)), None)
    if inner is None:
        if not fits(value, hint):
            raise ValueError(f"{where} is not {describe(hint)}")
        return value
    if get_origin(hint) is list and isinstance(value, list):
        return [_read(inner, item, f"{where}[{i}]") for i, item in enumerate(value)]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {str(key): _read(inner, item, f"{where}.{key}") for key, item in value.items()}
    return None if value is None and type(None) in get_args(hint) else _read(inner, value, where)


def _check(about: About) -> None:
    """Check what the types do not say."""
    own = about.code is not None and about.code.removesuffix(".py") + "."
    target = str(about.model.get("_target_"))
    if not (target.startswith(own) if own else OURS.fullmatch(target)):
        raise ValueError(f"its model is not one of mmsa_lightning.models, nor in its code: {target}")
    if list(about.modalities) != [m for m in MODALITIES if m in about.modalities] or not about.modalities:
        raise ValueError(f"its modalities are {', '.join(about.modalities) or 'none'}")
    for name, modality in about.modalities.items():
        _check_modality(name, modality)
    _check_vocabulary(about)
    if len(about.label_range) != 2 or about.label_range[0] > about.label_range[1]:
        raise ValueError(f"its label_range is {about.label_range}")
    if about.protocol not in PROTOCOLS:
        raise ValueError(f"its protocol is {about.protocol}, none of {', '.join(PROTOCOLS)}")
    if about.missing not in (None, *MODES):
        raise ValueError(f"what was missing in its training is {about.missing}, none of {', '.join(MODES)}")
    if about.absent not in ABSENT:
        raise ValueError(f"what stands for a dropped modality is {about.absent}, none of {', '.join(ABSENT)}")
    _check_files(about)


def _check_modality(name: str, m: Modality) -> None:
    lengths = {len(values) for values in (m.names, m.mean, m.std) if values is not None}
    moments = [values is not None for values in (m.mean, m.std)]
    if (
        (m.width is None and name != "text")
        or (m.width is not None and m.width < 1)
        or m.steps not in STEPS
        or not lengths <= {m.width}
        or moments != [name != "text"] * 2
        or not 1 <= m.median_steps <= LONGEST
    ):
        raise ValueError(f"what it says of {name} does not fit together")
    with np.errstate(over="ignore"):
        scale = m.scale
    if scale and not (np.isfinite(scale).all() and (scale[1] > 0).all()):
        raise ValueError(f"a mean of {name} is not a number, or a standard deviation is not above 0")


def _check_vocabulary(about: About) -> None:
    vocabulary = about.vocabulary
    if (about.text_encoder is None) != (vocabulary is None) or (vocabulary is None) == (
        about.dims.get("text", 0) is None
    ):
        raise ValueError("its text encoder does not go with its modalities")
    if vocabulary and not (3 <= vocabulary.longest <= MAX_PIECES and vocabulary.unknown >= 0):
        raise ValueError(f"its vocabulary has the unknown piece {vocabulary.unknown} and reads {vocabulary.longest}")


def _check_files(about: About) -> None:
    """Check that there is a file for each member, and none that nothing reads."""
    weights = {member.weights for member in about.members}
    read = weights | ({about.code} if about.code is not None else set())
    if not weights or len(weights) < len(about.members) or not read <= set(about.files):
        raise ValueError("it has no members, or not a file of weights for each, or not its code")
    for name, file in about.files.items():
        of_encoder = about.text_encoder is not None and OF_ENCODER.fullmatch(name)
        if not (of_encoder or (name in read and NAME.fullmatch(name))) or name in (CONFIG, CARD) or file.size < 0:
            raise ValueError(f"{name!r} is no file of a package")
        if name not in weights and file.size > LARGEST:
            raise ValueError(f"{name} has {file.size} bytes, which is no package's")
