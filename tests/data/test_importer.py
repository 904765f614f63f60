import csv
import hashlib
import multiprocessing
import pickle

import numpy as np
import pytest
import vocabularies
from hostile_pickles import Calls

from mmsa_lightning.cli import main
from mmsa_lightning.data import importer
from mmsa_lightning.data.releases import count_warning
from mmsa_lightning.data.store import Store
from mmsa_lightning.data.tokenizers import tokenizer
from mmsa_lightning.data.vocabularies import UNCASED, UNCASED_SHA256


def save(path, data, protocol=2):
    path.write_bytes(pickle.dumps(data, protocol))
    return path


def run_import(source, out, *options, dataset="own"):
    main(["data", "import", str(source), "--dataset", dataset, "--out", str(out), *map(str, options)])
    return Store(out)


@pytest.mark.parametrize("aligned", [True, False])
def test_mmsa(tmp_path, layouts, capsys, aligned):
    data = layouts.mmsa(aligned)
    path = save(tmp_path / "aligned_50.pkl", data)
    store = run_import(path, tmp_path / "stores" / "own.h5")
    assert (store.meta.layout, store.meta.aligned, store.meta.vocabulary) == ("mmsa", aligned, "bert-base-uncased")
    assert store.meta.source == "aligned_50.pkl"
    assert store.meta.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert store.meta.release is None
    assert store.dims == {"tokens": None, "text": 768, "audio": 5, "vision": 20}
    for name, part in data.items():
        split = store.splits[name]
        assert split.ids == list(part["id"]) and split.raw_text == list(part["raw_text"])
        np.testing.assert_array_equal(split.label, part["regression_labels"].astype(np.float32))
        for i, found in enumerate(split.sequences["vision"]):
            steps = part["vision"][i]
            np.testing.assert_array_equal(found, steps[(steps != 0).any(1)])
    printed = capsys.readouterr()
    assert "audio: 3 values were infinite or not a number, now 0" in printed.out
    assert printed.out.splitlines()[-1] == f"next: mmsa data inspect {tmp_path / 'stores' / 'own.h5'}"
    assert printed.err == ""


def test_mult_of_python_2(tmp_path, layouts):
    data = layouts.mult({"text": 50, "audio": 50, "vision": 50})
    path = tmp_path / "mosi_data.pkl"
    path.write_bytes(pickle.dumps(data, 2).replace(b"numpy._core.", b"numpy.core."))
    store = run_import(path, tmp_path / "own.h5")
    assert store.meta.vocabulary is None
    assert store.meta.aligned
    steps = data["test"]["text"][3]
    np.testing.assert_array_equal(store.splits["test"].sequences["text"][3], steps[(steps != 0).any(1)])


def test_mmsas_pickle_of_ch_sims(tmp_path, layouts, capsys):
    data = layouts.mmsa(False)
    for part in data.values():
        part["regression_labels"] = part["regression_labels"] / 3
        for letter, factor in zip("TAV", (0.5, -0.5, 1), strict=True):
            part[f"regression_labels_{letter}"] = factor * part["regression_labels"]
    source = save(tmp_path / "unaligned_39.pkl", data)
    store = run_import(source, tmp_path / "sims.h5", "--text-encoder", "bert-base-chinese", dataset="sims")
    assert (store.meta.label_range, store.meta.protocol) == ([-1, 1], "sims")
    assert "5 / 3 / 4 utterances in train / valid / test, where sims has 1368 / 456 / 457:" in capsys.readouterr().err
    valid = store.splits["valid"]
    for modality, factor in (("text", 0.5), ("audio", -0.5), ("vision", 1)):
        np.testing.assert_allclose(valid.unimodal[modality], factor * valid.label)


def test_misa_folder_and_mag_bert_become_the_same_arrays(tmp_path, layouts):
    folder = tmp_path / "MOSI"
    folder.mkdir()
    for name in ("train", "dev", "test"):
        save(folder / f"{name}.pkl", layouts.fold(name, 5, own_words=True))
    mag = save(tmp_path / "mosi.pkl", {n: layouts.fold(n, 5, own_words=False) for n in ("train", "dev", "test")})
    one, other = run_import(folder, tmp_path / "a.h5"), run_import(mag, tmp_path / "b.h5")
    assert one.meta.content_sha256 == other.meta.content_sha256
    assert one.meta.source == "MOSI"
    joined = b"".join((folder / f"{name}.pkl").read_bytes() for name in ("dev", "test", "train"))
    assert one.meta.source_sha256 == hashlib.sha256(joined).hexdigest()

    split = one.splits["valid"]
    wordpieces = tokenizer("minilm").convert_ids_to_tokens(split.sequences["tokens"][1].tolist())
    assert wordpieces == ["[CLS]", "un", "##bel", "##ie", "##va", "##bly", "bad", "[SEP]"]
    visual = layouts.fold("dev", 5, own_words=True)[1][0][1]
    zero = np.zeros(47)
    np.testing.assert_array_equal(split.sequences["vision"][1], [zero, *[visual[0]] * 5, visual[1], zero])


def test_the_same_source_gives_the_same_content(tmp_path, layouts):
    path = save(tmp_path / "x.pkl", layouts.mmsa(True))
    first, second = run_import(path, tmp_path / "a.h5"), run_import(path, tmp_path / "b.h5")
    assert first.meta.content_sha256 == second.meta.content_sha256


def test_a_known_release_is_named(tmp_path, layouts, monkeypatch, capsys):
    path = save(tmp_path / "x.pkl", layouts.mmsa(True))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(importer.RELEASES, digest, "MMSA MOSI aligned_50.pkl")
    assert run_import(path, tmp_path / "mosi.h5", dataset="mosi").meta.release == "MMSA MOSI aligned_50.pkl"
    assert capsys.readouterr().err == (
        "warning: 5 / 3 / 4 utterances in train / valid / test, where mosi has 1284 / 229 / 686: not comparable\n"
    )


def test_count_warning_knows_the_official_counts():
    assert count_warning("mosi", (1284, 229, 686)) is None
    assert count_warning("mosei", (16326, 1871, 4659)) is None
    assert count_warning("sims", (1368, 456, 457)) is None
    assert count_warning("own", (1, 2, 3)) is None
    assert "16274 / 1861 / 4659" in (count_warning("mosei", (16274, 1861, 4659)) or "")


def test_a_table_without_features_is_text_alone(tmp_path):
    path = tmp_path / "u.csv"
    path.write_text("id,text,label,split\na$_$1,so good,1,train\nb$_$1,bad,-1,dev\nc$_$1,,0,test\n")
    store = run_import(path, tmp_path / "own.h5")
    assert store.modalities == ["text"]
    assert store.splits["test"].sequences["tokens"][0].tolist() == [101, 102]


def table(tmp_path, *labels):
    path = tmp_path / "u.csv"
    rows = [f"v{i}$_$0,so,{y},{s}" for i, (y, s) in enumerate(zip(labels, ("train", "valid", "test"), strict=True))]
    path.write_text("\n".join(["id,text,label,split", *rows]))
    return path


@pytest.mark.parametrize(
    "labels, options, expected",
    [
        ((-0.8, 1, 0.2), (), [-0.8, 1]),
        ((-0.8, 1, 0.2), ("--label-range", -1, 1), [-1, 1]),
        ((-0.8, 1, 0.2), ("--label-range", -1.5, 2), [-1.5, 2]),
        ((-30, 70, 0), (), [-30, 70]),
    ],
)
def test_the_label_range_is_what_was_said_or_found(tmp_path, capsys, labels, options, expected):
    store = run_import(table(tmp_path, *labels), tmp_path / "own.h5", *options)
    assert store.meta.label_range == expected and store.meta.range_found == (not options)
    printed = capsys.readouterr()
    assert ("labels: found in" in printed.out) == (not options)
    assert printed.err == ""


@pytest.mark.parametrize("dataset", ["mosi", "mosei"])
def test_known_data_keep_their_range(tmp_path, capsys, dataset):
    store = run_import(table(tmp_path, 1, -0.5, 0), tmp_path / "x.h5", dataset=dataset)
    assert store.meta.label_range == [-3, 3] and not store.meta.range_found
    assert "labels: found" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "labels, dataset, options, message",
    [
        (
            (1, -5, 0),
            "own",
            ("--label-range", -3, 3),
            "valid: label of v1$_$0 is -5, outside [-3, 3]; so are 0 more of 1",
        ),
        ((1, -5, 0), "mosi", (), "valid: label of v1$_$0 is -5, outside [-3, 3]"),
        ((1, -1, 0), "own", ("--label-range", 1, -1), "--label-range wants two numbers, the lower first"),
        ((1, -1, 0), "own", ("--label-range", "nan", 1), "--label-range wants two numbers"),
        (
            (1, -1, 0),
            "mosi",
            ("--label-range", -1, 1),
            "labels of mosi lie in [-3, 3]; other data need another --dataset",
        ),
        ((1, -1, 0), "SIMS", (), "--dataset SIMS: sims is written in small letters"),
    ],
)
def test_labels_and_ranges_that_do_not_go_together(tmp_path, capsys, labels, dataset, options, message):
    with pytest.raises(SystemExit) as end:
        run_import(table(tmp_path, *labels), tmp_path / "x.h5", *options, dataset=dataset)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("labels", [(1, 3, 5), (0, 0.5, 1), (-3, -1, 0), (0, 0, 0)])
def test_labels_on_one_side_of_0_get_one_line(tmp_path, capsys, labels):
    run_import(table(tmp_path, *labels), tmp_path / "own.h5")
    printed = capsys.readouterr().err
    assert "are not negative and positive: acc2, f1 and generated labels mean nothing" in printed
    assert printed.startswith("warning: ") and printed.count("\n") == 1


def test_separator_and_encoding_reach_the_table(tmp_path):
    path = tmp_path / "u.csv"
    rows = ["id~text~label~split", "a~你好~1~train", "b~so~-1~val", "c~so~0~TEST"]
    path.write_text("\n".join(rows), encoding="gbk")
    store = run_import(path, tmp_path / "own.h5", "--separator", "~", "--encoding", "gbk")
    assert store.splits["train"].raw_text == ["你好"]
    assert list(store.splits["test"].ids) == ["c"]


def test_the_store_lies_in_stores_by_default(tmp_path, layouts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.pkl", layouts.mmsa(True))
    main(["data", "import", "x.pkl", "--dataset", "own"])
    assert Store("stores/own.h5").meta.dataset == "own"


def broken(layouts):
    label, missing, empty, trap = (layouts.mmsa(True) for _ in range(4))
    label["valid"]["regression_labels"][1] = 4
    del missing["test"]
    empty["train"] = {key: value[:0] for key, value in empty["train"].items()}
    trap["train"]["id"] = np.array([*trap["train"]["id"][:-1], Calls(eval, "1/0")], dtype=object)
    return {
        "truncated": (pickle.dumps(layouts.mmsa(True))[:1000], "not a whole pickle"),
        "label": (pickle.dumps(label), "valid: label of valid_video$_$1 is 4, outside [-3, 3]"),
        "missing": (pickle.dumps(missing), "no test split"),
        "empty": (pickle.dumps(empty), "no train split"),
        "trap": (pickle.dumps(trap), "builtins.eval"),
        "newlines": (b"cos\nsys\\ntem\n.", "os.sys"),
        "undivided": (pickle.dumps(layouts.fold("a", 4, own_words=True)), "--split 70 15 15"),
        "unknown": (pickle.dumps({"a": 1}), "no known layout"),
    }


@pytest.mark.parametrize("case", ["truncated", "label", "missing", "empty", "trap", "newlines", "undivided", "unknown"])
def test_a_bad_source_ends_in_one_line_and_no_file(tmp_path, layouts, capsys, case):
    content, message = broken(layouts)[case]
    (tmp_path / "x.pkl").write_bytes(content)
    out = tmp_path / "stores"
    out.mkdir()
    with pytest.raises(SystemExit) as end:
        main(["data", "import", str(tmp_path / "x.pkl"), "--dataset", "mosi", "--out", str(out / "own.h5")])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""
    assert list(out.iterdir()) == []


def test_a_failed_import_leaves_the_older_store(tmp_path, layouts):
    out = tmp_path / "own.h5"
    before = run_import(save(tmp_path / "x.pkl", layouts.mmsa(True)), out).meta
    (tmp_path / "x.pkl").write_bytes(b"garbage")
    with pytest.raises(SystemExit):
        run_import(tmp_path / "x.pkl", out)
    assert Store(out).meta == before


def spelling(data):
    """MMSA's pickle with the ids of its texts."""
    for part in data.values():
        for row, text in zip(part["text_bert"], part["raw_text"], strict=True):
            ids = tokenizer("minilm")(str(text))["input_ids"]
            row[:] = 0
            row[:2, : len(ids)] = [ids, [1] * len(ids)]
    return data


def test_a_source_with_ids_is_assumed_to_be_bert_base_uncaseds(tmp_path, layouts, capsys):
    path = save(tmp_path / "x.pkl", spelling(layouts.mmsa(True)))
    assumed = run_import(path, tmp_path / "a.h5").meta
    assert (assumed.vocabulary, assumed.vocabulary_sha256, assumed.vocabulary_assumed) == (UNCASED, None, True)
    line = "tokens: assumed to be those of bert-base-uncased; --text-encoder NAME states another"
    assert line in assumed.report and line in capsys.readouterr().out
    stated = run_import(path, tmp_path / "b.h5", "--text-encoder", "minilm").meta
    assert (stated.vocabulary, stated.vocabulary_sha256, stated.vocabulary_assumed) == (UNCASED, UNCASED_SHA256, False)
    assert not any("assumed" in line for line in stated.report)
    assert stated.content_sha256 == assumed.content_sha256


def test_ids_that_do_not_spell_their_text_are_told(tmp_path, layouts):
    data, said = spelling(layouts.mmsa(True)), "do not occur in their text"
    meta = run_import(save(tmp_path / "x.pkl", data), tmp_path / "a.h5").meta
    assert not any(said in line for line in meta.report)
    for part in data.values():
        inner = part["text_bert"][:, 0] > 102
        part["text_bert"][:, 0][inner] += 9000
    meta = run_import(save(tmp_path / "y.pkl", data), tmp_path / "b.h5").meta
    assert any(line.startswith("tokens: read as those of bert-base-uncased, ") and said in line for line in meta.report)


def test_ids_are_not_taken_for_those_of_an_encoder_that_does_not_know_them(tmp_path, layouts, capsys):
    """--text-encoder says whose they are, which whoever wants other tokens may not expect."""
    path = save(tmp_path / "x.pkl", spelling(layouts.mmsa(True)))
    encoder = vocabularies.save(tmp_path / "mpnet", "mpnet")
    with pytest.raises(SystemExit) as end:
        run_import(path, tmp_path / "x.h5", "--text-encoder", encoder)
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and not (tmp_path / "x.h5").exists()
    assert f"not of the vocabulary of {encoder}" in said and "use mmsa data tokenize on the store" in said


def upper_table(tmp_path):
    rows = [f"v{i}$_$0,IT WAS REALLY GREAT,1,{split}" for i, split in enumerate(("train", "valid", "test"))]
    (tmp_path / "u.csv").write_text("\n".join(["id,text,label,split", *rows]))
    return tmp_path / "u.csv"


@pytest.mark.parametrize("family", vocabularies.ONE_OF_EACH)
def test_an_upper_case_transcript_is_lowered_for_a_tokenizer_that_tells_case(tmp_path, family):
    """Against what the tokenizer itself makes of the words in either case."""
    both = [*vocabularies.TEXT, *map(str.upper, vocabularies.TEXT)]
    encoder = vocabularies.save(tmp_path / family, family, text=both)
    for options, words in ((), "it was really great"), (("--keep-case",), "IT WAS REALLY GREAT"):
        found = run_import(upper_table(tmp_path), tmp_path / "x.h5", "--text-encoder", encoder, *options)
        expected = tokenizer(encoder)(words.split(), is_split_into_words=True)["input_ids"]
        assert found.splits["valid"].sequences["tokens"][0].tolist() == expected
        assert found.splits["valid"].raw_text == ["IT WAS REALLY GREAT"]
        assert found.meta.lower_cased is (not options)
        assert any("tokenized in lower case" in line for line in found.meta.report) is (not options)
        assert (found.meta.vocabulary, found.meta.vocabulary_assumed) == (encoder, False)


def test_what_does_not_tell_case_or_is_no_transcript_is_left(tmp_path):
    assert not run_import(upper_table(tmp_path), tmp_path / "x.h5").meta.lower_cased
    (tmp_path / "u.csv").write_text((tmp_path / "u.csv").read_text().replace("WAS REALLY", "was REALLY"))
    encoder = vocabularies.save(tmp_path / "roberta", "roberta")
    found = run_import(tmp_path / "u.csv", tmp_path / "x.h5", "--text-encoder", encoder)
    assert not found.meta.lower_cased and not any("lower case" in line for line in found.meta.report)


def test_ids_of_a_vocabulary_that_is_not_here_keep_its_name(tmp_path, layouts):
    path = save(tmp_path / "x.pkl", layouts.mmsa(True))
    meta = run_import(path, tmp_path / "a.h5", "--tokenizer", tmp_path / "none").meta
    assert (meta.vocabulary, meta.vocabulary_sha256, meta.vocabulary_assumed) == (str(tmp_path / "none"), None, False)
    assert any("cannot be checked here: no tokenizer" in line for line in meta.report)


TABLE = "id,text,label,split\na$_$1,so good,1,train\nb$_$1,bad \u2603 one,-1,dev\nc$_$1,fine,0,test\n"


def test_a_store_knows_the_vocabulary_of_its_text_and_what_is_unknown(tmp_path):
    (tmp_path / "u.csv").write_text(TABLE, encoding="utf-8")
    meta = run_import(tmp_path / "u.csv", tmp_path / "own.h5").meta
    assert (meta.vocabulary, meta.vocabulary_sha256, meta.vocabulary_assumed) == (UNCASED, UNCASED_SHA256, False)
    assert meta.report[0] == "text: 1 of 6 word pieces are unknown to the tokenizer ([UNK])"


def test_a_tokenizer_that_does_not_know_the_text_leaves_no_store(tmp_path, tiny_bert, capsys):
    (tmp_path / "u.csv").write_text(TABLE, encoding="utf-8")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    (foreign / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbad\n")
    for folder, words in ((tiny_bert, "knows no words"), (foreign, "does not know the text: 5 of 6 word pieces")):
        with pytest.raises(SystemExit) as end:
            run_import(tmp_path / "u.csv", tmp_path / "own.h5", "--tokenizer", folder)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
        assert not (tmp_path / "own.h5").exists()


@pytest.mark.parametrize("dataset", ["", "../x", "a b", "a/b"])
def test_a_dataset_name_cannot_leave_its_folder(tmp_path, layouts, capsys, dataset):
    with pytest.raises(SystemExit) as end:
        main(["data", "import", str(save(tmp_path / "x.pkl", layouts.mmsa(True))), "--dataset", dataset])
    assert end.value.code == 2
    assert "a dataset's name may have only letters" in capsys.readouterr().err


def test_what_is_no_store_is_not_replaced(tmp_path, capsys):
    table = tmp_path / "mine.csv"
    table.write_text("id,text,label,split\na$_$1,good,1,train\nb$_$1,bad,-1,valid\nc$_$1,fine,1,test\n")
    before = table.read_text()
    with pytest.raises(SystemExit) as stop:
        main(["data", "import", str(table), "--dataset", "mine", "--out", str(table)])
    assert stop.value.code == 2
    assert "is not a store" in capsys.readouterr().err
    assert table.read_text() == before


def test_an_unwritable_place_is_one_line(tmp_path, layouts, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        run_import(save(tmp_path / "x.pkl", layouts.mmsa(True)), tmp_path / "file" / "own.h5")
    assert end.value.code == 2
    assert "cannot write" in capsys.readouterr().err


def test_real_mosi(tmp_path, real_data):
    options = ["--audio", real_data / "audio_covarep_mean.npz", "--word-vectors", real_data / "glove300.npz"]
    store = run_import(real_data / "utterances.csv", tmp_path / "mosi.h5", *options, dataset="mosi")
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 1284, "valid": 229, "test": 686}
    assert store.dims == {"tokens": None, "text": 300, "audio": 73}
    assert store.meta.aligned
    assert "text: 741 of 27540 words have no vector and got the vector of '<unk>'" in store.meta.report
    audio = store.splits["test"].sequences["audio"][5]
    assert len(audio) == len(store.splits["test"].sequences["tokens"][5])
    assert (audio == audio[0]).all() and audio.any()


def test_real_sims_has_its_range_and_its_unimodal_labels(tmp_path, real_data, capsys):
    folder = real_data.parent / "sims"
    path = folder / "utterances.csv"
    options = ["--audio", folder / "audio_opensmile4.npz", "--vision", folder / "vision_openface_au.npz"]
    store = run_import(path, tmp_path / "sims.h5", *options, dataset="sims")
    assert (store.dims, store.meta.protocol) == ({"tokens": None, "audio": 4, "vision": 16}, "sims")
    assert "warning" not in capsys.readouterr().err
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 1368, "valid": 456, "test": 457}
    assert (store.meta.label_range, list(store.splits["test"].unimodal)) == ([-1, 1], ["text", "audio", "vision"])
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert store.splits["test"].unimodal["vision"].tolist() == pytest.approx([float(r["label_vision"]) for r in rows])


def test_real_mosei_says_which_split_it_lacks_and_how_to_make_one(tmp_path, real_data, capsys):
    path = real_data.parent / "mosei" / "utterances.csv"
    with pytest.raises(SystemExit):
        run_import(path, tmp_path / "mosei.h5", dataset="mosei")
    printed = capsys.readouterr().err
    assert "no test split" in printed and "it has train 16274, valid 1861: mark some of these as test" in printed
    counts = {n: len(s) for n, s in run_import(path, tmp_path / "m.h5", "--split", 70, 15, 15).splits.items()}
    assert counts["train"] == 16274 and counts["valid"] + counts["test"] == 1861
    assert abs(counts["valid"] - counts["test"]) < 20


def test_real_misa_fold(tmp_path, real_data):
    store = run_import(real_data / "misa_dev.pkl", tmp_path / "dev.h5", "--split", 70, 15, 15)
    assert sum(len(split) for split in store.splits.values()) == 229
    assert store.dims == {"tokens": None, "audio": 74, "vision": 47}
    assert store.meta.aligned
    videos = [{i.split("$_$")[0] for i in split.ids} for split in store.splits.values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 10


def test_real_features_of_every_kind(tmp_path, real_data):
    """Their ids are arrays of objects; one utterance shows no action unit at all."""
    options = ["--audio", real_data / "audio_opensmile4.npz", "--vision", real_data / "vision_openface_au.npz"]
    store = run_import(real_data / "utterances.csv", tmp_path / "mosi.h5", *options, dataset="mosi")
    assert store.dims == {"tokens": None, "audio": 4, "vision": 16}
    assert store.meta.aligned
    with np.load(real_data / "vision_openface_au.npz", allow_pickle=True) as archive:
        wanted = dict(zip(archive["id"], archive["features"], strict=True))
    split = store.splits["test"]
    for name, steps in zip(split.ids, split.sequences["vision"], strict=True):
        np.testing.assert_array_equal(steps, [wanted[name].astype(np.float32)] * len(steps))


def test_real_segments_of_the_sdk_are_not_those_of_mmsa(tmp_path, real_data, capsys):
    with pytest.raises(SystemExit):
        options = ["--split", 70, 15, 15, "--vision", real_data / "vision_openface_au.npz"]
        run_import(real_data / "misa_dev.pkl", tmp_path / "dev.h5", *options)
    assert "CMU's SDK counts segments from 0, MMSA from 1" in capsys.readouterr().err


def test_a_real_computational_sequence_of_words_needs_labels(tmp_path, real_data, capsys):
    with pytest.raises(SystemExit) as end:
        run_import(real_data / "words.csd", tmp_path / "x.h5")
    assert end.value.code == 2
    assert "no file holds labels" in capsys.readouterr().err


def test_what_no_check_foresees_is_one_line_too(tmp_path, layouts, capsys):
    """Half of a character outside the basic plane, which the tokenizer refuses."""
    data = layouts.mmsa(True)
    del data["train"]["text_bert"], data["valid"]["text_bert"], data["test"]["text_bert"]
    data["valid"]["raw_text"] = ["so", "it \ud800", "is"]
    path = save(tmp_path / "x.pkl", data)
    with pytest.raises(SystemExit) as end:
        run_import(path, tmp_path / "x.h5")
    assert end.value.code == 2
    assert f"{path} does not hold what its layout needs (TypeError: " in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["x.pkl"]


def import_often(source, out):
    for _ in range(5):
        importer.import_file(source, "own", out)


@pytest.mark.slow
def test_two_imports_to_one_store_leave_one_whole(tmp_path):
    """Both at once, over and over: whoever reads meanwhile finds one of the two, whole."""
    out, known = tmp_path / "own.h5", set()
    workers = []
    for seed in (0, 1):
        table = tmp_path / f"{seed}.csv"
        rows = [f"v{i}$_${i},so it is,{seed},{split}" for i, split in enumerate(["train", "valid", "test"] * 20)]
        table.write_text("id,text,label,split\n" + "\n".join(rows))
        known.add(importer.import_file(table, "own", tmp_path / f"{seed}.h5").content_sha256)
        workers.append(multiprocessing.get_context("fork").Process(target=import_often, args=(table, out)))
    for worker in workers:
        worker.start()
    reads = 0
    while any(worker.is_alive() for worker in workers):
        if out.exists():
            assert Store(out).meta.content_sha256 in known
            reads += 1
    assert reads > 0
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"0.csv", "0.h5", "1.csv", "1.h5", "own.h5"}
