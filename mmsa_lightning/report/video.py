"""``mmsa watch``: what a model makes of a video, as one page of HTML."""

from __future__ import annotations

import base64
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmsa_lightning import files
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.predictor import Attention, Predictor
from mmsa_lightning.inference.serve.words import in_words, polarity
from mmsa_lightning.inference.videos import extracted, sources
from mmsa_lightning.media import clips, decode
from mmsa_lightning.media.clips import Clip
from mmsa_lightning.media.tools import Extracted
from mmsa_lightning.report import html
from mmsa_lightning.report.figures.style import INK, PALE

MOST = 20  # utterances on a page
FRAMES = 4  # pictures of an utterance
WIDTH = 240  # pixels of a picture
LINES = 4  # features of a modality that are drawn: those that lie farthest from training's mean
CROWDED = 12  # words; more of them stand upright
TEXT: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "parse_math": False}
ENVELOPE = 100  # points a second of the sound's loudness


@dataclass(frozen=True)
class Shown:
    """An utterance on the page.

    Attributes:
        id, sentiment, verdict, note: what is said of it.
        without: by modality what is predicted when it is left out; none of a model of one modality.
        words: each with its share of the attention over the text, from 0 for the least to 1 for the most.
        figure: as a ``data:`` address.
        pictures: caption and ``data:`` address.
    """

    id: str
    sentiment: float
    verdict: str
    note: str
    without: dict[str, float]
    words: list[tuple[str, float]]
    figure: str
    pictures: list[tuple[str, str]]


def write_video(predictor: Predictor, source: Path, out: Path, **of_list: str | None) -> tuple[int, bool]:
    """Write the page, of the first :data:`MOST` utterances.

    Args:
        predictor: with a model of features that ``mmsa data extract`` made.
        source, of_list: see :func:`mmsa_lightning.media.clips.read`.
        out: the HTML file.

    Returns:
        how many utterances are on it, and whether there are more of them.

    Raises:
        UserError: as :func:`mmsa_lightning.media.clips.read` and :func:`mmsa_lightning.inference.videos.extracted`;
            ``out`` is one of the videos, or their list.
    """
    about = predictor.about
    shown = []
    listed = clips.read(source, **of_list)
    files.check_apart([out], [source, *sources(listed[:MOST], about)])
    for clip, found, utterance in extracted(listed[:MOST], about):
        shown.append(_shown(predictor, clip, found, utterance))
    more = len(listed) > MOST
    low, high = about.label_range
    first = f"The first {MOST} utterances. " if more else ""
    html.write(
        out,
        "video.html",
        title=f"{source.name}: {about.name}",
        subtitle=f"{first}Sentiment from {low:g} to {high:g} by {about.name}, trained on {about.dataset}. The darker a "
        "word, the more attention it gets among those of its utterance. Lines are the features that lie farthest from "
        "their mean in training, in standard deviations; below them is the attention on sound or face in each word.",
        trained_to_miss=about.missing is not None,
        utterances=shown,
    )
    return len(shown), more


def _shown(predictor: Predictor, clip: Clip, found: Extracted, utterance: Utterance) -> Shown:
    inputs = predictor.reader.read([utterance])
    predictions = predictor.run(inputs, attention=predictor.attends)
    attention = predictions.attention[0] if predictions.attention else None
    pieces = inputs.pieces[0].word if inputs.pieces else None
    shares = {m: over_words(attention, m, pieces, len(found.said)) for m in ("text", "audio", "vision")}
    sentiment = float(predictions.sentiment[0])
    several = predictor.about.modalities if len(predictor.about.modalities) > 1 else ()
    verdict = in_words(predictor.about, sentiment) or polarity(predictor.about, sentiment) or ""
    of_text = shares["text"]
    scaled = np.zeros(len(found.said)) if of_text is None else of_text / max(float(of_text.max()), 1e-9)
    return Shown(
        clip.id,
        sentiment,
        verdict,
        "; ".join(found.notes),
        {m: float(predictor.run(inputs, without=m).sentiment[0]) for m in several},
        [(word.text, float(share)) for word, share in zip(found.said, scaled, strict=True)],
        html.image(timeline(predictor, clip, found, shares)),
        _pictures(clip, found, scaled),
    )


def over_words(attention: Attention | None, m: str, pieces: np.ndarray | None, count: int) -> np.ndarray | None:
    """The share of each word in the mean attention on a modality whose steps are those of the text.

    Args:
        attention: of the utterance.
        m: of which modality's steps.
        pieces: int (steps,), the word of each word piece, -1 of a mark.
        count: words.

    Returns:
        float (count,); None where the model has no such weights, or the modality has steps of its own.
    """
    if attention is None or pieces is None:
        return None
    found = [w.mean(axis=0) for name, w in attention.weights.items() if name.rpartition("<-")[2] == m]
    found = [weights for weights in found if len(weights) == len(pieces)]
    if not found:
        return None
    mean = np.mean(found, axis=0)
    return np.bincount(pieces[pieces >= 0], mean[pieces >= 0], minlength=count)[:count]


def timeline(predictor: Predictor, clip: Clip, found: Extracted, shares: dict[str, np.ndarray | None]) -> Figure:
    """Words, sound and face over time, with the attention on each word."""
    rows = ["text", *found.values]
    heights = [0.8, *([1.5] * len(found.values))]
    figure = Figure(figsize=(11, 0.6 + sum(heights)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True, height_ratios=heights))
    length = float(found.row["seconds"])
    turned = 90 if len(found.words) > CROWDED else 0
    for i, word in enumerate(found.words):
        of_text = shares["text"]
        dark = 0.15 if of_text is None else 0.1 + 0.7 * float(of_text[i] / max(of_text.max(), 1e-9))
        axes[0].axvspan(word.start, max(word.end, word.start + 0.02), color=INK, alpha=dark, lw=0)
        ink = "white" if dark > 0.5 else "black"
        axes[0].text((word.start + word.end) / 2, 0.5, word.text, color=ink, rotation=turned, **TEXT)
    axes[0].set_yticks([])
    axes[0].set_ylabel("words")
    for axis, m in zip(axes[1:], found.values, strict=True):
        if m == "audio":
            _draw_sound(axis, clip)
        for line, (name, values) in zip(("-", "--", "-.", ":"), _farthest(predictor, found, m), strict=False):
            axis.plot(found.times[m].mean(axis=1), values, line, lw=1, label=name)
        axis.set_ylabel(m)
        weights = shares[m]
        if weights is not None and found.words:
            for word, share in zip(found.words, weights / max(float(weights.max()), 1e-9), strict=True):
                axis.axvspan(word.start, word.end, ymin=0, ymax=0.06, color=INK, alpha=float(share), lw=0)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[-1].set_xlim(0, length)
    axes[-1].set_xlabel("seconds")
    return figure


def _draw_sound(axis: Axes, clip: Clip) -> None:
    sound = decode.sound(clip.video, clip.start, clip.end)
    if sound is None or not len(sound):
        return
    step = decode.SPEECH_RATE // ENVELOPE
    padded = np.pad(np.abs(sound), (0, -len(sound) % step)).reshape(-1, step).max(axis=1)
    loud = padded / max(float(padded.max()), 1e-9)
    at = (np.arange(len(loud)) + 0.5) / ENVELOPE
    axis.fill_between(at, -3, -3 + 1.5 * loud, color=PALE, alpha=0.5, lw=0, label="loudness")


def _farthest(predictor: Predictor, found: Extracted, m: str) -> list[tuple[str, np.ndarray]]:
    """The features that lie farthest from training's mean, in its standard deviations; NaN where nothing was found."""
    modality = predictor.about.modalities.get(m)
    if modality is None or modality.scale is None:
        return []
    mean, std = modality.scale
    there = np.asarray(found.values[m].any(axis=1))
    if not there.any():
        return []
    z = np.where(there[:, None], (found.values[m] - mean) / std, np.nan)
    order = np.argsort(-np.abs(np.nanmean(z, axis=0)))[:LINES]
    return [(modality.names[i] if modality.names else f"{m} {i + 1}", np.clip(z[:, i], -3, 3)) for i in order]


def _pictures(clip: Clip, found: Extracted, scaled: np.ndarray) -> list[tuple[str, str]]:
    """A picture at each of the words that get most attention, in the order in which they are said."""
    if not decode.describe(clip.video).picture:
        return []
    chosen = sorted(np.argsort(-scaled, kind="stable")[:FRAMES].tolist())
    pictures = []
    for word in (found.said[i] for i in chosen):
        at = clip.start + (word.start + word.end) / 2
        end = min(at + 1.0, np.inf if clip.end is None else clip.end)
        for seconds, picture in itertools.islice(decode.frames(clip.video, at, end, 1.0), 1):
            pictures.append((f"{word.text}, {at + seconds - clip.start:.2f} s", _address(picture)))
    return pictures


def _address(picture: np.ndarray) -> str:
    """uint8 (height, width, 3) as a small JPEG in a ``data:`` address."""
    step = max(1, picture.shape[1] // WIDTH)
    memory = io.BytesIO()
    matplotlib.image.imsave(memory, np.ascontiguousarray(picture[::step, ::step]), format="jpg")
    return f"data:image/jpeg;base64,{base64.b64encode(memory.getvalue()).decode()}"
