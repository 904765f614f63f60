"""The model card of a package: README.md, with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

import json

import numpy as np

from mmsa_lightning.inference.about import About
from mmsa_lightning.training.protocols import PROTOCOLS

STEPS = {
    "utterance": "one vector an utterance",
    "text": "one step a word",
    "own": "any number of steps an utterance",
}


def steps(about: About, m: str) -> str:
    """On which steps a model reads features of a modality, in words."""
    kind = about.modalities[m].steps
    if kind == "text" and (m == "text" or "text" not in about.modalities):
        return "one step a word piece of the text, [CLS] and [SEP] included"
    return STEPS[kind]


def card(about: About) -> str:
    """The text of the card."""
    figures = _figures(about)
    title = f"{about.name} on {about.dataset}"
    parts = [
        _metadata(about, title, figures),
        f"# {title}",
        "Multimodal sentiment analysis: the sentiment of an utterance "
        f"in [{about.label_range[0]:g}, {about.label_range[1]:g}], negative to positive. Trained with "
        "[mmsa-lightning](https://pypi.org/project/mmsa-lightning/).",
        "## Use",
        _usage(about),
        "## What it reads",
        _inputs(about),
        "## How it was chosen, and what it scores",
        _chosen(about),
        _table(about, figures),
        "## Limits",
        _limits(about),
    ]
    return "\n\n".join(parts) + "\n"


def _figures(about: About) -> dict[str, np.ndarray]:
    """Of test, by metric, float64 (members,); NaN where one is undefined."""
    names = PROTOCOLS[about.protocol].metrics
    return {name: np.array([member.test.get(name) for member in about.members], dtype=np.float64) for name in names}


def _metadata(about: About, title: str, figures: dict[str, np.ndarray]) -> str:
    metrics = "".join(
        f"\n      - type: {name}\n        value: {value.mean():.4f}"
        for name, value in figures.items()
        if np.isfinite(value).all()
    )
    return (
        f"---\nlibrary_name: mmsa-lightning\ntags:\n- sentiment-analysis\n- multimodal\n"
        f"- {json.dumps(about.name)}\nmodel-index:\n- name: {json.dumps(title)}\n  results:\n"
        "  - task:\n      type: sentiment-analysis\n    dataset:\n"
        f"      type: {json.dumps(about.dataset)}\n      name: {json.dumps(about.dataset)}\n      split: test\n"
        f"    metrics:{metrics}\n---"
    )


def _usage(about: About) -> str:
    arguments = [
        'texts=["I loved every minute of it."]' if about.dims[m] is None else f"{m}=[…]  # see below"
        for m in about.modalities
    ]
    given = (
        f"\n    {', '.join(arguments)},\n"
        if len(arguments) == 1
        else "".join(f"\n    {a.replace('  #', ',  #') if '#' in a else a + ','}" for a in arguments) + "\n"
    )
    return (
        "```python\nimport mmsa_lightning\n\n"
        'model = mmsa_lightning.load("path/to/this/folder")\n'
        f"print(model.predict({given}).sentiment)\n```\n\n"
        "```bash\nmmsa predict path/to/this/folder utterances.csv --out predictions.csv\n```"
    )


def _inputs(about: About) -> str:
    lines = []
    for m, modality in about.modalities.items():
        if modality.width is None:
            assert about.vocabulary is not None
            lines.append(
                f"- **{m}**: as written, read by {about.text_encoder} (word pieces of {about.vocabulary.name}, "
                f"{about.vocabulary.longest} at most), which is in this package."
            )
            continue
        named = f": {', '.join(modality.names)}" if modality.names else ""
        scaled = ", standardised by the moments in `config.json`" if about.standardized and modality.mean else ""
        lines.append(f"- **{m}**: {modality.width} features{named}; {steps(about, m)}{scaled}.")
    lines.append(
        f"\nTrained on {about.dataset}; SHA-256 of the store's content {about.data_hash}. Features "
        "have to be made in the way that those of these data were."
    )
    return "\n".join(lines)


def _chosen(about: About) -> str:
    members = about.members
    one = members[0]
    if len(members) == 1:
        first = f"One model, seed {one.seed}: the epoch with the lowest MAE on validation, epoch {one.best_epoch}."
    else:
        seeds = ", ".join(str(member.seed) for member in members)
        first = (
            f"An ensemble of {len(members)} models that differ in their seed ({seeds}): predictions are averaged. Each "
            "is of the epoch with the lowest MAE on validation."
        )
    return f"{first} Test was read once, after training."


def _table(about: About, figures: dict[str, np.ndarray]) -> str:
    several = len(about.members) > 1
    head = "| metric on test | " + ("mean of the members | standard deviation |" if several else "value |")
    rule = "|---|---:|" + ("---:|" if several else "")
    rows = []
    for name, values in figures.items():
        if np.isfinite(values).all():
            spread = f" {values.std(ddof=1):.4f} |" if several else ""
            rows.append(f"| {name} | {values.mean():.4f} |{spread}")
    note = "\n\nThe ensemble itself was not measured: these are its members' figures." if several else ""
    return "\n".join([head, rule, *rows]) + note


def _limits(about: About) -> str:
    missing = (
        "It was not trained to miss a modality, and refuses utterances that lack one."
        if about.missing is None
        else f"It was trained with modalities missing ({about.missing}), and answers for utterances that lack one."
    )
    return (
        f"{missing} It was measured on {about.dataset} alone: people, topics and recordings that differ from these "
        "data give other figures. Sentiment that is acted, ironic or mixed is not labelled as such in these data. It "
        "is not fit for decisions about people."
    )
