"""Freezing, LoRA and gradient checkpointing, on a BERT of three layers, and what a family changes of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from transformers import AutoModel, BertConfig, BertModel

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.adaptation import DIGEST, UNCHANGED, adapt, check
from mmsa_lightning.models.layers.text_encoder import Pack, TextEncoder

LORA = {"rank": 2, "alpha": 6, "modules": ["query", "attention.output.dense"]}


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=1000, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


def adapted(name: str, dropout: float = 0.0, **options: Any) -> TextEncoder:
    encoder = TextEncoder(name, dropout)
    adapt(encoder, **UNCHANGED | options)
    return encoder


def trained(encoder: TextEncoder) -> set[str]:
    return {name for name, p in encoder.named_parameters() if p.requires_grad}


@pytest.fixture
def tokens(batch: Batch) -> Padded:
    assert batch.tokens is not None
    return batch.tokens


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("none", r"nothing"),
        ("embeddings", r"bert\.embeddings\."),
        (1, r"bert\.(embeddings|encoder\.layer\.0)\."),
        (3, r"bert\.(embeddings|encoder\.layer\.[012])\."),
        ("all", r"bert\."),
    ],
)
def test_what_is_frozen_gets_no_gradient_and_all_else_does(
    name: str, tokens: Padded, freeze: str | int, frozen: str
) -> None:
    encoder = adapted(name, freeze=freeze)
    everything = {key for key, _ in TextEncoder(name).named_parameters()}
    assert trained(encoder) == {key for key in everything if not re.match(frozen, key)}
    if trained(encoder):
        (encoder(tokens) ** 3).sum().backward()
    for key, p in encoder.named_parameters():
        assert (p.grad is not None) == (key in trained(encoder)), key


def test_dropout_stays_on_in_what_is_frozen(name: str, tokens: Padded) -> None:
    encoder = adapted(name, dropout=0.5, freeze="all")
    assert not torch.equal(encoder(tokens), encoder(tokens))


def test_lora_is_a_product_added_to_the_weights_that_it_names(name: str, tokens: Padded) -> None:
    """W + alpha / rank · B · A in transformers' own BERT; at first, with B = 0, W itself."""
    encoder = adapted(name, lora=LORA).double()
    plain = BertModel.from_pretrained(name, add_pooling_layer=False, attn_implementation="sdpa").double().eval()
    mask = tokens.mask[..., None]

    def expected() -> Tensor:
        return plain(input_ids=tokens.values, attention_mask=tokens.mask.long()).last_hidden_state * mask

    torch.testing.assert_close(encoder(tokens) * mask, expected(), rtol=0, atol=1e-12)
    torch.manual_seed(0)
    parts = dict(encoder.bert.named_parameters())
    with torch.no_grad():
        for key, b in parts.items():
            if "lora_B" in key:
                b.normal_()
                a = parts[key.replace("lora_B", "lora_A")]
                plain.get_parameter(key.replace("lora_B.default.", "")).add_(6 / 2 * b @ a)
    assert sum("lora_B" in key for key in parts) == 6
    torch.testing.assert_close(encoder(tokens) * mask, expected(), rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder.first(tokens), expected()[:, 0], rtol=0, atol=1e-12)


def test_with_lora_the_adapters_alone_train(name: str, tokens: Padded) -> None:
    encoder = adapted(name, lora=LORA)
    assert all(module.training for module in encoder.modules())
    assert {key for key in trained(encoder) if "lora_" not in key} == set()
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 3 * 2 * 2 * (24 + 24)
    encoder.first(tokens).sum().backward()
    assert {key for key, p in encoder.named_parameters() if p.grad is not None} == trained(encoder)


def test_random_numbers_are_drawn_for_lora_alone(name: str) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for options in ({}, {"freeze": 1}, {"freeze": "all"}, {"gradient_checkpointing": True}):
        adapted(name, **options)
        assert torch.equal(torch.get_rng_state(), before)


def moved(j: int, h: Tensor, pack: Pack) -> Tensor:
    return h * (1 + j)


def read(encoder: TextEncoder, tokens: Padded, way: str) -> Tensor:
    ways = {"all": encoder, "first": encoder.first, "moved": lambda tokens: encoder.first(tokens, moved)}
    return ways[way](tokens)


@pytest.mark.parametrize("options", [{}, {"freeze": 1}, {"lora": LORA}], ids=["whole", "frozen", "lora"])
@pytest.mark.parametrize("way", ["all", "first", "moved"])
def test_checkpointing_changes_no_bit_of_outputs_and_gradients(
    name: str, tokens: Padded, way: str, options: dict[str, Any]
) -> None:
    """With dropout, and with random numbers that are drawn between the two passes through a layer."""
    found, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = adapted(name, dropout=0.5, gradient_checkpointing=checkpointing, **options)
        widths: set[int] = set()

        def note(x: Tensor, widths: set[int] = widths) -> Tensor:
            widths.update(x.shape)
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            output = read(encoder, tokens, way)
        torch.rand(5)
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        found.append([output, torch.rand(5), *(p.grad for p in encoder.parameters() if p.requires_grad)])
        kept.append(40 in widths)  # anything of the inside of a feed-forward network
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert any(gradient.any() for gradient in found[0][2:])
    assert kept == [True, False]


@pytest.mark.parametrize("options", [{"freeze": 2}, {"freeze": "all"}, {"lora": LORA}], ids=["two", "all", "lora"])
def test_a_state_holds_what_trains_and_is_filled_in(name: str, tokens: Padded, options: dict[str, Any]) -> None:
    encoder = adapted(name, **options)
    with torch.no_grad():
        for p in encoder.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p))
    state = encoder.state_dict()
    assert state.keys() == trained(encoder) | {DIGEST}
    other = adapted(name, **options)
    other.load_state_dict(state)
    assert torch.equal(other(tokens), encoder(tokens))
    assert state.keys() == trained(encoder) | {DIGEST}, "loading must leave the state as it is"


def test_a_state_with_everything_is_loaded(name: str, tmp_path: Any) -> None:
    """As a run had written it that left nothing out."""
    state = {key: value + 1 for key, value in TextEncoder(name).state_dict().items()}
    encoder = adapted(name, freeze=2)
    encoder.load_state_dict(state)
    assert all(torch.equal(p, state[key]) for key, p in encoder.named_parameters())


def test_a_state_without_a_parameter_that_trains_is_an_error(name: str) -> None:
    encoder = adapted(name, freeze=2)
    state = encoder.state_dict()
    del state["bert.encoder.layer.2.output.dense.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*layer.2.output.dense.weight"):
        encoder.load_state_dict(state)
    state = adapted(name, freeze=3).state_dict()  # nor one of a run with more that was frozen
    with pytest.raises(UserError):
        encoder.load_state_dict(state)


def test_a_state_does_not_belong_to_an_encoder_with_other_frozen_weights(name: str) -> None:
    state = adapted(name, freeze=1).state_dict()
    other = TextEncoder(name)
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[7, 3] += 1e-6
    adapt(other, **UNCHANGED | {"freeze": 1})
    with pytest.raises(UserError, match="has other weights there: put back"):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 1}, "give freeze, lora and gradient_checkpointing"),
        ({"freeze": "some"}, "encoder.freeze=some: give none, embeddings, all or a number of layers from 1"),
        ({"freeze": 0}, "encoder.freeze=0: give none"),
        ({"freeze": True}, "encoder.freeze=True: give none"),
        ({"freeze": None}, "encoder.freeze=None: give none"),
        ({"lora": True}, "encoder.lora=True: give null, or rank and alpha from 1"),
        ({"lora": {"rank": 8}}, "encoder.lora="),
        ({"lora": LORA | {"rank": 0}}, "encoder.lora="),
        ({"lora": LORA | {"alpha": -1}}, "encoder.lora="),
        ({"lora": LORA | {"modules": []}}, "encoder.lora="),
        ({"lora": LORA | {"modules": "query"}}, "encoder.lora="),
        ({"lora": LORA | {"dropout": 0.1}}, "encoder.lora="),
        ({"lora": LORA, "freeze": 1}, "encoder.freeze=1 together with encoder.lora"),
        ({"gradient_checkpointing": 1}, "encoder.gradient_checkpointing=1: give true or false"),
    ],
)
def test_wrong_options_are_named(change: dict[str, Any], message: str) -> None:
    check(UNCHANGED)
    check(UNCHANGED | {"lora": LORA})
    with pytest.raises(ValueError, match=re.escape(message)):
        check(UNCHANGED | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"freeze": 4}, "encoder.freeze=4: this encoder has 3 layers"),
        ({"freeze": "some"}, "encoder.freeze=some"),
        ({"lora": LORA | {"modules": ["query", "q_lin"]}}, "have no q_lin; they have query, key, value, dense"),
        ({"lora": LORA | {"modules": ["word_embeddings"]}}, "have no word_embeddings"),
        ({"lora": LORA | {"modules": ["ery"]}}, "have no ery"),
    ],
)
def test_what_an_encoder_has_not_is_named(name: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        adapted(name, **change)


def test_layers_that_share_their_weights_are_not_frozen_in_part(name: str) -> None:
    """As ALBERT's do: the second layer would be frozen with the first."""
    for freeze in (2, 3):
        encoder = TextEncoder(name)
        encoder.bert.encoder.layer[2] = encoder.bert.encoder.layer[1]
        if freeze == 2:
            with pytest.raises(ValueError, match=r"encoder.freeze=2: the layers of this encoder share their weights"):
                adapt(encoder, **UNCHANGED | {"freeze": freeze})
        else:
            adapt(encoder, **UNCHANGED | {"freeze": freeze})
            assert trained(encoder) == set()
            assert encoder.state_dict().keys() == {DIGEST}


def test_peft_that_is_missing_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"encoder.lora needs peft .*pip install 'mmsa-lightning\[lora\]'$"):
        adapted(name, lora=LORA)


# Other families.

QUERY = {"mpnet": "q", "distilbert": "q_lin", "modernbert": "Wqkv", "deberta": "in_proj", "deberta-v2": "query_proj"}


@pytest.mark.parametrize("family", tiny.CONFIGS)
def test_lora_adds_a_product_to_the_weights_of_every_family(
    family: str, tokens: Padded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against transformers' own model with weights to which it was added by hand; its state comes back, too."""
    folder = tiny.save(tiny.CONFIGS[family], tmp_path_factory.mktemp("encoder"))
    lora = {"rank": 2, "alpha": 6, "modules": [QUERY.get(family, "query")]}
    encoder, plain = adapted(folder, lora=lora).double(), AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    assert trained(encoder) and all("lora_" in key for key in trained(encoder))
    torch.manual_seed(0)
    with torch.no_grad():
        for key, module in plain.named_modules():
            if f".{key}".endswith(f".{lora['modules'][0]}"):
                a, b = (getattr(encoder.bert.get_submodule(key), f"lora_{x}")["default"].weight for x in "AB")
                b.normal_()
                module.weight += 6 / 2 * b @ a
        expected = torch.cat(
            [plain(row[None, :n]).last_hidden_state[:, 0] for row, n in zip(*_rows(tokens), strict=True)]
        )
    torch.testing.assert_close(encoder.first(tokens), expected, rtol=0, atol=1e-10)
    again = adapted(folder, lora=lora).double()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.first(tokens), encoder.first(tokens))


@pytest.mark.parametrize("family", sorted(set(tiny.CONFIGS) - {"albert"}))
def test_the_first_layer_of_every_family_is_frozen(
    family: str, tokens: Padded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    encoder = adapted(tiny.save(tiny.CONFIGS[family], tmp_path_factory.mktemp("encoder")), freeze=1)
    encoder(tokens)[tokens.mask].square().sum().backward()
    first, *others = encoder.layers
    assert all(p.grad is None for part in (*encoder.embeddings, first) for p in part.parameters())
    assert all(p.grad is not None for layer in others for p in layer.parameters())


@pytest.mark.parametrize(
    "options", [{"freeze": 1}, {"freeze": "embeddings"}, {"lora": LORA}, {"gradient_checkpointing": True}], ids=str
)
def test_layers_that_are_not_walked_are_not_changed_one_by_one(options: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny.save(tiny.OTHERS["ernie"], tmp_path)
    with pytest.raises(
        ValueError, match=rf"encoder.{next(iter(options))}: the layers of a ernie model cannot be walked"
    ):
        adapted(folder, **options)
    assert trained(adapted(folder, freeze="all")) == set()


def _rows(tokens: Padded) -> tuple[Tensor, list[int]]:
    return tokens.values, tokens.lengths.tolist()
