"""Each layout as its upstream's own code builds it, from small random arrays, imported as a user would."""

import pickle
import re

import numpy as np
import pytest
import torch

from mmsa_lightning.cli import main
from mmsa_lightning.data.store import Store
from mmsa_lightning.data.tokenizers import tokenizer

COUNTS = {"train": 6, "valid": 4, "test": 5}
TEXTS = ["i really loved it", "unbelievably bad", "so", "no plot whatsoever um", "it was okay i guess", "fine"]


def dump(path, data, protocol=None):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(data, protocol))
    return path


def stored(source, out, *options):
    main(["data", "import", str(source), "--dataset", "own", "--out", str(out), *options])
    return Store(out)


def spoken(store, name):
    """The words of each utterance of a split, from its tokens."""
    decode = tokenizer("minilm").decode
    return [decode(ids, skip_special_tokens=True) for ids in store.splits[name].sequences["tokens"]]


def noalign(ids, label_columns=1, seed=0):
    """MulT's ``_noalign`` pickle, which MMIM's script reads: zeros in front, ids (n, 3), here with NaN and -inf too."""
    rng = np.random.default_rng(seed)
    data, at = {}, 0
    for name, n in COUNTS.items():
        part = {"labels": np.round(rng.uniform(-3, 3, (n, 1, label_columns)), 1), "text": rng.normal(size=(n, 50, 300))}
        for modality, time, dim in (("vision", 9, 20), ("audio", 7, 5)):
            part[modality] = np.zeros((n, time, dim))
            for row in part[modality]:
                length = rng.integers(1, time)
                row[-length:] = rng.normal(size=(length, dim))
        part["audio"][0, -1, 2] = -np.inf
        part["vision"][1, -1, 3] = np.nan
        part["id"] = np.array([[ids[at + row], b"0.5", b"1.5"] for row in range(n)])
        data[name], at = part, at + n
    return data


def mmim(data, ids, texts):
    """declare-lab/Multimodal-Infomax, src/create_dataset.py, class MOSI (MOSEI differs in its ids alone)."""

    def get_length(x):
        return x.shape[1] - (np.sum(x, axis=-1) == 0).sum(1)

    train, dev, test = [], [], []
    v = np.concatenate((data["train"]["vision"], data["valid"]["vision"], data["test"]["vision"]), axis=0)
    vlens = get_length(v)
    a = np.concatenate((data["train"]["audio"], data["valid"]["audio"], data["test"]["audio"]), axis=0)
    alens = get_length(a)
    label = np.concatenate((data["train"]["labels"], data["valid"]["labels"], data["test"]["labels"]), axis=0)
    L_V = v.shape[1]
    L_A = a.shape[1]
    dev_start = len(data["train"]["id"])
    test_start = dev_start + len(data["valid"]["id"])
    for i, idd in enumerate(ids):
        _words = texts[i].split()
        _label = label[i].astype(np.float32)
        _visual = np.nan_to_num(v[i])
        _acoustic = np.nan_to_num(a[i])
        _vlen = vlens[i]
        _alen = alens[i]
        actual_words = []
        words = []
        for word in _words:
            actual_words.append(word)
        visual = _visual[L_V - _vlen :, :]
        acoustic = _acoustic[L_A - _alen :, :]
        entry = ((words, visual, acoustic, actual_words, _vlen, _alen), _label, idd)
        if i < dev_start:
            train.append(entry)
        elif i < test_start:
            dev.append(entry)
        else:
            test.append(entry)
    return {"train": train, "dev": dev, "test": test}


@pytest.mark.parametrize("dataset, columns", [("MOSI", 1), ("MOSEI", 1), ("MOSEI", 7)])
def test_mmim(tmp_path, capsys, dataset, columns):
    n = sum(COUNTS.values())
    clips = [f"_0-video_{row % 4}_{row}" if dataset == "MOSI" else f"-3g5y_{row % 4}x" for row in range(n)]
    data = noalign([clip.encode() for clip in clips], columns)
    all_id = np.concatenate([data[name]["id"] for name in COUNTS], axis=0)[:, 0]
    texts = [TEXTS[row % len(TEXTS)] for row in range(n)]
    folds = mmim(data, [name.decode("utf-8") for name in all_id.tolist()], texts)
    for name, fold in folds.items():
        dump(tmp_path / dataset / f"{name}.pkl", fold)
    store = stored(tmp_path / dataset, tmp_path / "own.h5")
    assert (store.meta.layout, store.meta.aligned) == ("mmim", False)
    assert store.dims == {"tokens": None, "audio": 5, "vision": 20}
    at = 0
    for name, fold in (("train", folds["train"]), ("valid", folds["dev"]), ("test", folds["test"])):
        split = store.splits[name]
        for row, ((_, visual, acoustic, _, _, _), label, _) in enumerate(fold):
            np.testing.assert_array_equal(split.sequences["vision"][row], visual.astype(np.float32))
            expected = np.where(np.abs(acoustic) < 1e38, acoustic, 0).astype(np.float32)  # nan_to_num's -inf
            np.testing.assert_array_equal(split.sequences["audio"][row], expected)
            assert split.label[row] == label[0, 0]
            video = clips[at].rpartition("_")[0] if dataset == "MOSI" else clips[at]
            segment = re.fullmatch(r"(.*)_(.*)", clips[at])[2] if dataset == "MOSI" else at // 4
            assert split.ids[row] == f"{video}$_${segment}"
            at += 1
        assert spoken(store, name) == texts[at - len(fold) : at] == split.raw_text
    printed = capsys.readouterr().out
    assert ("name only the video" in printed) == (dataset == "MOSEI")
    assert ("labels have 7 columns" in printed) == (columns == 7)


def fet(return_type, aligned=False):
    """thuiar/MMSA-FET, src/MSA_FET/dataset.py, from what ``extract_one`` returns on; ``padding_location='end'``."""
    rng = np.random.default_rng(0)

    def paddingSequence(sequences):
        feature_dim = sequences[0].shape[-1]
        lengths = [s.shape[0] for s in sequences]
        final_length = int(np.mean(lengths) + 3 * np.std(lengths))
        final_sequence = np.zeros([len(sequences), final_length, feature_dim])
        for i, s in enumerate(sequences):
            if len(s) != 0:
                length = min(len(s), final_length)
                final_sequence[i] = np.concatenate((s[:length], np.zeros([final_length - length, feature_dim])), axis=0)
        return final_sequence, final_length

    data = {key: [] for key in ("id", "audio", "vision", "raw_text", "text", "text_bert", "audio_lengths",
                                "vision_lengths", "annotations", "regression_labels", "mode")}  # fmt: skip
    for row in range(sum(COUNTS.values())):
        tokens = int(rng.integers(4, 9))
        steps = {"audio": tokens if aligned else int(rng.integers(1, 12)), "vision": tokens if aligned else 3 + row % 5}
        ids = np.array([101, *rng.integers(1000, 30000, tokens - 2), 102])
        result = {
            "id": f"video{row % 5}$_${row}",
            "raw_text": TEXTS[row % len(TEXTS)],
            "annotations": "Positive",
            "regression_labels": round(rng.uniform(-3, 3), 1),
            "mode": [name for name, n in COUNTS.items() for _ in range(n)][row],
            "text": rng.normal(size=(tokens, 6)).astype(np.float32),
            "text_bert": np.stack([ids, np.ones(tokens), np.zeros(tokens)], axis=-1),
            "audio": rng.normal(size=(steps["audio"], 3)),
            "vision": rng.normal(size=(steps["vision"], 4)),
            "audio_lengths": steps["audio"],
            "vision_lengths": steps["vision"],
        }
        for k, v in result.items():
            data[k].append(v)
    kept = {key: data[key] for key in ("audio", "vision", "text", "text_bert")}
    if aligned:
        data.pop("vision_lengths")
        data.pop("audio_lengths")
    for item in ["audio", "vision", "text", "text_bert"]:
        data[item], final_length = paddingSequence(data[item])
        if f"{item}_lengths" in data:
            for i, length in enumerate(data[f"{item}_lengths"]):
                if length > final_length:
                    data[f"{item}_lengths"][i] = final_length
    data["text_bert"] = data["text_bert"].transpose(0, 2, 1)
    idx_dict = {mode: [i for i, v in enumerate(data["mode"]) if v == mode] for mode in COUNTS}
    data.pop("mode")
    final_data = {k: {} for k in COUNTS}
    for mode, indexes in idx_dict.items():
        for item in data:
            if isinstance(data[item], list):
                final_data[mode][item] = np.array([data[item][v] for v in indexes])
            else:
                final_data[mode][item] = data[item][indexes]
    if return_type == "pt":
        for mode in final_data:
            for key in ["audio", "vision", "text", "text_bert"]:
                final_data[mode][key] = torch.from_numpy(final_data[mode][key])
    return final_data, kept, idx_dict


@pytest.mark.parametrize("aligned", [False, True])
def test_mmsa_fet(tmp_path, aligned):
    contents = {}
    for return_type in ("np", "pt"):
        data, kept, rows = fet(return_type, aligned)
        path = dump(tmp_path / f"{return_type}.pkl", data, pickle.HIGHEST_PROTOCOL)
        contents[return_type] = stored(path, tmp_path / f"{return_type}.h5")
    torch.save(data, tmp_path / "archive.pt")
    contents["archive"] = stored(tmp_path / "archive.pt", tmp_path / "archive.h5")
    torch.save(data, tmp_path / "before.pth", _use_new_zipfile_serialization=False)
    contents["before archives"] = stored(tmp_path / "before.pth", tmp_path / "before.h5")
    assert len({store.meta.content_sha256 for store in contents.values()}) == 1
    store = contents["pt"]
    assert (store.meta.layout, store.meta.aligned) == ("mmsa", aligned)
    for name, indexes in rows.items():
        for row, source in enumerate(indexes):
            for modality in ("audio", "vision", "text"):
                found, steps = store.splits[name].sequences[modality][row], kept[modality][source]
                np.testing.assert_array_equal(found, steps[: len(found)].astype(np.float32))
                assert len(found) == min(len(steps), data[name][modality].shape[1])
            tokens = kept["text_bert"][source][: data[name]["text_bert"].shape[2], 0]
            np.testing.assert_array_equal(store.splits[name].sequences["tokens"][row], tokens)


def misa(seed=0, label_columns=1):
    """declare-lab/MISA, src/create_dataset.py: aligned segments, their pauses left out, normalised one by one."""
    rng = np.random.default_rng(seed)
    word2id, EPS, folds = {"<unk>": 0, "<pad>": 1}, 1e-6, {}
    for name, n in (("train", 6), ("dev", 4), ("test", 5)):
        folds[name] = []
        for row in range(n):
            _words = np.array([[b"sp"], *([word.encode()] for word in TEXTS[row % len(TEXTS)].split()), [b"sp"]])
            _visual, _acoustic = rng.normal(size=(len(_words), 47)), rng.normal(size=(len(_words), 74))
            actual_words, words, visual, acoustic = [], [], [], []
            for i, word in enumerate(_words):
                if word[0] != b"sp":
                    actual_words.append(word[0].decode("utf-8"))
                    words.append(word2id.setdefault(word[0].decode("utf-8"), len(word2id)))
                    visual.append(_visual[i, :])
                    acoustic.append(_acoustic[i, :])
            words, visual, acoustic = np.asarray(words), np.asarray(visual), np.asarray(acoustic)
            visual = np.nan_to_num(
                (visual - visual.mean(0, keepdims=True)) / (EPS + np.std(visual, axis=0, keepdims=True))
            )
            acoustic = np.nan_to_num(
                (acoustic - acoustic.mean(0, keepdims=True)) / (EPS + np.std(acoustic, axis=0, keepdims=True))
            )
            label = np.round(rng.uniform(-3, 3, (1, label_columns)), 1).astype(np.float32)
            folds[name].append(((words, visual, acoustic, actual_words), label, f"{name}{row % 3}[{row}]"))
    return folds


@pytest.mark.parametrize("columns", [1, 7])
def test_misa(tmp_path, columns):
    folds = misa(label_columns=columns)
    for name, fold in folds.items():
        dump(tmp_path / "MOSI" / f"{name}.pkl", fold)
    store = stored(tmp_path / "MOSI", tmp_path / "own.h5")
    assert (store.meta.layout, store.meta.aligned) == ("misa", True)
    for name, fold in (("train", folds["train"]), ("valid", folds["dev"]), ("test", folds["test"])):
        assert spoken(store, name) == [" ".join(entry[0][3]) for entry in fold]
        np.testing.assert_array_equal(store.splits[name].label, [entry[1][0, 0] for entry in fold])
        (_, visual, _, words), _, segment = fold[2]  # "so", one piece: [CLS] so [SEP]
        assert words == ["so"]
        found = store.splits[name].sequences["vision"][2]
        np.testing.assert_array_equal(found, [np.zeros(47), visual[0].astype(np.float32), np.zeros(47)])
        assert store.splits[name].ids[2] == segment.replace("[", "$_$").rstrip("]")


def test_mag_bert(tmp_path):
    """WasifurRahman/BERT_multimodal_transformer reads {split: [((words, visual, acoustic), label, segment)]}."""
    folds = {
        name: [((words, visual, acoustic), label, segment) for (_, visual, acoustic, words), label, segment in fold]
        for name, fold in misa().items()
    }
    for name, fold in misa().items():
        dump(tmp_path / "MOSI" / f"{name}.pkl", fold)
    found = stored(dump(tmp_path / "mosi.pkl", folds), tmp_path / "own.h5")
    assert found.meta.content_sha256 == stored(tmp_path / "MOSI", tmp_path / "misa.h5").meta.content_sha256


@pytest.mark.parametrize("shape", [(-1, 1, 1), (-1, 1, 7), (-1, 7)])
def test_mult_of_mosei(tmp_path, capsys, shape):
    """yaohungt/Multimodal-Transformer, src/dataset.py, reads ``labels`` (n, 1, columns) and ``id`` of text."""
    data = noalign([f"-3g5y{row}".encode() for row in range(15)], shape[-1])
    for part in data.values():
        part["labels"] = part["labels"].reshape(shape)
        part["id"] = part["id"].astype(str)
        part["vision"] = part["vision"].astype(np.float32)
    store = stored(dump(tmp_path / "mosei_senti_data_noalign.pkl", data, 2), tmp_path / "own.h5")
    assert (store.meta.layout, store.meta.aligned) == ("mult", False)
    for name, part in data.items():
        sentiment = part["labels"].reshape(len(part["labels"]), -1)[:, 0]
        np.testing.assert_array_equal(store.splits[name].label, sentiment.astype(np.float32))
        for row, steps in enumerate(part["vision"]):
            used = np.where(np.isnan(steps), 0, steps)[(steps != 0).any(1)]
            np.testing.assert_array_equal(store.splits[name].sequences["vision"][row], used)
    told = "train: labels have 7 columns; the first, sentiment, was taken"
    assert (told in capsys.readouterr().out) == (shape[-1] == 7)
