"""A store that is tokenized again is the one that an import of its source would have made."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vocabularies

from mmsa_lightning.cli import main
from mmsa_lightning.data import ragged, store
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import SPLITS, Meta, Store
from mmsa_lightning.data.tokenize import tokenize_store
from mmsa_lightning.data.tokenizers import tokenizer
from mmsa_lightning.data.vocabularies import vocabulary_sha256
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import minilm


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What --text-encoder takes for each; ``twin`` has MiniLM's pieces under MPNet's numbers, in the way of MPNet."""
    folder = tmp_path_factory.mktemp("encoders")
    made = {family: vocabularies.save(folder / family, family) for family in vocabularies.ONE_OF_EACH}
    known = (minilm.directory() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return made | {"minilm": "minilm", "twin": mpnet_of(folder / "twin", known)}


def mpnet_of(folder: Path, pieces: list[str]) -> str:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mpnet"}')
    added = {"3": {"content": "<unk>", "special": True}}  # a special token without a role
    settings = {"tokenizer_class": "MPNetTokenizer", "added_tokens_decoder": added}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    (folder / "vocab.txt").write_text("\n".join([*special, *pieces, "<mask>"]) + "\n", encoding="utf-8")
    return str(folder)


def run_import(source: Path, encoder: str, *options: Any) -> Path:
    out = source.with_name(f"{source.stem}.imported.{Path(encoder).name}.h5")
    words = ["data", "import", source, "--dataset", "own", "--out", out, "--text-encoder", encoder, *options]
    main([str(word) for word in words])
    return out


def words_source(folder: Path, layouts: Any) -> tuple[Path, list[Any]]:
    """Audio and vision of one step per word; the second utterance of each split has no word."""
    folds = {name: layouts.fold(name, 5, own_words=False) for name in ("train", "dev", "test")}
    for fold in folds.values():
        (_, visual, acoustic), *others = fold[1]
        fold[1] = (([], visual[:0], acoustic[:0]), *others)
    (folder / "words.pkl").write_bytes(pickle.dumps(folds))
    return folder / "words.pkl", []


def upper_source(folder: Path, layouts: Any) -> tuple[Path, list[Any]]:
    """The same in an upper-case transcript."""
    path, _ = words_source(folder, layouts)
    folds = pickle.loads(path.read_bytes())
    for fold in folds.values():
        for i, ((words, *features), *others) in enumerate(fold):
            fold[i] = (([word.upper() for word in words], *features), *others)
    path.write_bytes(pickle.dumps(folds))
    return path, []


def table_source(folder: Path, layouts: Any) -> tuple[Path, list[Any]]:
    """Audio of one step per utterance, vision of other lengths than the text's, text of word vectors."""
    rng, n = np.random.default_rng(0), 9
    rows = [f"v{i}$_$0,{vocabularies.TEXT[i % 4]}  ,{i % 3},{SPLITS[i % 3]}" for i in range(n)]
    rows = [row.replace("it, so", "it so") for row in rows]
    (folder / "table.csv").write_text("\n".join(["id,text,label,split", *rows]), encoding="utf-8")
    ids, lengths = np.array([f"v{i}$_$0" for i in range(n)]), rng.integers(20, 40, n)
    np.savez(folder / "audio.npz", id=ids, features=rng.normal(size=(n, 5)))
    np.savez(folder / "vision.npz", id=ids, features=rng.normal(size=(lengths.sum(), 7)), lengths=lengths)
    spoken = np.array(sorted({word for text in vocabularies.TEXT for word in text.replace(",", "").split()}))
    np.savez(folder / "vectors.npz", words=spoken, vectors=rng.normal(size=(len(spoken), 3)))
    options = ["--audio", "audio.npz", "--vision", "vision.npz", "--word-vectors", "vectors.npz"]
    return folder / "table.csv", [folder / word if word.endswith("npz") else word for word in options]


def vectors_source(folder: Path, layouts: Any) -> tuple[Path, list[Any]]:
    """Word vectors alone lie on the tokens."""
    path, options = table_source(folder, layouts)
    return path, options[2:]


@pytest.mark.parametrize("source", [words_source, upper_source, table_source, vectors_source])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("minilm", "roberta"),
        ("roberta", "deberta-v2"),
        ("deberta-v2", "mpnet"),
        ("mpnet", "minilm"),
        ("minilm", "twin"),
        ("twin", "minilm"),
    ],
)
def test_it_is_what_an_import_makes(
    tmp_path: Path, layouts: Any, encoders: dict[str, str], source: Any, before: str, after: str
) -> None:
    path, options = source(tmp_path, layouts)
    first, expected = (run_import(path, encoders[name], *options) for name in (before, after))
    main(["data", "tokenize", str(first), "--text-encoder", encoders[after]])
    made = Store(first.with_name(f"{first.stem}_{Path(encoders[after]).name}.h5")).meta
    wanted, old = Store(expected).meta, Store(first).meta
    assert made.content_sha256 == wanted.content_sha256 != old.content_sha256
    for name in ("aligned", "vocabulary", "vocabulary_sha256", "vocabulary_assumed", "lower_cased", "source_sha256"):
        assert getattr(made, name) == getattr(wanted, name), name
    told = f"tokens: those of {encoders[after]}, from the raw text; before, of {old.vocabulary}"
    assert made.report[: len(old.report) + 1] == [*old.report, told]


def test_an_upper_case_transcript_may_be_kept(tmp_path: Path, layouts: Any, encoders: dict[str, str]) -> None:
    source, _ = upper_source(tmp_path, layouts)
    first, expected = run_import(source, "minilm"), run_import(source, encoders["roberta"], "--keep-case")
    lowered, kept = (tmp_path / name for name in ("lowered.h5", "kept.h5"))
    command = ["data", "tokenize", str(first), "--text-encoder", encoders["roberta"], "--out"]
    main([*command, str(lowered)])
    main([*command, str(kept), "--keep-case"])
    assert Store(kept).meta.content_sha256 == Store(expected).meta.content_sha256
    assert (Store(kept).meta.lower_cased, Store(lowered).meta.lower_cased) == (False, True)
    (said,) = (line for line in Store(lowered).meta.report if "lower case" in line)
    assert said.startswith("text: an upper-case transcript") and said not in Store(kept).meta.report
    for path in (lowered, kept):
        assert Store(path).splits["train"].raw_text == Store(first).splits["train"].raw_text
        assert "I REALLY LOVED IT" in Store(path).splits["train"].raw_text


# Without the raw text, or with features that do not lie on its words.


def rewritten(path: Path, name: str, change: Any, **meta: Any) -> Path:
    """A copy of a store, with each split as ``change`` returns it."""
    found, out = Store(path), path.with_name(name)
    store.write(out, {name: change(split) for name, split in found.splits.items()}, replace(found.meta, **meta))
    return out


def without_text(split: store.Split) -> store.Split:
    return replace(split, raw_text=None)


def each_piece_for_itself(split: store.Split) -> store.Split:
    """Features that differ on the pieces of a word, as BERT's own do."""
    rng = np.random.default_rng(1)
    lengths = split.sequences["tokens"].lengths
    own = Loaded([rng.normal(size=(n, 3)).astype(np.float32) for n in lengths])
    return replace(split, sequences=split.sequences | {"audio": own})


@pytest.mark.parametrize(("before", "after"), [("minilm", "twin"), ("twin", "minilm")])
@pytest.mark.parametrize("change", [without_text, each_piece_for_itself])
def test_the_same_pieces_are_renumbered(
    tmp_path: Path, layouts: Any, encoders: dict[str, str], before: str, after: str, change: Any
) -> None:
    source, _ = words_source(tmp_path, layouts)
    first, expected = (run_import(source, encoders[name]) for name in (before, after))
    first, expected = (rewritten(path, f"{path.stem}.x.h5", change) for path in (first, expected))
    made, wanted = tokenize_store(first, encoders[after], tmp_path / "x.h5"), Store(expected).meta
    assert made.content_sha256 == wanted.content_sha256 != Store(first).meta.content_sha256
    assert (made.vocabulary, made.vocabulary_sha256) == (wanted.vocabulary, wanted.vocabulary_sha256)
    assert made.report[-1].startswith("tokens: those of ") and "renumbered" in made.report[-1]


@pytest.mark.slow
def test_the_packaged_mpnet_has_minilms_pieces(tmp_path: Path, layouts: Any, encoders: dict[str, str]) -> None:
    try:
        mpnet = tokenizer("mpnet")
    except UserError as error:
        pytest.skip(str(error))
    assert vocabulary_sha256(mpnet) == vocabulary_sha256(tokenizer(encoders["twin"]))
    source, _ = words_source(tmp_path, layouts)
    first, expected = run_import(source, "minilm"), run_import(source, "mpnet")
    bare = rewritten(first, "bare.h5", without_text)
    made = tokenize_store(first, "mpnet", tmp_path / "x.h5")
    assert made.content_sha256 == Store(expected).meta.content_sha256
    assert made.vocabulary == "sentence-transformers/all-mpnet-base-v2"
    tokenize_store(bare, "mpnet", tmp_path / "y.h5")
    for name in SPLITS:
        found, wanted = (Store(tmp_path / path).splits[name].sequences["tokens"] for path in ("y.h5", "x.h5"))
        assert [ids.tolist() for ids in found] == [ids.tolist() for ids in wanted]


def test_special_tokens_are_renumbered_by_their_role(tmp_path: Path, encoders: dict[str, str]) -> None:
    ids = np.array([101, 100, 103, 0, 7592, 102], np.int32)  # [CLS] [UNK] [MASK] [PAD] hello [SEP]
    part = store.Split(["a"], np.zeros(1), {"tokens": Loaded([ids])})
    assumed = Meta("own", "mmsa", "x.pkl", "0", None, True, "bert-base-uncased", [], vocabulary_assumed=True)
    store.write(tmp_path / "a.h5", dict.fromkeys(SPLITS, part), assumed)
    made = tokenize_store(tmp_path / "a.h5", encoders["twin"], tmp_path / "b.h5")
    pieces = Store(tmp_path / "b.h5").splits["test"].sequences["tokens"][0].tolist()
    mpnet = tokenizer(encoders["twin"])
    assert mpnet.convert_ids_to_tokens(pieces) == ["<s>", "[UNK]", "<mask>", "<pad>", "hello", "</s>"]
    assert pieces == [0, 104, 30526, 1, 7596, 2]
    assert made.vocabulary_assumed


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ("roberta", "a BPE tokenizer needs the text"),
        ("deberta-v2", "a Unigram tokenizer needs the text"),
        ("mpnet", "the two tokenizers divide a text in other ways"),  # it tells case
        ("one more", "the two vocabularies do not have the same pieces"),
    ],
)
def test_other_pieces_are_not_renumbered(
    tmp_path: Path, layouts: Any, encoders: dict[str, str], capsys: pytest.CaptureFixture[str], after: str, reason: str
) -> None:
    known = (minilm.directory() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    more = encoders | {"one more": mpnet_of(tmp_path / "more", [*known, "unbelievably"])}
    source, _ = words_source(tmp_path, layouts)
    first = rewritten(run_import(source, "minilm"), "x.h5", without_text)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["data", "tokenize", str(first), "--text-encoder", more[after], "--out", str(tmp_path / "none.h5")])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and not (tmp_path / "none.h5").exists()
    assert f"it holds no raw text, and its ids cannot be renumbered: {reason}; import the source again" in said


def other_text(split: store.Split) -> store.Split:
    return replace(split, raw_text=[f"so {text}" for text in split.raw_text or []])


def no_mark(split: store.Split) -> store.Split:
    """One step per word, but something on [SEP], too."""
    changed = Loaded([np.where(np.arange(len(s))[:, None] < len(s) - 1, s, 1) for s in split.sequences["audio"]])
    return replace(split, sequences=split.sequences | {"audio": changed})


@pytest.mark.parametrize(
    ("change", "meta", "reason"),
    [
        (each_piece_for_itself, {}, "audio of train0$_$0 is not one step per word"),
        (no_mark, {}, "audio of train0$_$0 is not one step per word"),
        (other_text, {}, "the tokens of train0$_$0 are not those that bert-base-uncased makes of its raw text"),
        (lambda split: split, {"vocabulary": "no/where", "vocabulary_sha256": None}, "no tokenizer 'no/where'"),
        (lambda split: split, {"vocabulary_sha256": "0" * 64}, "is no longer the vocabulary that it was"),
    ],
)
def test_features_that_cannot_follow_are_refused(
    tmp_path: Path, layouts: Any, encoders: dict[str, str], change: Any, meta: dict[str, Any], reason: str
) -> None:
    source, _ = words_source(tmp_path, layouts)
    first = rewritten(run_import(source, "minilm"), "x.h5", change, **meta)
    with pytest.raises(UserError, match=r"cannot be tokenized for .* with --text-encoder ") as error:
        tokenize_store(first, encoders["roberta"], tmp_path / "none.h5")
    assert reason in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "none.h5").exists()


def test_words_that_the_earlier_tokens_lack_have_no_features(tmp_path: Path, encoders: dict[str, str]) -> None:
    """A word without a piece; and the end of a text that was cut, of which another tokenizer would read more."""
    for lacking in (["so", "\u200b", "good"], ["!!"] * 300):
        fold = [((lacking, np.ones((len(lacking), 2)), np.ones((len(lacking), 3))), np.zeros((1, 1)), "a[0]")]
        folds = {n: [(fold[0][0], fold[0][1], f"{n}[0]")] for n in ("train", "dev", "test")}
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(folds))
        first = run_import(tmp_path / "x.pkl", "minilm")
        with pytest.raises(
            UserError, match=r"the earlier tokens of train\$_\$0 lack words, so their audio is not known"
        ):
            tokenize_store(
                first,
                vocabularies.save(tmp_path / str(len(lacking)), "roberta", text=["so !! !! !!"]),
                tmp_path / "y.h5",
            )


def test_text_features_alone_on_the_tokens_stay_as_they_are(tmp_path: Path, encoders: dict[str, str]) -> None:
    """As in MMSA's unaligned pickles: BERT's output, and audio of lengths of its own."""
    rng, texts = np.random.default_rng(0), ["unbelievably good", "so"]
    ids = [np.array(tokenizer("minilm")(text)["input_ids"]) for text in texts]
    sequences = {
        "tokens": Loaded(ids),
        "text": Loaded([rng.normal(size=(len(i), 4)).astype(np.float32) for i in ids]),
        "audio": Loaded([rng.normal(size=(9, 5)).astype(np.float32) for i in ids]),
    }
    part = store.Split(["a", "b"], np.zeros(2), sequences, texts)
    meta = Meta("own", "mmsa", "x.pkl", "0", None, False, "bert-base-uncased", [])
    store.write(tmp_path / "a.h5", dict.fromkeys(SPLITS, part), meta)
    made = tokenize_store(tmp_path / "a.h5", encoders["roberta"], tmp_path / "b.h5")
    found = Store(tmp_path / "b.h5").splits["test"].sequences
    assert "text: features of the earlier tokens, kept with their own steps" in made.report
    assert len(found["tokens"][0]) != len(ids[0]) and not made.aligned
    for name in ("text", "audio"):
        for old, new in zip(sequences[name], found[name], strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_store_without_tokens_is_refused(tmp_path: Path) -> None:
    part = store.Split(["a"], np.zeros(1), {"text": Loaded([np.zeros((2, 3), np.float32)])}, ["so"])
    meta = Meta("own", "mult", "x.pkl", "0", None, True, None, [])
    store.write(tmp_path / "x.h5", dict.fromkeys(SPLITS, part), meta)
    with pytest.raises(UserError, match="has no tokens"):
        tokenize_store(tmp_path / "x.h5", "minilm", tmp_path / "y.h5")


def test_features_are_read_an_utterance_at_a_time(
    tmp_path: Path, encoders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["so good " * 20] * 60
    pieces = [np.array(tokenizer("minilm")(text)["input_ids"]) for text in texts]
    marks = np.array([0, *[1] * 40, 0], np.float32)[:, None]
    audio = Loaded([np.repeat(marks, 2000, axis=1) for _ in texts])  # 20 MB in each split
    part = store.Split([str(i) for i in range(60)], np.zeros(60), {"tokens": Loaded(pieces), "audio": audio}, texts)
    splits = {name: replace(part, ids=[f"{name}{i}" for i in range(60)]) for name in SPLITS}
    meta = Meta("own", "misa", "x.pkl", "0", None, True, "bert-base-uncased", [])
    store.write(tmp_path / "x.h5", splits, meta)
    monkeypatch.setattr(ragged, "BLOCK", 1 << 20)
    del audio, part, splits
    tracemalloc.start()
    tokenize_store(tmp_path / "x.h5", encoders["mpnet"], tmp_path / "y.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20
