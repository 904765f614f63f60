"""Whose vocabulary tokens are of, under every name that it goes by."""

import shlex
import shutil
from pathlib import Path

import pytest
import vocabularies

from mmsa_lightning.data.store import Meta
from mmsa_lightning.data.tokenizers import tokenizer
from mmsa_lightning.data.vocabularies import (
    UNCASED_SHA256,
    compare_vocabularies,
    renamed,
    tokenizer_of,
    vocabulary,
    vocabulary_sha256,
)
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm


def test_a_vocabulary_is_known_by_its_pieces_and_their_ids(packaged, tmp_path):
    assert vocabulary_sha256(packaged) == UNCASED_SHA256
    shutil.copy(minilm.directory() / "vocab.txt", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert vocabulary_sha256(tokenizer(str(tmp_path))) == UNCASED_SHA256
    one, other = (
        vocabularies.folder_with(tmp_path / name, pieces) for name, pieces in (("one", "ab"), ("other", "ba"))
    )
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
    own, other = vocabularies.folder_with(tmp_path / "own", "ab"), vocabularies.folder_with(tmp_path / "other", "ba")
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
