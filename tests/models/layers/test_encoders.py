from __future__ import annotations

import pytest
import torch
from torch import nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.encoders import BertEncoder, LSTMEncoder


def longer(sequence: Padded, steps: int) -> Padded:
    """The same sequences with more padding, filled with something other than zeros."""
    n, time = sequence.values.shape[:2]
    values = torch.full((n, time + steps, *sequence.values.shape[2:]), 9, dtype=sequence.values.dtype)
    values[:, :time] = sequence.values
    mask = torch.arange(time + steps) < sequence.lengths[:, None]
    return Padded(values, mask, sequence.lengths)


def test_lstm_equals_one_run_per_sequence_without_padding(batch: Batch) -> None:
    assert batch.audio is not None
    encoder = LSTMEncoder(5, 4)
    assert encoder.width == 8
    whole = encoder(longer(batch.audio, 3))
    for i, n in enumerate(batch.audio.lengths.tolist()):
        alone, _ = encoder.lstm(batch.audio.values[i : i + 1, :n])
        torch.testing.assert_close(whole[i, :n], alone[0], rtol=0, atol=1e-6)
        assert (whole[i, n:] == 0).all()


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
    from mmsa_lightning import minilm

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
