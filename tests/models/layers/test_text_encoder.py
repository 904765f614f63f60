"""Every way through a text encoder against transformers' own model, over one utterance at a time without padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, BertModel

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.candidate import longer
from mmsa_lightning.models.layers import groups, text_encoder
from mmsa_lightning.models.layers.families import FAMILIES
from mmsa_lightning.models.layers.packing import Packing
from mmsa_lightning.models.layers.text_encoder import Pack, TextEncoder

ALL = tiny.CONFIGS | tiny.OTHERS
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder for each of :data:`ALL`."""
    return {name: tiny.save(config, tmp_path_factory.mktemp("encoder")) for name, config in ALL.items()}


@pytest.fixture
def tokens(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Padded:
    """Of 6, 3, 1 and 5 word pieces: attention pads 1 to 3 and 5 to 6."""
    assert batch.tokens is not None
    monkeypatch.setattr(groups, "START", 15)
    assert [some.tolist() for some in groups.like_lengths(batch.tokens.lengths)] == [[2, 1], [3, 0]]
    return batch.tokens


def own(folder: str) -> Any:
    """Transformers' model, without dropout, in 64 bits."""
    return AutoModel.from_pretrained(folder, dtype=torch.float64).eval()


def alone(model: Any, tokens: Padded) -> list[Tensor]:
    """Its last layer for one utterance at a time, (length, width) each."""
    ids = [row[:n] for row, n in zip(tokens.values, tokens.lengths.tolist(), strict=True)]
    return [model(row.unsqueeze(0)).last_hidden_state[0] for row in ids]


def weighed(outputs: list[Tensor]) -> Tensor:
    """A sum in which every value has another weight."""
    flat = torch.cat([output.flatten() for output in outputs])
    return (flat * torch.linspace(-1, 1, len(flat), dtype=flat.dtype)).sum()


def gradients(outputs: list[Tensor], module: nn.Module) -> dict[str, Tensor]:
    module.zero_grad()
    weighed(outputs).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_every_family_is_tried() -> None:
    assert set(tiny.CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("first", [False, True], ids=["all", "first"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ALL)
def test_it_is_transformers_own_model_in_values_and_gradients(
    tokens: Padded, saved: dict[str, str], name: str, dtype: torch.dtype, first: bool
) -> None:
    ours, plain, atol = TextEncoder(saved[name], dropout=0.0).to(dtype), own(saved[name]).to(dtype), CLOSE[dtype]
    if first:
        found, expected = [*ours.first(tokens)], [output[0] for output in alone(plain, tokens)]
    else:
        rows = zip(ours(tokens), tokens.lengths.tolist(), strict=True)
        found, expected = [row[:n] for row, n in rows], alone(plain, tokens)
    torch.testing.assert_close(torch.cat(found), torch.cat(expected), rtol=0, atol=atol)
    mine, theirs = gradients(found, ours.bert), gradients(expected, plain)
    assert len(mine) > 10
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for key in mine | theirs:
        nothing = torch.zeros_like(plain.get_parameter(key))  # the last query of other tokens than the first, say
        got, wanted = (grads.get(key, nothing) for grads in (mine, theirs))
        torch.testing.assert_close(got, wanted, rtol=0, atol=atol * max(1.0, largest))


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_padding_changes_nothing(tokens: Padded, saved: dict[str, str], name: str) -> None:
    encoder = TextEncoder(saved[name], dropout=0.0)
    padded = longer(tokens, 7)
    mask = tokens.mask[..., None]
    torch.testing.assert_close(encoder(padded)[:, :6] * mask, encoder(tokens) * mask, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.first(padded), encoder.first(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_a_batch_that_is_not_packed_gives_the_same(
    tokens: Padded, saved: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU."""
    encoder, mask = TextEncoder(saved[name], dropout=0.0).double(), tokens.mask[..., None]
    packed = (encoder(tokens) * mask, encoder.first(tokens))
    monkeypatch.setattr(text_encoder, "Packing", lambda sequence, padded: Packing(sequence, padded=True))
    for found, expected in zip((encoder(tokens) * mask, encoder.first(tokens)), packed, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_padding_up_to_a_whole_tile_changes_neither_values_nor_gradients(
    tokens: Padded, saved: dict[str, str], name: str
) -> None:
    """In 64 bits, which autocast leaves as they are."""
    encoder = TextEncoder(saved[name], dropout=0.0).double()

    def run() -> tuple[list[Tensor], dict[str, Tensor]]:
        found = [encoder(tokens)[tokens.mask], encoder.first(tokens)]
        return found, gradients(found, encoder.bert)

    expected = run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(run(), expected, rtol=1e-10, atol=1e-10)


def adding(added: Tensor, turn: int) -> Any:
    """A hook that adds to a module's output, at the turn-th call."""
    turns = iter(range(1, 100))

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if next(turns) != turn:
            return output
        return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

    return hook


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_what_is_added_after_a_layer_reaches_the_first_token(tokens: Padded, saved: dict[str, str], name: str) -> None:
    """To every step of the embeddings (0) or of a layer, against hooks of torch's on transformers' own model."""
    ours, plain = TextEncoder(saved[name], dropout=0.0).double(), own(saved[name])
    count = len(ours.layers)
    torch.manual_seed(0)
    added = torch.randn(*tokens.mask.shape, 24, dtype=torch.double)
    real = tokens.mask.sum().item() if FAMILIES[name].packs else tokens.mask.numel()
    before = plain.get_submodule([n for n in FAMILIES[name].before if "rel" not in n and "Layer" not in n][-1])
    layers = FAMILIES[name].layers(plain)
    for j in range(count):
        seen = []

        def after(i: int, h: Tensor, pack: Pack, j: int = j, seen: list = seen) -> Tensor:
            seen.append((i, len(h.flatten(0, -2))))
            return h + pack(added) if i == j else h

        found = ours.first(tokens, after)
        assert seen == [*((i, real) for i in range(count)), (count, 4)]
        for i, n in enumerate(tokens.lengths.tolist()):
            changed = layers[j - 1] if j else before
            turn = sum(layer is changed for layer in layers[:j]) or 1  # ALBERT's layers are called more than once
            handle = changed.register_forward_hook(adding(added[i, :n], turn))
            expected = plain(tokens.values[i : i + 1, :n]).last_hidden_state[0, 0]
            handle.remove()
            torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["bert", "mpnet", "albert", "modernbert", "deberta-v2"])
def test_layers_that_are_computed_twice_give_the_same(tokens: Padded, saved: dict[str, str], name: str) -> None:
    encoder = TextEncoder(saved[name], dropout=0.3)
    for read in (lambda: encoder(tokens)[tokens.mask], lambda: encoder.first(tokens)):
        found = []
        for encoder.checkpointing in (False, True):
            torch.manual_seed(3)
            output = read()
            found.append([output, *gradients([output], encoder).values()])
        assert len(found[0]) > 10
        for once, twice in zip(*found, strict=True):
            torch.testing.assert_close(twice, once, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_it_comes_ready_to_train_with_the_dropout_asked_for(tokens: Padded, saved: dict[str, str], name: str) -> None:
    encoder = TextEncoder(saved[name], dropout=0.25)
    assert all(module.training for module in encoder.modules())
    assert {m.p for m in encoder.modules() if isinstance(m, nn.Dropout)} == {0.25}
    for read in (encoder.forward, encoder.first):
        encoder.train()
        assert not torch.equal(read(tokens), read(tokens))
        encoder.eval()
        assert torch.equal(read(tokens), read(tokens))


def test_attention_drops_out_for_the_first_token_too(tokens: Padded, saved: dict[str, str]) -> None:
    encoder = TextEncoder(saved["bert"], dropout=0.0)
    last: Any = encoder.layers[-1]
    last.attention.self.dropout.p = 0.5
    assert not torch.equal(encoder.first(tokens), encoder.first(tokens))


@pytest.mark.parametrize(
    ("name", "positions"), [("bert", 40), ("roberta", 38), ("mpnet", 38), ("distilbert", 40), ("modernbert", 40)]
)
def test_its_sizes(saved: dict[str, str], name: str, positions: int) -> None:
    """RoBERTa and its kin begin to count behind padding's position."""
    encoder = TextEncoder(saved[name])
    assert (encoder.width, encoder.vocabulary_size, encoder.positions) == (24, tiny.VOCABULARY, positions)
    whole = Padded.from_arrays([torch.arange(5, 5 + positions).numpy()])
    assert encoder(whole).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_embeddings_and_layers_are_all_there_is(saved: dict[str, str], name: str) -> None:
    """But for ModernBERT's last normalisation, and what runs as a whole."""
    encoder = TextEncoder(saved[name])
    if name in tiny.OTHERS:
        assert encoder.layers == [] and encoder.embeddings == [encoder.bert.get_input_embeddings()]
        return
    parts = [p for module in (*encoder.embeddings, *encoder.layers) for p in module.parameters()]
    rest = [key for key, p in encoder.bert.named_parameters() if all(p is not part for part in parts)]
    assert rest == (["final_norm.weight"] if name == "modernbert" else [])


# What is loaded.


@pytest.mark.parametrize("name", tiny.REFUSED)
def test_what_is_no_bidirectional_encoder_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    folder = tiny.save(tiny.REFUSED[name], tmp_path)
    with pytest.raises(UserError, match=f"text_encoder=.* is a {name} model, not a bidirectional encoder such as bert"):
        TextEncoder(folder)


def test_a_model_that_reads_padding_is_refused(tmp_path: Path) -> None:
    import transformers as hf

    sizes = {key: value for key, value in tiny.SIZES.items() if key != "num_attention_heads"}
    folder = tiny.save(hf.FNetConfig(**sizes), tmp_path)
    with pytest.raises(UserError, match=r"the output of a fnet model depends on padding"):
        TextEncoder(folder)


def test_a_folder_of_sentence_transformers(saved: dict[str, str], tokens: Padded, tmp_path: Path) -> None:
    """Older ones have their encoder in a folder of its own."""
    (tmp_path / "0_Transformer").symlink_to(saved["mpnet"])
    modules = [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    found, expected = TextEncoder(str(tmp_path)).eval(), TextEncoder(saved["mpnet"]).eval()
    assert torch.equal(found.first(tokens), expected.first(tokens))
    (tmp_path / "modules.json").write_text("{}")
    with pytest.raises(UserError, match=r"modules.json names no encoder"):
        TextEncoder(str(tmp_path))


def test_weights_that_cannot_be_had_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text_encoder=.* cannot be loaded.*minilm"):
        TextEncoder(str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_is_float32_whatever_it_was_saved_in(tiny_bert: str, tmp_path: Path, dtype: torch.dtype) -> None:
    bert = BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).to(dtype)
    bert.save_pretrained(tmp_path)
    found = TextEncoder(str(tmp_path)).bert.state_dict()
    assert {value.dtype for value in found.values() if value.is_floating_point()} == {torch.float32}
    assert all(torch.equal(found[name], value.to(found[name].dtype)) for name, value in bert.state_dict().items())


@pytest.mark.parametrize("name", ["bert", "distilbert", "albert", "modernbert"])
def test_layers_that_config_json_has_no_place_for_are_refused(saved: dict[str, str], name: str, tmp_path: Path) -> None:
    config = json.loads((Path(saved[name]) / "config.json").read_text())
    count = "n_layers" if name == "distilbert" else "num_hidden_layers"
    fewer = config | {count: 1, **({"layer_types": config["layer_types"][:1]} if "layer_types" in config else {})}
    if name == "albert":
        fewer = config | {"num_hidden_groups": 1}
    (tmp_path / "config.json").write_text(json.dumps(fewer))
    (tmp_path / "model.safetensors").symlink_to(Path(saved[name]) / "model.safetensors")
    with pytest.raises(UserError, match=r"its config.json has no place for some of its weights, such as .*layer"):
        TextEncoder(str(tmp_path))


@pytest.mark.parametrize("name", ["bert", "mpnet"])
def test_a_model_that_lacks_weights_is_refused_with_the_first_of_them(
    saved: dict[str, str], name: str, tmp_path: Path
) -> None:
    weights = load_file(Path(saved[name]) / "model.safetensors")
    lacking = [key for key in weights if "layer.1.intermediate" in key]
    assert lacking
    whole = {key: value for key, value in weights.items() if key not in lacking}
    save_file(whole, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((Path(saved[name]) / "config.json").read_bytes())
    with pytest.raises(UserError, match=rf"lacks weights of a {name} model, such as .*{min(lacking)}"):
        TextEncoder(str(tmp_path))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan")])
def test_a_dropout_outside_0_and_1_is_an_error(tiny_bert: str, dropout: float) -> None:
    with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
        TextEncoder(tiny_bert, dropout)


def test_the_packaged_minilm_embeds_like_its_neighbours() -> None:
    """A pretrained encoder, not a random one: near words lie nearer than far ones."""
    transformers = pytest.importorskip("transformers")
    from mmsa_lightning.models.layers import minilm

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.directory())
    encoder = TextEncoder("minilm").eval()
    assert (encoder.width, encoder.vocabulary_size) == (384, 30522)
    ids = [tokenizer(text)["input_ids"] for text in ("a great movie", "a wonderful film", "the tax office is closed")]
    with torch.no_grad():
        vectors = [encoder(Padded.from_arrays([torch.tensor(i).numpy()]))[0].mean(0) for i in ids]
    near, far = (torch.cosine_similarity(vectors[0], other, dim=0) for other in vectors[1:])
    assert near > far + 0.3
