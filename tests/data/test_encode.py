from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from mmsa_lightning import cli
from mmsa_lightning.data import encode
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Split, Store, write
from mmsa_lightning.models.layers.text_encoder import TextEncoder

META = Meta("made", "table", "x.csv", "0" * 64, None, True, "words", ["kept"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Aligned utterances of 1 to 40 tokens, with word vectors as text; in train more than are read together."""
    path, rng = tmp_path / "made.h5", np.random.default_rng(0)
    splits = {}
    for name, n in zip(SPLITS, (encode.TOGETHER + 9, 3, 1), strict=True):
        lengths = rng.integers(1, 40, n)
        tokens = [rng.integers(1, 999, k, dtype=np.int32) for k in lengths]
        text, audio = ([rng.normal(size=(k, w)).astype(np.float32) for k in lengths] for w in (7, 5))
        sequences = {"tokens": Loaded(tokens), "text": Loaded(text), "audio": Loaded(audio)}
        splits[name] = Split([str(i) for i in range(n)], rng.uniform(-3, 3, n), sequences)
    write(path, splits, META)
    return path


def test_text_is_what_a_frozen_bert_reads_and_all_else_is_kept(path: Path, tmp_path: Path, tiny_bert: str) -> None:
    """Against transformers' own model, an utterance at a time."""
    cli.main(["data", "encode", str(path), "--text-encoder", tiny_bert])
    before, after = Store(path), Store(tmp_path / f"made_{Path(tiny_bert).name}.h5")
    assert after.dims == {"tokens": None, "text": 32, "audio": 5}
    assert after.meta.aligned and after.meta.report[0] == "kept" and tiny_bert in after.meta.report[1]
    assert after.meta.content_sha256 != before.meta.content_sha256
    bert = BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).eval()
    for name in SPLITS:
        old, new = before.splits[name], after.splits[name]
        assert new.ids == old.ids
        np.testing.assert_array_equal(new.label, old.label)
        assert len(new) == len(old)
        for i in range(len(old)):
            tokens = old.sequences["tokens"][i]
            np.testing.assert_array_equal(new.sequences["tokens"][i], tokens)
            np.testing.assert_array_equal(new.sequences["audio"][i], old.sequences["audio"][i])
            with torch.no_grad():
                expected = bert(torch.tensor(tokens).long()[None]).last_hidden_state[0].numpy()
            np.testing.assert_allclose(new.sequences["text"][i], expected, atol=1e-5)


def test_a_store_that_is_replaced_is_said(
    path: Path, tmp_path: Path, tiny_bert: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made_x.h5"
    write(out, Store(path).splits, replace(META, content_sha256=""))
    warned = []
    for _ in range(2):
        cli.main(["data", "encode", str(path), "--text-encoder", tiny_bert, "--out", str(out)])
        warned.append(f"warning: {out} held other content until now" in capsys.readouterr().err)
    assert warned == [True, False]  # then the same again


def test_names_and_steps_of_the_earlier_text_do_not_stay(path: Path, tmp_path: Path, tiny_bert: str) -> None:
    before = Store(path)
    splits = {  # text with steps of its own
        name: replace(s, sequences={**s.sequences, "text": Loaded([np.ones((3, 7), np.float32)] * len(s))})
        for name, s in before.splits.items()
    }
    names = {"text": list("abcdefg"), "audio": list("vwxyz")}
    write(tmp_path / "named.h5", splits, replace(before.meta, aligned=False, feature_names=names))
    made = encode.encode_store(tmp_path / "named.h5", tiny_bert, tmp_path / "encoded.h5")
    assert made.feature_names == {"audio": names["audio"]} and made.aligned


def test_an_utterance_can_be_read_alone(path: Path, tmp_path: Path, tiny_bert: str) -> None:
    encode.encode_store(path, tiny_bert, tmp_path / "encoded.h5")
    data = StoreDataModule(
        str(path),
        batch_size=1,
        eval_batch_size=1,
        text="bert",
        modalities=["text"],
        standardize=False,
        seed=0,
        num_workers=0,
    )
    data.setup()
    alone = encode.Encoded(data.split("valid"), TextEncoder(tiny_bert))
    stored = Store(tmp_path / "encoded.h5").splits["valid"].sequences["text"]
    for i in range(3):
        np.testing.assert_allclose(alone[i], stored[i], atol=1e-5)


def test_a_store_can_take_its_own_place(path: Path, tiny_bert: str) -> None:
    cli.main(["data", "encode", str(path), "--text-encoder", tiny_bert, "--out", str(path)])
    assert Store(path).dims["text"] == 32


def test_a_bert_of_another_vocabulary_is_refused(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "small")
    capsys.readouterr()
    before = path.read_bytes()
    with pytest.raises(SystemExit) as end:
        cli.main(["data", "encode", str(path), "--text-encoder", str(tmp_path / "small"), "--out", str(path)])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "knows 100 word pieces" in said and f"mmsa data tokenize {path} --text-encoder {tmp_path / 'small'} " in said
    assert path.read_bytes() == before


def test_a_bert_saved_in_half_precision_reads_in_float32(path: Path, tmp_path: Path, tiny_bert: str) -> None:
    half = BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).half()
    half.save_pretrained(tmp_path / "half")
    encode.encode_store(path, str(tmp_path / "half"), tmp_path / "encoded.h5")
    whole = half.float().eval()
    tokens = torch.tensor(Store(path).splits["valid"].sequences["tokens"][0]).long()
    with torch.no_grad():
        expected = whole(tokens[None]).last_hidden_state[0].numpy()
    found = Store(tmp_path / "encoded.h5").splits["valid"].sequences["text"][0]
    np.testing.assert_allclose(found, expected, atol=1e-5)  # computed in half precision, they differ by 1e-3


def test_tokens_of_another_vocabulary_are_refused(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    store = Store(path)
    write(tmp_path / "other.h5", store.splits, replace(store.meta, vocabulary="bert-base-chinese"))
    with pytest.raises(SystemExit) as end:
        cli.main(["data", "encode", str(tmp_path / "other.h5"), "--text-encoder", "minilm"])
    assert end.value.code == 2
    assert "text_encoder=minilm has another vocabulary" in capsys.readouterr().err
    assert not (tmp_path / "other_minilm.h5").exists()


def test_a_store_without_tokens_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    part = Split(["a"], np.zeros(1), {"text": Loaded([np.zeros((2, 3), np.float32)])})
    write(tmp_path / "words.h5", dict.fromkeys(SPLITS, part), META)
    with pytest.raises(SystemExit) as end:
        cli.main(["data", "encode", str(tmp_path / "words.h5"), "--text-encoder", "minilm"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "has no tokens" in said and said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["words.h5"]
