"""Words and their pieces, in every family of tokenizers."""

import json
import shutil

import numpy as np
import pytest
import vocabularies
from tokenizers import Tokenizer

from mmsa_lightning.data.tokenizers import tokenizer
from mmsa_lightning.data.tokens import MAX_PIECES, Pieces, check_known, encode, on_pieces
from mmsa_lightning.data.vocabularies import (
    vocabulary,
)
from mmsa_lightning.errors import UserError


def test_pieces_know_their_words(packaged):
    (pieces,) = encode(packaged, [["Unbelievably", "good,", "huh"]])
    found = packaged.convert_ids_to_tokens(pieces.ids.tolist())
    assert found == ["[CLS]", "un", "##bel", "##ie", "##va", "##bly", "good", ",", "huh", "[SEP]"]
    assert pieces.word.tolist() == [-1, 0, 0, 0, 0, 0, 1, 1, 2, -1]
    assert not pieces.cut


def test_the_ids_are_those_of_bert_base_uncased(packaged):
    (pieces,) = encode(packaged, [["hello", "world"]])
    assert pieces.ids.tolist() == [101, 7592, 2088, 102]
    assert vocabulary("minilm") == "bert-base-uncased"
    assert vocabulary("bert-large-cased") == "bert-large-cased"


@pytest.mark.parametrize("words, cut", [(MAX_PIECES - 2, False), (MAX_PIECES - 1, True)])
def test_a_long_text_is_cut_and_keeps_its_end_mark(packaged, words, cut):
    (pieces,) = encode(packaged, [["good"] * words])
    assert len(pieces.ids) == len(pieces.word) == MAX_PIECES
    assert (pieces.ids[-1], pieces.word[-1], pieces.cut) == (102, -1, cut)


WORDS = ["it's", "unbelievably", "good,", "so", "the", "café", "is", "great"]


@pytest.mark.parametrize("family", vocabularies.FAMILIES)
def test_every_family_reads_words_as_it_reads_their_text(families, family):
    """Against the tokenizer in the file itself, which transformers did not touch, over the whole text."""
    own = tokenizer(families[family])
    (pieces,) = encode(own, [WORDS])
    blank = " " if vocabularies.FAMILIES[family].model == "ByteLevel" else ""  # before its first word, too
    accents = str.maketrans("é", "e") if family == "albert" else {}  # whose class takes them off
    whole = (blank + " ".join(WORDS)).translate(accents)
    text = Tokenizer.from_file(f"{families[family]}/tokenizer.json").encode(whole)
    assert pieces.ids.tolist() == text.ids
    spelled_out = [""] * len(WORDS)
    for piece, word in zip(text.tokens, pieces.word.tolist(), strict=True):
        if word >= 0:
            spelled_out[word] += piece.removeprefix("##").strip("▁Ġ").replace("Ã©", "é")
    assert spelled_out == [word.translate(accents) for word in WORDS]
    assert (pieces.word[0], pieces.word[-1], pieces.cut, pieces.unknown, pieces.lost) == (-1, -1, False, 0, 0)


@pytest.mark.parametrize("family", vocabularies.FAMILIES)
def test_every_family_cuts_a_long_text_at_its_end(families, family):
    own = tokenizer(families[family])
    (pieces,) = encode(own, [["great"] * MAX_PIECES])
    whole = Tokenizer.from_file(f"{families[family]}/tokenizer.json").encode(" great" * MAX_PIECES).ids
    assert len(pieces.ids) == MAX_PIECES and pieces.cut and (pieces.unknown, pieces.lost) == (0, 0)
    assert (pieces.ids[0], pieces.ids[-1]) == (whole[0], whole[-1])
    assert pieces.word[:2].tolist() == [-1, 0]


def test_a_tokenizer_that_would_cut_the_beginning_cuts_the_end(families, tmp_path):
    shutil.copytree(families["roberta"], tmp_path / "own")
    settings = json.loads((tmp_path / "own" / "tokenizer_config.json").read_text()) | {"truncation_side": "left"}
    (tmp_path / "own" / "tokenizer_config.json").write_text(json.dumps(settings))
    (pieces,) = encode(tokenizer(str(tmp_path / "own")), [["great"] * MAX_PIECES])
    assert pieces.cut and pieces.word[1] == 0


@pytest.mark.parametrize("family", ["xlm-roberta", "deberta-v2", "albert"])
def test_sentencepiece_does_not_know_a_word_by_its_blank(families, family):
    """It writes an unknown word as two pieces, the blank before it and the unknown one."""
    own = tokenizer(families[family])
    known, foreign = encode(own, [["so", "great", "☃", ""], ["雪", "☃"]])
    assert (known.unknown, known.lost, foreign.unknown, foreign.lost, foreign.blank) == (1, 1, 2, 0, 2)
    with pytest.raises(UserError, match="does not know the text: 2 of 2 word pieces"):
        check_known("own", [foreign])


@pytest.mark.parametrize("family", ["roberta", "modernbert"])
def test_byte_level_bpe_knows_every_word(families, family):
    (pieces,) = encode(tokenizer(families[family]), [["☃", "", "雪"]])
    assert (pieces.unknown, pieces.lost) == (0, 1)
    assert set(pieces.word.tolist()) == {-1, 0, 2}


def test_empty_texts(packaged):
    assert encode(packaged, []) == []
    assert encode(packaged, [[]])[0].ids.tolist() == [101, 102]


def test_each_piece_gets_its_words_features():
    steps = np.array([[1, 2], [3, 4]], np.float32)
    placed = on_pieces(steps, Pieces(np.arange(5), np.array([-1, 0, 0, 1, -1]), False))
    np.testing.assert_array_equal(placed, [[0, 0], [1, 2], [1, 2], [3, 4], [0, 0]])
    assert placed.dtype == np.float32


def test_what_is_unknown_is_counted(tmp_path):
    own = tokenizer(vocabularies.folder_with(tmp_path / "bert", ["so", "good", "##ly"]))
    known, foreign = encode(own, [["so", "goodly", "\u200b", "bad"], ["schlecht", "so"]])
    assert (known.unknown, known.lost, foreign.unknown, foreign.lost) == (1, 1, 1, 0)
    assert check_known("own", [known, foreign]) == [
        "text: 2 of 7 word pieces are unknown to the tokenizer ([UNK])",
        "text: 1 words have no word piece in the tokenizer's vocabulary, and are left out",
    ]
    assert check_known("own", encode(own, [["so", "good"], []])) == []
    with pytest.raises(UserError, match="'own' does not know the text: 2 of 3 word pieces are unknown"):
        check_known("own", encode(own, [["schlecht", "so"], ["gar"]]))


def test_words_beyond_the_cut_are_not_counted_as_lost(packaged):
    (pieces,) = encode(packaged, [["good"] * MAX_PIECES])
    assert (pieces.unknown, pieces.lost) == (0, 0)
