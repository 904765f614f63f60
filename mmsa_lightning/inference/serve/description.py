"""What a server says of its model."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from mmsa_lightning.inference.about import About
from mmsa_lightning.inference.card import steps
from mmsa_lightning.inference.predictor import Predictor
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.serve.schema import Model, Reads
from mmsa_lightning.inference.videos import reads_a_video_alone
from mmsa_lightning.media.install import installed


def describe(predictor: Predictor, limits: Limits) -> Model:
    """The answer to ``GET /v1/model``."""
    about = predictor.about
    figures = {name: [member.test.get(name) for member in about.members] for name in about.members[0].test}
    return Model(
        name=about.name,
        dataset=about.dataset,
        protocol=about.protocol,
        label_range=(about.label_range[0], about.label_range[1]),
        modalities={
            name: Reads(width=m.width, steps=steps(about, name) if m.width is not None else "as written", names=m.names)
            for name, m in about.modalities.items()
        },
        text_encoder=about.text_encoder,
        missing=about.missing,
        attends=predictor.attends,
        members=len(about.members),
        test={
            name: round(float(np.mean([v for v in values if v is not None])), 4)
            for name, values in figures.items()
            if None not in values
        },
        needs=needs(about),
        clips=reads_a_video_alone(about) and installed(),
        utterances=limits.utterances,
        characters=limits.characters,
        version=version("mmsa-lightning"),
    )


def needs(about: About) -> str | None:
    """Why texts alone are not enough for the model, in one sentence; None where they are."""
    features = {name: m for name, m in about.modalities.items() if m.width is not None}
    named = " and ".join(f"{name} ({m.width} features, {steps(about, name)})" for name, m in features.items())
    how = "POST /v1/predict takes them" + (", and POST /v1/clip a video" if reads_a_video_alone(about) else "")
    if len(features) == len(about.modalities):
        return f"This model reads no text as written, but features of {named}: {how}."
    if features and about.missing is None:
        return f"This model was not trained on texts alone: it also needs features of {named}, and {how}."
    return None
