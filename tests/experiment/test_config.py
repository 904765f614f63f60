"""Every config composes and builds, and each ablation changes exactly its switches."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.components import build
from mmsa_lightning.experiment.config import ADDED, check, config_dir, config_hash, plain, read, run_directory
from mmsa_lightning.experiment.overrides import explain
from mmsa_lightning.models.layers import adaptation
from mmsa_lightning.objectives.multitask import MultiTask
from mmsa_lightning.training import optim

CONF = config_dir()
ABLATIONS = {
    "full": set(),
    "bi_uni": {"weight"},
    "bi_weight": {"uni"},
    "uni_weight": {"bi"},
    "bi": {"uni", "weight"},
    "uni": {"bi", "weight"},
    "weight": {"bi", "uni"},
    "none": {"bi", "uni", "weight"},
}
SWITCHES = {
    "bi": ["model.bi"],
    "uni": ["model.uni"],
    "weight": ["objective.tanh_weight", "objective.ratio_weight"],
}


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, item in node.items() for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}


def compose_plain(*overrides: str) -> dict[str, Any]:
    return plain(compose("train", list(overrides)))


@pytest.mark.slow
@pytest.mark.parametrize("data", options("data"))
@pytest.mark.parametrize("model", options("model"))
def test_every_model_composes_and_builds_on_every_data_set(data: str, model: str, tiny_bert: str) -> None:
    config = compose_plain(f"data={data}", f"model={model}", f"text_encoder={tiny_bert}", "data.path=made.h5")
    dims, limit = {"text": None if config["text"] == "bert" else 300, "audio": 5, "vision": 20}, {"limit": 3.0}
    built = build("model", config["model"], where_null=limit, dims=dims)
    assert sum(p.numel() for p in built.parameters()) > 0
    build("objective", config["objective"], where_null=limit)
    check(config)
    optim.check(config["optim"])
    build("data", config["data"], text=config["text"], modalities=None, seed=1)


@pytest.mark.parametrize("group", ["trainer", "logger", "experiment"])
def test_every_other_group_composes(group: str) -> None:
    assert options(group)
    for option in options(group):
        compose_plain(f"{group}={option}")


def test_a_tuned_file_belongs_to_a_model_and_a_data_set() -> None:
    pairs = {f"{model}_{data}" for model in options("model") for data in options("data")}
    # Or to both and a name: what was searched for one encoder.
    assert all(name in pairs or name.rpartition("_")[0] in pairs for name in options("tuned"))


def test_every_other_system_has_tuned_settings_for_both_data_sets() -> None:
    others = set(options("model")) - {"interactive_attention"}
    assert {f"{model}_{data}" for model in others for data in ("mosi", "mosei")} <= set(options("tuned"))


def test_tuned_values_follow_table_2_of_the_paper() -> None:
    mosi, mosei = (compose_plain(f"data={data}")["optim"]["lr"] for data in ("mosi", "mosei"))
    assert mosi == {"bert": 5e-5, "video": 0.6e-4, "audio": 0.6e-3, "other": 0.6e-3}
    assert mosei == {"bert": 5e-5, "video": 0.6e-4, "audio": 0.005, "other": 0.6e-3}
    for data in ("mosi", "mosei"):
        config = compose_plain(f"data={data}")
        assert (config["data"]["batch_size"], config["model"]["bert_dropout"]) == (32, 0.1)
        assert config["model"]["lstm_dropout"] == 0


def test_there_is_a_row_for_every_ablation() -> None:
    assert set(options("ablation")) == set(ABLATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["demo", "mosi", "mosei", "sims"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_changes_exactly_its_switches(ablation: str, data: str) -> None:
    full = flat(compose_plain(f"data={data}"))
    row = flat(compose_plain(f"data={data}", f"+ablation={ablation}"))
    changed = {key for key in full | row if full.get(key) != row.get(key)}
    assert changed == {switch for name in ABLATIONS[ablation] for switch in SWITCHES[name]}
    for switch in changed:
        assert (full[switch], row[switch]) == (True, False)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_config_opens_with_the_command_that_uses_it(path: Path) -> None:
    opening = [line for line in path.read_text().splitlines()[:4] if line.startswith(("# python train.py", "# mmsa "))]
    assert opening, f"{path} does not say how to use it"


def test_the_run_directory_is_a_readable_function_of_the_config() -> None:
    def directory(*overrides: str) -> str:
        cfg = compose("train", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        return run_directory(_root_=cfg)

    full = directory()
    assert full.startswith("demo/interactive_attention/full/seed1-")
    assert directory("+ablation=bi", "seed=2").startswith("demo/interactive_attention/bi/seed2-")
    for incidental in (
        "ckpt_path=last",
        "logger=wandb",
        "overwrite=true",
        "data.path=elsewhere/demo.h5",
        "runs=there",
        "encoder.gradient_checkpointing=true",
        "data.eval_batch_size=16",
    ):
        assert directory(incidental) == full
    for telling in (
        "patience=5",
        "data.path=stores/other.h5",
        "model.width=64",
        "optim.lr.bert=1e-5",
        "trainer.precision=bf16-mixed",
        "encoder.freeze=embeddings",
        "encoder.lora={rank: 8, alpha: 16, modules: [query]}",
        "optim.layer_decay=0.9",
        "objective.weighting=dwa",
    ):
        assert directory(telling) not in (full, directory("seed=2"))


def test_settings_by_a_name_that_is_not_there_are_refused() -> None:
    """Hydra passes over them, as over a model's default ones, which not every model has."""

    def directory(*overrides: str) -> str:
        cfg = compose("train", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        return run_directory(_root_=cfg)

    assert directory("data=own", "model=lmf")
    assert directory("data=mosi", "model=lmf", "tuned=lmf_mosei") != directory("data=mosi", "model=lmf")
    with pytest.raises(UserError, match=r"tuned=misa_mosi_minlm: there is no such file; conf/tuned has .*misa"):
        directory("data=mosi", "model=misa", "tuned=misa_mosi_minlm")


@pytest.mark.parametrize("model", sorted(path.stem for path in (config_dir() / "model").glob("*.yaml")))
def test_a_name_that_a_setting_of_each_modality_does_not_have_is_refused(model: str) -> None:
    config = plain(compose("train", ["data=mosi", f"model={model}"]))
    check(config)
    for setting in [name for name, value in config["model"].items() if isinstance(value, dict)]:
        wrong = copy.deepcopy(config)
        wrong["model"][setting]["video"] = 0.5
        with pytest.raises(UserError, match=rf"model\.{setting}\.video: there is no such name; it has .*"):
            check(wrong)


def test_a_setting_that_nothing_reads_is_refused() -> None:
    config = plain(compose("train", ["data=mosi"]))
    check(config)
    with pytest.raises(UserError, match="gradient_clip_val=1: there is no such setting"):
        check(config | {"gradient_clip_val": 1})
    with pytest.raises(ConfigCompositionException) as raised:
        compose("train", ["gradient_clip_val=1"])
    assert explain(raised.value) == "gradient_clip_val: there is no such setting; --cfg job lists those that there are"


def test_what_a_setting_of_hydras_cannot_be_is_said() -> None:
    with pytest.raises(ConfigCompositionException) as raised:
        compose("train", ["hydra.job.chdir=perhaps"])
    assert explain(raised.value) == "hydra.job.chdir=perhaps: Value 'perhaps' is not a valid bool (type str)"


def test_which_devices_a_run_is_on_is_not_part_of_what_it_is() -> None:
    def hashed(devices: str) -> str:
        return config_hash(compose_plain(f"trainer.devices={devices}"))

    assert hashed("1") == hashed("[0]") == hashed("[3]") == hashed("'2,'") == config_hash(compose_plain())
    assert hashed("2") == hashed("[0,1]") == hashed("'3,2'") != hashed("1")
    assert hashed("auto") == hashed("-1") not in (hashed("1"), hashed("2"))
    hashed("two")  # is refused later


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    config = compose_plain()
    assert config_hash(config) == config_hash(dict(reversed(config.items())))


def before(config: dict[str, Any]) -> dict[str, Any]:
    """A config as it was before anything was added."""
    old = copy.deepcopy(config)
    for place in ADDED:
        group, name = place.split(".")
        old[group].pop(name, None)  # not every objective takes what was added to another
    return {name: part for name, part in old.items() if part != {}}


def test_what_was_added_later_leaves_earlier_runs_where_they_are(tmp_path: Path) -> None:
    config = compose_plain("data=mosi", "model=misa")
    old = before(config)
    assert "encoder" not in old and "layer_decay" not in old["optim"]
    assert config_hash(old) == config_hash(config)
    assert config_hash(old, ["seed"]) == config_hash(config, ["seed"])
    OmegaConf.save(OmegaConf.create(old), tmp_path / "config.yaml")
    assert read(tmp_path / "config.yaml") == config
    with pytest.raises(UserError, match="encoder="):
        check(old)


def test_an_objective_is_left_as_an_earlier_run_has_it(tmp_path: Path) -> None:
    """What it takes now has the same default in the code, and another objective would not take it."""
    config = compose_plain("model=self_mm")
    old = before(config)
    assert config["objective"]["generator"] == "ulgm" and "generator" not in old["objective"]
    assert config_hash(old) == config_hash(config)
    OmegaConf.save(OmegaConf.create(old), tmp_path / "config.yaml")
    assert read(tmp_path / "config.yaml")["objective"] == old["objective"]
    defaults = inspect.signature(MultiTask).parameters
    for place, neutral in ADDED.items():
        group, name = place.split(".")
        assert group != "objective" or defaults[name].default == neutral


def test_what_was_added_counts_where_it_is_not_neutral(tmp_path: Path) -> None:
    config = compose_plain("encoder.freeze=2", "optim.layer_decay=0.5")
    assert len({config_hash(c) for c in (config, compose_plain(), compose_plain("encoder.freeze=2"))}) == 3
    OmegaConf.save(OmegaConf.create(config), tmp_path / "config.yaml")
    assert read(tmp_path / "config.yaml") == config


def test_what_was_added_is_neutral_by_default() -> None:
    found = flat(compose_plain())
    assert {place: found[place] for place in ADDED} == ADDED
    assert {f"encoder.{name}": value for name, value in adaptation.UNCHANGED.items()}.items() <= ADDED.items()
