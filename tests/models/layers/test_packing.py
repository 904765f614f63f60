"""The fast ways through BERT against transformers' own, over padded batches with SDPA."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.encoders import BertEncoder, Pack
from mmsa_lightning.models.layers.packing import Packing, _attend, first_of


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three layers, in 64 bits precise enough to tell a wrong mask from rounding."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=1000, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


def both(name: str) -> tuple[BertEncoder, BertModel]:
    """Ours and transformers', in 64 bits, without dropout."""
    plain = BertModel.from_pretrained(name, add_pooling_layer=False, attn_implementation="sdpa")
    return BertEncoder(name, dropout=0.0).double(), plain.double().eval()


def plainly(plain: BertModel, tokens: Padded) -> Tensor:
    return plain(input_ids=tokens.values, attention_mask=tokens.mask.long()).last_hidden_state


def gradients(output: Tensor, module: torch.nn.Module) -> dict[str, Tensor]:
    (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum().backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_packed_bert_is_bert(batch: Batch, name: str) -> None:
    assert batch.tokens is not None
    ours, plain = both(name)
    mask = batch.tokens.mask[..., None]
    fast, slow = ours(batch.tokens), plainly(plain, batch.tokens)
    torch.testing.assert_close(fast * mask, slow * mask, rtol=0, atol=1e-12)
    expected = gradients(slow * mask, plain)
    for key, gradient in gradients(fast * mask, ours.bert).items():
        torch.testing.assert_close(gradient, expected[key], rtol=0, atol=1e-10)


def test_the_first_token_alone_is_that_of_all(batch: Batch, name: str) -> None:
    assert batch.tokens is not None
    ours, plain = both(name)
    fast, slow = ours.first(batch.tokens), plainly(plain, batch.tokens)[:, 0]
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)
    expected = gradients(slow, plain)
    for key, gradient in gradients(fast, ours.bert).items():
        torch.testing.assert_close(gradient, expected[key], rtol=0, atol=1e-10)


@pytest.mark.parametrize("j", range(4))
def test_what_is_added_after_a_layer_reaches_the_first_token(batch: Batch, name: str, j: int) -> None:
    """To every step of the embeddings (0) or of a layer, against a hook of torch's on a padded BERT."""
    assert batch.tokens is not None
    ours, plain = both(name)
    torch.manual_seed(0)
    added = torch.randn(*batch.tokens.mask.shape, 24, dtype=torch.double)
    seen = []

    def after(i: int, h: Tensor, pack: Pack) -> Tensor:
        seen.append((i, len(h.flatten(0, -2))))
        return h + pack(added) if i == j else h

    changed = plain.embeddings if j == 0 else plain.encoder.layer[j - 1]
    changed.register_forward_hook(lambda module, args, output: output + added)
    torch.testing.assert_close(ours.first(batch.tokens, after), plainly(plain, batch.tokens)[:, 0], rtol=0, atol=1e-12)
    assert seen == [(0, 15), (1, 15), (2, 15), (3, 4)]  # real steps of four utterances, then their first


def test_a_batch_that_is_not_packed_gives_the_same(batch: Batch, name: str) -> None:
    """As on a GPU."""
    assert batch.tokens is not None
    ours, plain = both(name)
    as_it_is = Packing(batch.tokens)
    as_it_is.rows = None
    inputs = {"position_ids": as_it_is.positions, "packing": as_it_is}
    h, mask = ours.bert(as_it_is.pack(batch.tokens.values), **inputs).last_hidden_state, batch.tokens.mask[..., None]
    torch.testing.assert_close(h * mask, plainly(plain, batch.tokens) * mask, rtol=0, atol=1e-12)
    last = ours.bert.encoder.layer[-1]
    whole = last(h, packing=as_it_is)
    torch.testing.assert_close(first_of(last, h, as_it_is), whole[:, 0], rtol=0, atol=1e-12)


def test_dropout_is_on_in_training_alone(batch: Batch, name: str) -> None:
    assert batch.tokens is not None
    encoder = BertEncoder(name, dropout=0.5)
    for read in (encoder.forward, encoder.first):
        encoder.train()
        assert not torch.equal(read(batch.tokens), read(batch.tokens))
        encoder.eval()
        assert torch.equal(read(batch.tokens), read(batch.tokens))


def test_attention_drops_out_for_the_first_token_too(batch: Batch, name: str) -> None:
    assert batch.tokens is not None
    encoder = BertEncoder(name, dropout=0.0)
    last = encoder.bert.encoder.layer[-1]
    last.attention.self.dropout.p = 0.5
    assert not torch.equal(encoder.first(batch.tokens), encoder.first(batch.tokens))


def test_attention_with_dropout_is_that_without_but_for_what_is_dropped() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 6, 5, dtype=torch.double).unbind()
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 5])[:, None]
    plain, nearly = (_attend(query, key, value, mask, p) for p in (0.0, 1e-9))
    torch.testing.assert_close(nearly, plain, rtol=0, atol=1e-8)


def test_packing_and_unpacking(batch: Batch) -> None:
    assert batch.audio is not None
    packing = Packing(batch.audio)
    packed = packing.pack(batch.audio.values)
    assert packed.shape == (1, 15, 5)
    assert packing.positions.tolist() == [[*range(6), *range(3), 0, *range(5)]]
    assert torch.equal(packed[0, 6:9], batch.audio.values[1, :3])
    assert torch.equal(packing.first(packed), batch.audio.values[:, 0])
    assert torch.equal(packing.unpack(packed), batch.audio.values)
