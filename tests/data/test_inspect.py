import pickle
import re
import subprocess
import sys

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
    assert "1284 / 229 / 686 (Table 1)" in " ".join(text.split())
    assert "word pieces of bert-base-uncased, it is assumed" in text
    assert "768 features" in text
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
    assert "word pieces of bert-base-uncased\n" in text
    assert "Table 1" not in text


def test_the_command_prints_it(described, capsys):
    capsys.readouterr()
    main(["data", "inspect", str(described[0].path)])
    assert capsys.readouterr().out == described[1] + "\n"


def test_a_reader_that_has_had_enough_is_no_mistake(described):
    command = [sys.executable, "-c", "from mmsa_lightning.cli import main; main()"]
    arguments = ["data", "inspect", str(described[0].path)]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
