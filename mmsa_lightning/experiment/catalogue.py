"""What ``mmsa models`` shows: every model of ``conf/model`` at its MOSI settings."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass

import torch
import transformers
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from transformers import BertConfig, BertModel

from mmsa_lightning.experiment.components import build
from mmsa_lightning.experiment.config import config_dir, plain

WIDTHS = {"text": 768, "audio": 5, "vision": 20}  # of MMSA's MOSI features


@dataclass
class Entry:
    """One model.

    Attributes:
        name: of its YAML.
        paper: first line of its file's docstring.
        text: ``bert`` or ``features``, its paper's own way.
        aligned: whether every modality must have the same steps.
        parameters: without BERT's own.
    """

    name: str
    paper: str
    text: str
    aligned: bool
    parameters: int


def entries() -> list[Entry]:
    """Build every model once, with MOSI's widths and bert-base-uncased's."""
    names = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(config_dir()), version_base="1.3"):
        # No model's own size depends on more of BERT than its width, so a small one of that width will do.
        small = BertConfig(num_hidden_layers=1, vocab_size=1, max_position_embeddings=1, intermediate_size=1)
        BertModel(small, add_pooling_layer=False).save_pretrained(folder)
        return [_entry(name, folder) for name in names]


def _entry(name: str, text_encoder: str) -> Entry:
    config = plain(compose("train", [f"model={name}", "data=mosi", f"text_encoder={text_encoder}"]))
    dims = {m: None if m == "text" and config["text"] == "bert" else width for m, width in WIDTHS.items()}
    model = build("model", config["model"], dims=dims, where_null={"limit": 3.0})
    own = sum(p.numel() for key, p in model.named_parameters() if "bert" not in key.split("."))
    paper = (sys.modules[type(model).__module__].__doc__ or "").splitlines()[0].rstrip(".")
    return Entry(name, paper, config["text"], getattr(model, "needs_alignment", False), own)


def bert_base_parameters() -> int:
    """Of bert-base-uncased without its pooler."""
    with torch.device("meta"):
        return sum(p.numel() for p in BertModel(BertConfig(), add_pooling_layer=False).parameters())


def print_models() -> None:
    """Print the table of all models."""
    caption = (
        "Parameters with MOSI's settings and widths, without those of BERT "
        f"({bert_base_parameters():,} in bert-base-uncased). "
        "With text=bert or text=features, any model reads the other form of text."
    )
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left")
    for heading in ("model", "text", "steps"):
        table.add_column(heading, no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("paper")
    for entry in entries():
        steps = "aligned" if entry.aligned else "any"
        table.add_row(entry.name, entry.text, steps, f"{entry.parameters:,}", entry.paper)
    Console().print(table)
