"""What the JSON API takes and gives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _whole(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):  # JSON can write it, UTF-8 and tokenizers cannot
        raise ValueError("half of a surrogate pair is no character")
    return text


Text = Annotated[str, AfterValidator(_whole)]


class Given(BaseModel):
    """One utterance of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Text | None = Field(None, max_length=200, description="Named in the answer; default: its number, from 1.")
    text: Text | None = Field(None, description="As written, for a model that reads word pieces.")
    features: dict[Literal["text", "audio", "vision"], list[list[float]]] = Field(
        default_factory=dict, description="By modality, steps of features: see `modalities` of `GET /v1/model`."
    )


class Question(BaseModel):
    """A request to predict."""

    model_config = ConfigDict(extra="forbid", strict=True)

    utterances: Annotated[list[Given], Field(min_length=1)]
    attention: bool = Field(False, description="Also tell what the model attends to.")
    contributions: bool = Field(False, description="Also tell what each modality contributes.")


class Prediction(BaseModel):
    """Of one utterance."""

    id: str
    sentiment: float = Field(description="In the unit of the labels, not clipped to their range.")
    in_words: str | None = Field(description="The class of seven, of CH-SIMS of five; null on other scales.")
    polarity: Literal["positive", "negative"] | None = Field(description="Above 0, or not.")
    members: list[float] = Field(description="Each member's own prediction; of an ensemble `sentiment` is their mean.")
    attention: list[tuple[str, float]] | None = Field(
        None, description="Words as the model reads them, with their share of its attention."
    )
    heard: str | None = Field(default=None, description="Of a clip: its words.")
    contributions: dict[str, float | None] | None = Field(
        None, description="`sentiment` minus what it is without the modality; null for one that the utterance lacks."
    )


class Note(BaseModel):
    """What a user should know."""

    note: str = Field(description="Goes on after “3 utterances”.")
    utterances: int = Field(description="How many it concerns.")


class Answer(BaseModel):
    """Predictions, in the order of the utterances."""

    predictions: list[Prediction]
    notes: list[Note]


class Reads(BaseModel):
    """How the model reads a modality."""

    width: int | None = Field(description="Of its features; null for text as written.")
    steps: str = Field(description="On which steps it reads them.")
    names: list[str] | None = Field(description="Of the features, where they are known.")


class Model(BaseModel):
    """The model that is served."""

    name: str
    dataset: str = Field(description="That it was trained on.")
    protocol: str
    label_range: tuple[float, float]
    modalities: dict[str, Reads]
    text_encoder: str | None
    missing: str | None = Field(description="How modalities were missing in training; null: they were not.")
    attends: bool = Field(description="Whether it can tell what it attends to.")
    members: int
    test: dict[str, float] = Field(description="Figures on the test split, the mean over its members.")
    needs: str | None = Field(description="Why texts alone are not enough; null: they are.")
    clips: bool = Field(description="Whether POST /v1/clip takes a video.")
    utterances: int = Field(description="In a request, at most.")
    characters: int = Field(description="Of a text, at most.")
    version: str = Field(description="Of mmsa-lightning.")


class Health(BaseModel):
    """Whether the server takes requests."""

    status: Literal["ready", "draining"]


class Problem(BaseModel):
    """What was wrong, in one line."""

    error: str
