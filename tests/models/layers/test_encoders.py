from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reference import lstm
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertModel, DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.candidate import longer
from mmsa_lightning.models.layers.encoders import BertEncoder, LSTMEncoder, text_reader


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_lstm_equals_its_equations_in_both_directions_without_padding(batch: Batch, layers: int) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4, layers=layers)
    assert encoder.width == 8
    whole = encoder(longer(batch.audio, 3))
    for i, n in enumerate(batch.audio.lengths.tolist()):
        steps = list(batch.audio.values[i, :n])
        for layer in range(layers):
            forward = lstm(encoder.lstm, steps, f"_l{layer}")
            backward = lstm(encoder.lstm, steps[::-1], f"_l{layer}_reverse")[::-1]
            steps = [torch.cat(both) for both in zip(forward, backward, strict=True)]
        torch.testing.assert_close(whole[i, :n], torch.stack(steps), rtol=0, atol=1e-5)
        assert (whole[i, n:] == 0).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_each_way_by_itself_is_both_at_once(batch: Batch, layers: int) -> None:
    """A CPU's way against torch's own over packed sequences, which a GPU goes."""
    assert batch.audio is not None
    encoder, found = LSTMEncoder(5, 4, layers=layers), []
    sequence = longer(batch.audio, 3)
    for way in (encoder._each_way, encoder._both_ways):
        encoder.zero_grad()
        values = sequence.values.clone().requires_grad_()
        steps, last = way(values, sequence)
        (steps.sin().sum() + last.exp().sum()).backward()
        found.append([steps, last, values.grad, *(p.grad for p in encoder.parameters())])
    for each, both in zip(*found, strict=True):
        torch.testing.assert_close(each, both, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_last_is_the_state_after_an_utterances_own_last_step(batch: Batch, layers: int, bidirectional: bool) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4, layers=layers, bidirectional=bidirectional)
    assert encoder.width == (8 if bidirectional else 4)
    steps, last = encoder(batch.audio), encoder.last(longer(batch.audio, 3))
    for i, n in enumerate(batch.audio.lengths.tolist()):
        expected = torch.cat([steps[i, n - 1, :4], steps[i, 0, 4:]])  # backward ends at the first step
        torch.testing.assert_close(last[i], expected, rtol=0, atol=1e-5)


def test_text_is_read_by_bert_or_passed_on(batch: Batch, tiny_bert: str) -> None:
    bert = text_reader(None, tiny_bert, 0.2)
    assert isinstance(bert, BertEncoder) and bert.bert.config.hidden_dropout_prob == 0.2
    features = text_reader(20, tiny_bert, 0.2)
    assert batch.vision is not None and (features.width, list(features.parameters())) == (20, [])
    assert torch.equal(features(batch.vision), batch.vision.values)


@torch.no_grad()
def test_lstm_drops_out_between_its_layers_in_training(batch: Batch) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4, layers=2, dropout=0.5)
    assert not torch.equal(encoder(batch.audio), encoder(batch.audio))
    encoder.eval()
    assert torch.equal(encoder(batch.audio), encoder(batch.audio))


def test_bert_does_not_look_at_padding(batch: Batch, tiny_bert: str) -> None:
    assert batch.tokens is not None
    encoder = BertEncoder(tiny_bert).eval()
    with torch.no_grad():
        plain, padded = encoder(batch.tokens), encoder(longer(batch.tokens, 7))
    assert plain.shape == (4, 6, encoder.width)
    for i, n in enumerate(batch.tokens.lengths.tolist()):
        torch.testing.assert_close(plain[i, :n], padded[i, :n], rtol=0, atol=1e-5)


def test_bert_comes_ready_to_train_with_the_dropout_asked_for(tiny_bert: str) -> None:
    encoder = BertEncoder(tiny_bert, dropout=0.25)
    assert all(module.training for module in encoder.modules())
    assert {m.p for m in encoder.modules() if isinstance(m, nn.Dropout)} == {0.25}
    assert not any("pooler" in name for name, _ in encoder.named_parameters())


def test_the_packaged_minilm_embeds_like_its_neighbours() -> None:
    """A pretrained encoder, not a random one: near words lie nearer than far ones."""
    transformers = pytest.importorskip("transformers")
    from mmsa_lightning.models.layers import minilm

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.directory())
    encoder = BertEncoder("minilm").eval()
    assert (encoder.width, encoder.vocabulary_size) == (384, 30522)
    ids = [tokenizer(text)["input_ids"] for text in ("a great movie", "a wonderful film", "the tax office is closed")]
    with torch.no_grad():
        vectors = [encoder(Padded.from_arrays([torch.tensor(i).numpy()]))[0].mean(0) for i in ids]
    near, far = (torch.cosine_similarity(vectors[0], other, dim=0) for other in vectors[1:])
    assert near > far + 0.3


def test_weights_that_cannot_be_had_are_one_clear_error(tmp_path: object) -> None:
    with pytest.raises(UserError, match=r"text_encoder=.* cannot be loaded.*minilm"):
        BertEncoder(str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_bert_is_float32_whatever_it_was_saved_in(tiny_bert: str, tmp_path: Path, dtype: torch.dtype) -> None:
    bert = BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).to(dtype)
    bert.save_pretrained(tmp_path)
    found = BertEncoder(str(tmp_path)).bert.state_dict()
    assert {value.dtype for value in found.values() if value.is_floating_point()} == {torch.float32}
    assert all(torch.equal(found[name], value.to(found[name].dtype)) for name, value in bert.state_dict().items())


SMALL: dict[str, Any] = {"vocab_size": 50, "max_position_embeddings": 16}


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (RobertaModel, RobertaConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, **SMALL)),
        (DistilBertModel, DistilBertConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=2, **SMALL)),
    ],
    ids=["roberta", "distilbert"],
)
def test_a_model_that_is_not_a_bert_is_refused_by_its_name(model: Any, config: Any, tmp_path: Path) -> None:
    model(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"text_encoder=.* is a {config.model_type} model, not a BERT"):
        BertEncoder(str(tmp_path))


def test_a_bert_that_lacks_weights_is_refused_with_the_first_of_them(tiny_bert: str, tmp_path: Path) -> None:
    weights = load_file(Path(tiny_bert) / "model.safetensors")
    lacking = [name for name in weights if "attention.output.dense" in name]
    assert lacking
    whole = {name: value for name, value in weights.items() if name not in lacking}
    save_file(whole, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((Path(tiny_bert) / "config.json").read_bytes())
    with pytest.raises(UserError, match=rf"lacks weights of a BERT, such as .*{min(lacking)}"):
        BertEncoder(str(tmp_path))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan")])
def test_a_dropout_outside_0_and_1_is_an_error(tiny_bert: str, dropout: float) -> None:
    with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
        BertEncoder(tiny_bert, dropout)
