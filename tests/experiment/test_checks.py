"""That a model which is wrong in one way fails the check of that name and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsa_lightning.cli import main
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import candidate
from mmsa_lightning.experiment.checks import IN_EITHER_FORM, IN_ITS_OWN_FORM
from mmsa_lightning.experiment.conformance import Outcome, check_model, composed

pytestmark = pytest.mark.slow

TOY = """
import torch
from torch import nn
from transformers import BertConfig, BertModel
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.encoders import text_reader
from mmsa_lightning.models.output import ModelOutput


class Toy(nn.Module):
    def __init__(self, dims, text_encoder):
        super().__init__()
        self.readers = nn.ModuleDict({m: text_reader(dim, text_encoder, 0.1) for m, dim in dims.items()})
        self.heads = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(r.width, 32), nn.ReLU(), nn.Linear(32, 1)) for m, r in self.readers.items()}
        )

    def forward(self, batch):
        scores = []
        for m, read in self.readers.items():
            mask = batch.sequence(m).mask.unsqueeze(-1)
            steps = read(batch.sequence(m)).masked_fill(~mask, 0.0)
            scores.append(self.heads[m](steps.sum(dim=1) / mask.sum(dim=1)))
        score = torch.cat(scores, dim=-1).sum(dim=-1)
        return ModelOutput(score)
"""
BUILT, RETURNED = "        super().__init__()\n", "        return ModelOutput(score)\n"
ANOTHER_BERT = """
        small = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=0, num_attention_heads=1)
        self.language = BertModel(small, add_pooling_layer=False)
"""
MEAN = """
        if self.training and len(batch) > 1:
            self.mean = score.detach().mean() / 100
        score = score if self.training else score + self.mean
"""


def then(line: str, more: str) -> tuple[str, str]:
    return line, f"{line}        {more.strip()}\n"


def first(more: str) -> tuple[str, str]:
    return RETURNED, f"        {more.strip()}\n{RETURNED}"


# A model that …: what is replaced above by what, which check then fails, and what it says.
SUBSETS = "any subset of modalities is read or refused in one line"
WRONG: dict[str, tuple[list[tuple[str, str]], str, str]] = {
    "reads padding": (
        [(".masked_fill(~mask, 0.0)", "")],
        "padding changes nothing",
        "text=bert: prediction of utterance 2 moves by",
    ),
    "knows its company": (
        [("ModelOutput(score)", "ModelOutput(score / len(batch))")],
        "a batch of one is predicted as in company and trains",
        "text=bert: prediction of utterance 0 moves by",
    ),
    "does not use a layer": (
        [then(BUILT, "self.unused = nn.Linear(2, 2)")],
        "every parameter gets a gradient",
        "text=bert: no gradient for unused.weight, unused.bias",
    ),
    "trains a BERT as if it were new": (
        [then(BUILT, ANOTHER_BERT), first("score = score + self.language(batch.index[:, None] % 9)[0][:, 0, 0]")],
        "every parameter is in exactly one group",
        "text=bert: language is pretrained, but has the learning rate of new parts: name it bert",
    ),
    "keeps something outside of its state": (
        [then(BUILT, "self.mean = torch.zeros(())"), first(MEAN)],
        "a checkpoint round trips",
        "moves by",
    ),
    "reads what it says it cannot": (
        [then(BUILT, "self.needs_alignment = True")],
        "unaligned input is read or refused",
        "text=bert: needs_alignment is True, but unaligned input is read",
    ),
    "wants audio": ([then(BUILT, 'dims["audio"]')], SUBSETS, "text=bert: modalities=[text]: KeyError: 'audio'"),
    "refuses without saying what": (
        [then(BUILT, 'if len(dims) == 1: raise UserError("no")')],
        SUBSETS,
        "text=bert: modalities=[text]: refused, but not in one line that names a modality: no",
    ),
    "predicts twice": (
        [("ModelOutput(score)", "ModelOutput(score if len(scores) != 2 else torch.stack([score, score], dim=1))")],
        SUBSETS,
        "modalities=[text,audio]: prediction of 4 utterances is of shape (4, 2), not (4,)",
    ),
    "asks for a number": (
        [first("score = score * (1 if score.sum().item() < 1e9 else 0)")],
        "a step never waits for the device",
        "text=bert: RuntimeError: Tensor.item() cannot be called on meta tensors",
    ),
    "is coarse in bfloat16": (
        [("mask.sum(dim=1)))", "mask.sum(dim=1)) + 60 - 60)")],
        "bfloat16 is close to float32",
        "more than 0.1",
    ),
    "learns nothing": (
        [("ModelOutput(score)", "ModelOutput(score.tanh() / 100)")],
        "overfits 16 demo utterances",
        "after 250 steps their MAE is",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "toy.yaml").write_text(
        "# @package _global_\nmodel:\n  _target_: toy.Toy\n  text_encoder: ${text_encoder}\n"
    )
    return tmp_path / "mine"


def write(folder: Path, *changes: tuple[str, str]) -> None:
    text = TOY
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "toy.py").write_text(text)


def failures(folder: Path, *overrides: str) -> dict[str, str]:
    outcomes = list(check_model(["model=toy", *overrides], folder))
    assert len(outcomes) == 2 + len(IN_EITHER_FORM) + len(IN_ITS_OWN_FORM)
    return {outcome.name: outcome.reason for outcome in outcomes if outcome.failed}


def test_a_sound_model_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder)
    main(["check", "model=toy", "--config-dir", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "ok   is built with text=bert",
        "ok   is built with text=features",
        "ok   padding changes nothing",
    ]
    assert len(lines) == 12 and all(line.startswith("ok   ") for line in lines)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_model_that(wrong: str, folder: Path) -> None:
    changes, name, said = WRONG[wrong]
    write(folder, *changes)
    failed = failures(folder)
    also = {"bfloat16 is close to float32"} if wrong == "reads padding" else set()  # which pads otherwise
    assert next(iter(failed)) == name and set(failed) <= {name, *also}
    assert said in failed[name] and "\n" not in failed[name]


def test_what_is_random_is_told_from_what_reads_padding(folder: Path) -> None:
    write(folder, first("score = score + torch.rand_like(score) * self.training"))
    assert "randomness must come from nn.Dropout" in failures(folder)["padding changes nothing"]


def test_a_form_of_text_may_be_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, then(BUILT, 'if dims.get("text"): raise UserError("Toy reads text=bert alone")'))
    main(["check", "model=toy", "--config-dir", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "skip is built with text=features: Toy reads text=bert alone"
    assert all(line.startswith("ok   ") for line in lines if line != lines[1])


def test_without_text_there_is_one_form(folder: Path) -> None:
    write(folder, then(BUILT, 'assert "text" not in dims'))
    names = [outcome.name for outcome in check_model(["model=toy", "modalities=[audio,vision]"], folder)]
    assert names[:2] == ["is built", "padding changes nothing"]


@pytest.mark.parametrize("shown", [False, True])
def test_a_model_that_crashes(shown: bool, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, ("        scores = []\n", "        scores = []\n        raise ZeroDivisionError('so\\nto say')\n"))
    with pytest.raises(SystemExit) as end:
        main(["check", "model=toy", "--config-dir", str(folder), *(["--traceback"] if shown else [])])
    assert end.value.code == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "FAIL padding changes nothing: text=bert: ZeroDivisionError: so to say" in lines
    assert "ok   every parameter is in exactly one group" in lines
    assert ("toy.py" in printed.err) == ("Traceback" in printed.err) == shown


def test_a_model_that_cannot_be_imported_is_asked_nothing_more(folder: Path) -> None:
    (folder / "toy.py").write_text("import nowhere_to_be_found\n")
    reason = "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    forms = [Outcome(f"is built with text={form}", reason) for form in ("bert", "features")]
    assert list(check_model(["model=toy"], folder)) == forms


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=none_such"], "error: In 'train': Could not find 'model/none_such'"),
        (["model=toy", "+model.width=3"], "error: model: Toy takes no width; it takes text_encoder"),
        (["model=toy", "model._target_=toy.None"], "error: model._target_=toy.None is not a Module in"),
        (["model=toy", "text=sound"], "error: text=sound: choose one of ['bert', 'features']"),
        (["model=toy", "optim.algorithm=none"], "error: optim.algorithm=none: choose one of adam, adamw"),
        (["model=toy", "nonsense"], "error: nonsense is not an override: write name=value"),
        (["--config-dir", "nowhere"], "error: Additional config directory 'nowhere' not found"),
        (["--nope"], "error: No such option: --nope"),
    ],
)
def test_a_users_mistake_is_one_line(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder)
    with pytest.raises(SystemExit) as end:
        main(["check", "--config-dir", str(folder), *words])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(said) and printed.err.count("\n") == 1


def test_a_folder_may_have_any_name(folder: Path) -> None:
    odd = folder.rename(folder.with_name("my 'own' \"ünï\" $x, #1 100%"))
    assert composed(["model=toy", "text_encoder=x"], odd)["model"] == {"_target_": "toy.Toy", "text_encoder": "x"}


def test_minilm_is_not_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder)
    monkeypatch.setattr(candidate.minilm, "PACKAGE", "not_installed")
    candidate.minilm.directory.cache_clear()
    with pytest.raises(UserError):
        candidate.minilm.directory()
    assert failures(folder) == {}
