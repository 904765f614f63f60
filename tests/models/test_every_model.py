"""What holds for every model that has a YAML: padding, batches of one, gradients, groups, text in either form, ..."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mmsa_lightning.experiment import checks
from mmsa_lightning.experiment.candidate import Candidate
from mmsa_lightning.experiment.config import config_dir
from mmsa_lightning.experiment.conformance import composed
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.training.optim import parameter_groups

MODELS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("name", MODELS)]
either_text = pytest.mark.parametrize("text", ["bert", "features"])


@pytest.fixture
def candidate(name: str, tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """The model with the small BERT; demo data are made once for all."""
    return Candidate(composed([f"model={name}", f"text_encoder={tiny_bert}"]), Path(tmp_path_factory.getbasetemp()))


@either_text
def test_padding_changes_nothing(candidate: Candidate, text: str) -> None:
    checks.padding_changes_nothing(candidate, text)


@either_text
def test_a_batch_of_one_is_predicted_as_in_company_and_trains(candidate: Candidate, text: str) -> None:
    checks.a_batch_of_one_is_predicted_as_in_company_and_trains(candidate, text)


@either_text
def test_every_parameter_gets_a_gradient(candidate: Candidate, text: str) -> None:
    checks.every_parameter_gets_a_gradient(candidate, text)
    model, _ = candidate.made(text)
    assert all(p.requires_grad for p in model.parameters())


@either_text
def test_every_parameter_is_in_exactly_one_group(candidate: Candidate, text: str) -> None:
    checks.every_parameter_is_in_exactly_one_group(candidate, text)
    model, _ = candidate.made(text)
    options = candidate.config["optim"]
    groups = parameter_groups(model, options["lr"], options["weight_decay"])
    assert ("bert" in {g["name"] for g in groups}) == (text == "bert")


def test_overfits_16_demo_utterances(candidate: Candidate) -> None:
    checks.overfits_16_demo_utterances(candidate, candidate.config["text"])


def test_a_checkpoint_round_trips(candidate: Candidate) -> None:
    checks.a_checkpoint_round_trips(candidate, "bert")


@either_text
def test_unaligned_input_is_read_or_refused(candidate: Candidate, text: str) -> None:
    checks.unaligned_input_is_read_or_refused(candidate, text)


@pytest.mark.parametrize(
    "modalities", [c for n in (1, 2, 3) for c in itertools.combinations(MODALITIES, n)], ids="-".join
)
def test_a_subset_of_modalities_is_read_or_refused_in_one_line(
    candidate: Candidate, modalities: tuple[str, ...]
) -> None:
    checks.a_subset_of_modalities_is_read_or_refused_in_one_line(candidate, "bert", modalities)


@either_text
def test_a_step_never_waits_for_the_device(candidate: Candidate, text: str) -> None:
    checks.a_step_never_waits_for_the_device(candidate, text)


@either_text
def test_bfloat16_is_close_to_float32(candidate: Candidate, text: str) -> None:
    checks.bfloat16_is_close_to_float32(candidate, text)
