"""Attention of chosen utterances: the model's own weights, beside the words that they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import vocabularies
from torch import nn
from transformers import AutoTokenizer

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.demo import DemoDataModule
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.attention import attention_maps, headline, read, write
from mmsa_lightning.models.output import ModelOutput, attends


class Even(nn.Module):
    """Attends to every step alike, and predicts the number of the utterance's steps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, batch: Batch, *, return_attention: bool = False) -> ModelOutput:
        mask = batch.sequence("text").mask.float()
        weights = (mask / mask.sum(dim=1, keepdim=True))[:, None, :].expand(-1, mask.shape[1], -1)
        return ModelOutput(mask.sum(dim=1) * self.scale, attention={"text<-audio": weights})


@pytest.fixture
def data(tmp_path: Path) -> DemoDataModule:
    options = {"batch_size": 4, "eval_batch_size": 4, "modalities": ["text", "audio"], "standardize": True, "seed": 1}
    made = DemoDataModule(
        str(tmp_path / "demo.h5"),
        generator_seed=0,
        counts={"train": 8, "valid": 4, "test": 6},
        text="bert",
        num_workers=0,
        **options,
    )
    made.prepare_data()
    made.setup()
    return made


@pytest.mark.parametrize("text", ["[{", '[{"id": "a"}]', "[1]", "3"])
def test_a_damaged_file_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "attention.json").write_text(text)
    with pytest.raises(UserError, match=r"attention\.json is damaged"):
        read(tmp_path)


def test_each_utterance_has_its_words_and_its_own_weights(data: DemoDataModule) -> None:
    stored = data.store.splits["test"]
    records = attention_maps(Even(), data, "test", [4, 1])
    assert [r["id"] for r in records] == [stored.ids[4], stored.ids[1]]
    for record, i in zip(records, (4, 1), strict=True):
        length = len(stored.sequences["tokens"][i])
        words = record["steps"]["text"]
        assert (words[0], words[-1]) == ("[CLS]", "[SEP]")
        assert "".join(words[1:-1]).replace("##", "") == "".join(stored.raw_text[i].lower().split())
        assert record["steps"]["audio"] == words  # aligned: the same steps
        np.testing.assert_allclose(record["weights"]["text<-audio"], np.full((length, length), 1 / length), atol=1e-4)
        assert record["prediction"] == length
        assert record["label"] == pytest.approx(float(stored.label[i]), abs=1e-4)


@pytest.mark.parametrize("family", ["roberta", "deberta-v2"])
def test_pieces_of_any_tokenizer_are_shown_as_berts(data: DemoDataModule, tmp_path: Path, family: str) -> None:
    """Without the signs by which byte-level BPE and sentencepiece write the blank before a word."""
    data.store.meta.vocabulary = folder = vocabularies.save(tmp_path / family, family)
    stored = data.store.splits["test"]
    ids = [np.array(AutoTokenizer.from_pretrained(folder)(" so really good")["input_ids"])] * len(stored)
    stored.sequences["tokens"] = Loaded(ids)
    (record,) = attention_maps(Even(), data, "test", [0])
    begin, *pieces, end = record["steps"]["text"]
    assert {begin, end} <= {"<s>", "</s>", "[CLS]", "[SEP]"}
    words = "".join(f" {piece}" for piece in pieces).replace(" ##", "").replace("▁", "").replace("Ġ", "")
    assert words.split() == ["so", "really", "good"]


def test_steps_that_are_no_word_pieces_have_numbers(data: DemoDataModule) -> None:
    data.store.splits["test"].sequences.pop("tokens")
    data.sequences["text"] = "text"
    (record,) = attention_maps(Even(), data, "test", [0])
    assert record["steps"]["text"][:2] == ["1", "2"]


def test_a_model_that_keeps_its_weights_to_itself_is_known() -> None:
    assert attends(Even())
    assert not attends(nn.Linear(1, 1))
    silent = Even()
    silent.attends = False  # type: ignore[assignment]
    assert not attends(silent)


def test_records_come_back_from_the_run(data: DemoDataModule, tmp_path: Path) -> None:
    assert read(tmp_path) == []
    records = attention_maps(Even(), data, "valid", [2])
    write(tmp_path, records)
    assert read(tmp_path) == records
    write(tmp_path, [records[0] | {"weights": {}}])
    assert read(tmp_path) == []
    assert headline(records[0]).startswith(f"{data.store.splits['valid'].ids[2]} (label ")


@pytest.mark.parametrize("more", [0, 2])
def test_steps_that_are_not_those_of_tokens_have_numbers(data: DemoDataModule, more: int) -> None:
    """Also of an utterance that has as many of both by chance."""
    stored = data.store.splits["test"]
    n = len(stored.sequences["tokens"][0])
    steps = [n + more, *(length + 1 for length in stored.sequences["tokens"].lengths[1:])]
    stored.sequences["audio"] = Loaded([np.ones((k, 5), np.float32) for k in steps])
    (record,) = attention_maps(Even(), data, "test", [0])
    assert record["steps"]["audio"] == [str(step) for step in range(1, n + more + 1)]
    assert record["steps"]["text"][0] == "[CLS]"
