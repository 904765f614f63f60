import pickle
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mmsa_lightning.cli import main
from mmsa_lightning.data import store
from mmsa_lightning.data.inspect import describe
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import Meta, Split, Store


@pytest.fixture
def described(tmp_path, layouts):
    (tmp_path / "aligned_50.pkl").write_bytes(pickle.dumps(layouts.mmsa(aligned=True)))
    main(["data", "import", str(tmp_path / "aligned_50.pkl"), "--dataset", "mosi", "--out", str(tmp_path / "mosi.h5")])
    return Store(tmp_path / "mosi.h5"), describe(Store(tmp_path / "mosi.h5"))


def test_provenance_counts_and_report(described):
    found, text = described
    for part in ("mmsa", "aligned_50.pkl", found.meta.source_sha256, found.meta.content_sha256, "not a known release"):
        assert part in text
    assert re.search(r"train +5\n +valid +3\n +test +4\n", text)
    assert "1284 / 229 / 686: not comparable" in " ".join(text.split())
    assert "word pieces of bert-base-uncased, it is assumed" in text
    assert "768 features" in text
    assert re.search(r"metrics +protocol mosi\n", text)
    assert re.search(r"missing +no modality", text)
    assert re.search(r"aligned +yes", text)
    assert "no true labels" in text
    for line in found.meta.report:
        assert line in text


def test_it_is_plain_and_fits_100_columns(described):
    lines = described[1].splitlines()[1:]  # the first is the path
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in described[1]


def test_lengths_labels_and_what_is_missing(tmp_path):
    lengths = [*range(1, 101)]
    tokens = Loaded([np.ones(n, np.int32) for n in lengths])
    label = np.repeat(np.float32([-3, -2.6, -0.4, 0.5, 1.5]), 20)
    split = Split([str(n) for n in lengths], label, {"tokens": tokens}, unimodal={"text": label})
    meta = Meta("own", "table", "x.csv", "0" * 64, None, True, "bert-base-uncased", [])
    store.write(tmp_path / "x.h5", dict.fromkeys(store.SPLITS, split), meta)
    text = describe(Store(tmp_path / "x.h5"))
    assert re.search(r"tokens +valid +6 +26 +51 +76 +96 +100\n", text)
    assert re.search(r"-3 +40 +40 +40 +40\.0% #{20}\n", text)
    assert re.search(r"\n  0 +40 +40 +40 +40\.0%", text)  # 0.5 goes to the even class, as np.round does it
    assert re.search(r"\+2 +20 +20 +20 +20\.0%", text)
    assert re.search(r"\+1 +0 +0 +0 +0\.0%", text)
    assert re.search(r"missing +audio, vision", text)
    assert "true labels of text" in text
    assert "nothing had to be put right" in text
    assert "word pieces of bert-base-uncased\n" in text  # a store from before more was kept
    known = replace(meta, vocabulary_sha256="abcdef012345" + "9" * 52, lower_cased=True)
    store.write(tmp_path / "x.h5", dict.fromkeys(store.SPLITS, split), known)
    said = "word pieces of bert-base-uncased (SHA-256 abcdef012345), of the text in lower case\n"
    assert said in describe(Store(tmp_path / "x.h5"))
    assert "not comparable" not in text


def test_labels_on_another_scale(tmp_path):
    tokens = Loaded([np.ones(1, np.int32)] * 22)
    label = np.repeat(np.linspace(-1, 1, 11, dtype=np.float32), 2)
    audio = np.where(np.arange(22) < 5, np.float32(np.nan), label)
    split = Split([str(n) for n in range(22)], label, {"tokens": tokens}, unimodal={"text": label, "audio": audio})
    texts = {}
    for bounds in ([-1.0, 1.0], [1.0, 5.0]):
        meta = Meta("own", "table", "x.csv", "0" * 64, None, True, "bert-base-uncased", [], label_range=bounds)
        shown = replace(split, label=label * 2 + 3 if bounds[0] > 0 else label)
        store.write(tmp_path / "x.h5", dict.fromkeys(store.SPLITS, shown), meta)
        texts[bounds[1]] = " ".join(describe(Store(tmp_path / "x.h5")).split())
    for value in ("-1", "-0.8", "-0.6", "-0.4", "-0.2", "0", "+0.2", "+0.4", "+0.6", "+0.8", "+1"):
        assert f" {value} 2 2 2 9.1% #####" in texts[1]
    assert "true labels of text, audio (17 of train)" in texts[1]
    assert "Labels in [-1, 1], rounded" in texts[1] and "Labels in [1, 5], rounded" in texts[5]
    assert " +1 2 2 2 9.1%" in texts[5] and " +1.4 2 2 2 9.1%" in texts[5] and " +5 2 2 2 9.1%" in texts[5]
    assert all("acc7 and acc5 need labels in [-3, 3]: undefined here" in text for text in texts.values())
    assert "warning labels in [1, 5] are not negative and positive" in texts[5] and "warning" not in texts[1]


def test_the_command_prints_it(described, capsys):
    capsys.readouterr()
    main(["data", "inspect", str(described[0].path)])
    assert capsys.readouterr().out == described[1] + "\n"


@pytest.mark.slow
def test_a_reader_that_has_had_enough_is_no_mistake(described):
    command = [sys.executable, "-c", "from mmsa_lightning.cli import main; main()"]
    arguments = ["data", "inspect", str(described[0].path)]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
