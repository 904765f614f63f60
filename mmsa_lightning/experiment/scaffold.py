"""``mmsa new model NAME``: a model of one's own to go on from, as one file and one YAML."""

from __future__ import annotations

import keyword
import shlex
from pathlib import Path
from string import Template

from mmsa_lightning import files
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.config import config_dir

VALUES = ("true", "false", "null", "nan", "inf")  # what Hydra does not take for names

MODEL = Template('''\
# $folder/$name.py: means of encoded steps, and a head over all of them
import torch
from torch import nn

from mmsa_lightning.models.layers.encoders import LSTMEncoder, text_reader
from mmsa_lightning.models.output import ModelOutput


class $cls(nn.Module):
    def __init__(self, dims, *, text_encoder: str, bert_dropout: float, width: int):
        """dims: feature width of each modality that is read, None for text as tokens; the rest is from the YAML."""
        super().__init__()
        self.encoders = nn.ModuleDict()
        for modality, dim in dims.items():
            if modality == "text":  # a text encoder over tokens, or the features as they are
                self.encoders[modality] = text_reader(dim, text_encoder, bert_dropout)
            else:
                self.encoders[modality] = LSTMEncoder(dim, width)
        encoded = sum(encoder.width for encoder in self.encoders.values())
        self.head = nn.Sequential(nn.Linear(encoded, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, batch):
        """batch: a mmsa_lightning.batch.Batch, whose sequences are padded on the right and have masks."""
        means = []
        for modality, encoder in self.encoders.items():
            sequence = batch.sequence(modality)
            mask = sequence.mask.unsqueeze(-1)  # (batch, time, 1), False on padding, which must change nothing
            steps = encoder(sequence).masked_fill(~mask, 0.0)  # (batch, time, encoder.width)
            means.append(steps.sum(dim=1) / mask.sum(dim=1))
        return ModelOutput(self.head(torch.cat(means, dim=-1)).squeeze(-1))  # one prediction an utterance: (batch,)
''')

CONFIG = Template("""\
# @package _global_
# $folder/model/$name.yaml: mmsa train --config-dir $folder model=$name
model:
  _target_: $name.$cls
  text_encoder: $${text_encoder}
  bert_dropout: 0.1
  width: 32
""")


def write_model(name: str, folder: Path) -> list[str]:
    """Write ``<name>.py`` and ``model/<name>.yaml``, which train as they are.

    Args:
        name: in snake case; the class is called after it in camel case.
        folder: the user's own; made if it is not there.

    Returns:
        lines that say what was written, and the commands to go on with.

    Raises:
        UserError: the name cannot be one, or is taken. Nothing is written then.
    """
    cls = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    if not (name.isascii() and name.isidentifier() and cls.isidentifier()) or any(map(keyword.iskeyword, (name, cls))):
        raise UserError(f"{name!r} cannot name a model: give a Python identifier in snake case, such as late_fusion")
    if name.lower() in VALUES:
        raise UserError(f"{name!r} cannot name a model: Hydra reads model={name} as a value")
    if (config_dir() / "model" / f"{name}.yaml").exists():
        raise UserError(f"{name} is a model of mmsa-lightning's: choose another name")
    texts = {folder / f"{name}.py": MODEL, folder / "model" / f"{name}.yaml": CONFIG}
    if taken := [path for path in texts if path.exists()]:
        raise UserError(f"{taken[0]} is there already: choose another name, or another --dir")
    (folder / "model").mkdir(parents=True, exist_ok=True)
    where = shlex.quote(str(folder))
    for path, text in texts.items():
        files.write_text(path, text.substitute(name=name, cls=cls, folder=where))
    return [
        f"written: {', '.join(map(str, texts))}",
        f"next: mmsa check model={name} --config-dir {where}",
        f"      mmsa train --config-dir {where} model={name}",
    ]
