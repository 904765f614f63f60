"""Every model with text encoders of other families than BERT's."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from transformers import MPNetConfig, RobertaConfig

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import checks
from mmsa_lightning.experiment.candidate import Candidate
from mmsa_lightning.experiment.config import config_dir
from mmsa_lightning.experiment.conformance import composed

pytestmark = pytest.mark.slow

MODELS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
READERS = ("interactive_attention", "mag_bert")  # of all steps, and of the first alone, walking the layers
FINE_TUNED = ("interactive_attention", "self_mm", "misa", "mag_bert")  # by their papers; the others take long over it
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
LEARNERS = {  # a demo utterance's tokens are MiniLM's, and these read any
    "mpnet": MPNetConfig(vocab_size=30527, **SIZES),
    "roberta": RobertaConfig(vocab_size=30522, **SIZES),
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder for each family."""
    configs = tiny.CONFIGS | tiny.OTHERS
    return {family: tiny.save(config, tmp_path_factory.mktemp("encoder")) for family, config in configs.items()}


@pytest.mark.parametrize("name", MODELS)
def test_trains_a_step_with_every_family(name: str, encoders: dict[str, str], tmp_path: Path) -> None:
    for family, folder in encoders.items():
        candidate = Candidate(composed([f"model={name}", f"text_encoder={folder}"]), tmp_path)
        if name == "mag_bert" and family in tiny.OTHERS:
            with pytest.raises(UserError, match=r"cannot be walked: choose one of bert, roberta"):
                candidate.made("bert")
            continue
        checks.padding_changes_nothing(candidate, "bert")
        checks.bfloat16_is_close_to_float32(candidate, "bert")
        model, objective = candidate.made("bert")
        batch = candidate.suitable(model, "bert")
        objective(model.train()(batch), batch, 1).total.backward()
        gradients = [p.grad for key, p in model.named_parameters() if "bert" in key.split(".") and p.grad is not None]
        assert gradients and all(g.isfinite().all() for g in gradients), family
        assert any((g != 0).any() for g in gradients), family


@pytest.mark.parametrize("name", READERS)
def test_a_step_never_waits_for_the_device(name: str, encoders: dict[str, str], tmp_path: Path) -> None:
    for family in tiny.CONFIGS:
        candidate = Candidate(composed([f"model={name}", f"text_encoder={encoders[family]}"]), tmp_path)
        checks.a_step_never_waits_for_the_device(candidate, "bert")


@pytest.mark.parametrize("family", LEARNERS)
@pytest.mark.parametrize("name", FINE_TUNED)
def test_overfits_16_demo_utterances(name: str, family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    encoder = tiny.save(LEARNERS[family], tmp_path_factory.mktemp("encoder"), noise=0.0)
    composition = composed([f"model={name}", f"text_encoder={encoder}"])
    checks.overfits_16_demo_utterances(Candidate(composition, Path(tmp_path_factory.getbasetemp())), "bert")
