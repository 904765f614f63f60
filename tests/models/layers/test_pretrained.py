"""Encoders whose files are not what they should be, and which weights are which."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

from mmsa_lightning.errors import UserError
from mmsa_lightning.files import LFS_POINTER
from mmsa_lightning.models.layers.pretrained import encoder_hash
from mmsa_lightning.models.layers.text_encoder import TextEncoder

POINTER = LFS_POINTER + b"v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def folder(tiny_bert: str, tmp_path: Path) -> Path:
    """A copy of the tiny BERT, to spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "bert"))


def put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def as_bin(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        spoil(folder)

    return change


def in_parts(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        model = BertModel.from_pretrained(folder, add_pooling_layer=False)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="1MB")
        spoil(folder)

    return change


def config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def with_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"][3] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


INDEX, PART = "model.safetensors.index.json", "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (put("model.safetensors", POINTER), r"bert/model\.safetensors is a Git LFS pointer.*git lfs pull"),
        (put("model.safetensors", b""), r"bert/model\.safetensors is empty"),
        (cut("model.safetensors", 200_000), r"bert/model\.safetensors is cut off or damaged"),
        (cut("model.safetensors", 100), r"bert/model\.safetensors is cut off or damaged"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"neither model\.safetensors nor pytorch_model\.bin"),
        (as_bin(put("pytorch_model.bin", POINTER)), r"bert/pytorch_model\.bin is a Git LFS pointer"),
        (as_bin(cut("pytorch_model.bin", 200_000)), r"bert/pytorch_model\.bin is cut off or damaged"),
        (as_bin(put("pytorch_model.bin", b"no pickle")), r"bert/pytorch_model\.bin is cut off or damaged"),
        (as_bin(lambda folder: torch.save([1], folder / "pytorch_model.bin")), r"holds no dict of weights, but a list"),
        (in_parts(put(PART, POINTER)), rf"bert/{PART} is a Git LFS pointer"),
        (in_parts(lambda folder: (folder / PART).unlink()), rf"{INDEX} names {PART}, which is not in the same folder"),
        (in_parts(put(INDEX, POINTER)), rf"bert/{INDEX} is a Git LFS pointer"),
        (in_parts(put(INDEX, b"{}")), rf"bert/{INDEX} names no files"),
        (put("config.json", POINTER), r"bert/config\.json is a Git LFS pointer"),
        (put("config.json", b""), r"bert/config\.json is empty"),
        (put("config.json", b'{"model_type": "be'), r"bert/config\.json is not JSON"),
        (put("config.json", b"[" * 100_000), r"bert/config\.json is not JSON"),
        (put("config.json", b"[1]"), r"bert/config\.json holds no JSON object"),
        (config(hidden_size=64), r"do not have the sizes that its config\.json says"),
        (config(vocab_size=10**12), r"do not have the sizes that its config\.json says"),
        (config(num_hidden_layers=0), r"has no place for some of its weights, such as encoder\.layer\.0"),
        (config(num_hidden_layers=2), r"lacks weights of a bert model, such as encoder\.layer\.1"),
        (config(hidden_act="none"), r"cannot be loaded \(KeyError: 'none'\)"),
        (config(model_type="own", auto_map={"AutoConfig": "own.Own"}), r"cannot be loaded \(.*custom code"),
        (with_nan, r"infinite or not a number, such as in encoder\.layer\.0\.output\.dense\.bias"),
    ],
)
def test_what_is_wrong_with_an_encoder_is_said(folder: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=words) as error:
        TextEncoder(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [as_bin(lambda _: None), in_parts(lambda _: None)])
def test_weights_in_any_form_are_read(folder: Path, tiny_bert: str, change: Callable[[Path], None]) -> None:
    change(folder)
    expected = load_file(Path(tiny_bert) / "model.safetensors")
    found = TextEncoder(str(folder)).bert.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert encoder_hash(str(folder)) is not None


def test_an_encoder_is_known_by_its_weights_and_configuration(folder: Path, tiny_bert: str) -> None:
    known = encoder_hash(tiny_bert)
    assert known is not None and encoder_hash(str(folder)) == known
    (folder / "README.md").write_text("not read")
    assert encoder_hash(str(folder)) == known
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"][3] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    other = encoder_hash(str(folder))
    assert other not in (None, known)
    config(hidden_act="relu")(folder)
    assert encoder_hash(str(folder)) not in (None, known, other)


def test_parts_count(folder: Path) -> None:
    in_parts(lambda _: None)(folder)
    known = encoder_hash(str(folder))
    weights = load_file(folder / PART)
    save_file({name: value + 1 for name, value in weights.items()}, folder / PART, metadata={"format": "pt"})
    assert encoder_hash(str(folder)) not in (None, known)


def test_an_encoder_that_is_not_here_has_no_hash(folder: Path) -> None:
    assert encoder_hash("nobody/has-this") is None
    assert encoder_hash("no name: of/the/hub") is None
    (folder / "config.json").unlink()
    assert encoder_hash(str(folder)) is None


def test_a_name_on_the_hub_is_its_downloaded_snapshot(
    folder: Path, tiny_bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the hub client's own layout: the commit that a branch names, and a folder for each commit."""
    cache = tmp_path / "hub" / "models--some--bert"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache.parent))
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    assert encoder_hash("some/bert") is None
    shutil.copytree(folder, cache / "snapshots" / ("a" * 40))
    assert encoder_hash("some/bert") == encoder_hash(tiny_bert)


def test_an_adapter_beside_the_weights_is_refused(tiny_bert: str, tmp_path: Path) -> None:
    """Transformers would load it where peft is installed, and leave it out where it is not."""
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_bert, folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    with pytest.raises(UserError, match=r"adapter_config.json: weights of peft lie beside the encoder's own; merge"):
        TextEncoder(str(folder))
