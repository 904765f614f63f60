import csv

import h5py
import numpy as np
import pytest
import sequences

from mmsa_lightning.cli import main
from mmsa_lightning.data.folds import folds
from mmsa_lightning.data.formats import lag, read
from mmsa_lightning.data.store import Store
from mmsa_lightning.errors import UserError

VOCABULARY = ["sp", "a", "so", "movie", "terrific", "unbelievably", "sp", "i", "really"]
OFFICIAL = folds("mosi") or {}
VIDEOS = [next(v for v, split in OFFICIAL.items() if split == wanted) for wanted in ("train", "valid", "test")]


def recorded(seed=0, videos=VIDEOS):
    """Words, vectors, audio at 100 Hz, vision at 30 Hz with a gap, and labels of a few videos, by name in the SDK."""
    rng = np.random.default_rng(seed)
    made = {name: {} for name in ("words", "glove_vectors", "COVAREP", "FACET_4.2", "Opinion Segment Labels")}
    for video in videos:
        edges = 0.5 + np.cumsum([0, *rng.uniform(0.05, 0.6, 30)])
        times = np.stack([edges[:-1], edges[1:]], axis=1)
        spoken = ["so", *rng.choice(VOCABULARY, 29)]
        made["words"][video] = (sequences.words(" ".join(spoken)), times)
        made["glove_vectors"][video] = (rng.normal(size=(30, 300)).astype(np.float32), times)
        frames = int(edges[-1]) + 1
        made["COVAREP"][video] = (
            rng.normal(size=(100 * frames, 74)).astype(np.float32),
            sequences.regular(0, 100, 100 * frames),
        )
        seen = np.r_[0:60, 90 : 30 * frames]
        faces = rng.normal(size=(30 * frames, 35)).astype(np.float32)
        made["FACET_4.2"][video] = (faces[seen], sequences.regular(0, 30, 30 * frames)[seen])
        labels = np.array([edges[[0, 5]], edges[[5, 14]] + 0.03, edges[[14, 14]], edges[[14, 29]]])
        made["Opinion Segment Labels"][video] = (rng.uniform(-3, 3, (4, 1)), labels)
    return made


def save(folder, made, names=None):
    return {
        name: sequences.write(folder / f"{i}.csd", name, made[name])
        for i, name in enumerate(made)
        if name in (names or made)
    }


@pytest.fixture
def made():
    return recorded()


@pytest.fixture
def files(tmp_path, made):
    return save(tmp_path, made)


def by_the_sdk(made, video):
    """``align`` to words by averaging, ``impute``, and ``align`` to labels, one row at a time, then without pauses."""

    def overlap(a, b):
        return min(a[1], b[1]) - max(a[0], b[0]) > 1e-5

    words, times = made["words"][video]
    found = {}
    for clip, label in enumerate(made["Opinion Segment Labels"][video][1]):
        chosen = [i for i, time in enumerate(times) if overlap(label, time) and words[i, 0] != b"sp"]
        if not chosen:
            continue
        found[f"{video}$_${clip}"] = steps = {"words": [words[i, 0].decode() for i in chosen]}
        for name in made.keys() - {"words", "Opinion Segment Labels"}:
            features, frames = made[name][video]
            near = [[k for k, frame in enumerate(frames) if overlap(times[i], frame)] for i in chosen]
            zeros = np.zeros(features.shape[1])
            steps[name] = np.array([np.average(features[own], axis=0) if own else zeros for own in near])
    return found


def test_alignment_is_that_of_the_sdk(files, made):
    path, *more = files.values()
    source = read(path, more=more, dataset="mosi")
    assert source.layout == "csd" and source.aligned
    for split, video in zip(("train", "valid", "test"), VIDEOS, strict=True):
        found, wanted = source.splits[split], by_the_sdk(made, video)
        assert found.ids == list(wanted) == [f"{video}$_${clip}" for clip in (0, 1, 3)]  # one has no duration
        assert found.label.tolist() == made["Opinion Segment Labels"][video][0][[0, 1, 3], 0].tolist()
        for row, steps in enumerate(wanted.values()):
            assert found.words[row] == steps["words"] and found.raw_text[row] == " ".join(steps["words"])
            for modality, name in (("text", "glove_vectors"), ("audio", "COVAREP"), ("vision", "FACET_4.2")):
                np.testing.assert_allclose(found.features[modality].values[row], steps[name], atol=1e-6)
    empty = sum(
        not row.any() for video in VIDEOS for steps in by_the_sdk(made, video).values() for row in steps["FACET_4.2"]
    )
    assert any(line.startswith(f"vision: nothing overlaps {empty} of ") for line in source.report) and empty
    assert f"3 utterances have no word, or not every modality, and were left out: {VIDEOS[0]}$_$2" in " ".join(
        source.report
    )


def test_rows_may_come_in_any_order_and_labels_count_in_the_files(tmp_path, made):
    save(tmp_path, made)
    plain = read(tmp_path, dataset="mosi").splits["test"]
    for entries in made.values():
        for video, (features, times) in entries.items():
            entries[video] = (features[::-1], times[::-1])
    save(tmp_path, made)
    found = read(tmp_path, dataset="mosi").splits["test"]
    assert found.ids == [f"{VIDEOS[2]}$_${clip}" for clip in (0, 2, 3)]
    assert found.words == plain.words[::-1] and found.label.tolist() == plain.label.tolist()[::-1]
    for modality, sequence in found.features.items():
        for one, other in zip(sequence.values, plain.features[modality].values[::-1], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_folder_makes_a_store(tmp_path, files, made, capsys):
    main(["data", "import", str(tmp_path), "--dataset", "mosi", "--out", str(tmp_path / "x.h5")])
    store = Store(tmp_path / "x.h5")
    assert store.dims == {"tokens": None, "text": 300, "audio": 74, "vision": 35}
    assert (store.meta.layout, store.meta.source, store.meta.aligned) == ("csd", tmp_path.name, True)
    printed = capsys.readouterr().out
    assert "2.csd: COVAREP, read as audio" in printed
    main(["data", "import", *map(str, files.values()), "--dataset", "mosi", "--out", str(tmp_path / "y.h5")])
    again = Store(tmp_path / "y.h5").meta
    assert (again.content_sha256, again.source_sha256) == (store.meta.content_sha256, store.meta.source_sha256)
    assert again.source == "0.csd, 1.csd, 2.csd, 3.csd, 4.csd"


def test_infinite_values_are_put_right_as_in_any_source(tmp_path, made, capsys):
    made["COVAREP"][VIDEOS[0]][0][60:80, 3] = -np.inf
    save(tmp_path, made)
    main(["data", "import", str(tmp_path), "--dataset", "mosi", "--out", str(tmp_path / "x.h5")])
    steps = np.concatenate([own["COVAREP"] for own in by_the_sdk(made, VIDEOS[0]).values()])
    count = int(np.isinf(steps).sum())
    assert count and f"audio: {count} values were infinite or not a number, now 0" in capsys.readouterr().out


def test_vectors_without_words(tmp_path, made):
    del made["words"]
    path, *more = save(tmp_path, made).values()
    split = read(path, more=more, dataset="mosi").splits["valid"]
    assert split.words is split.raw_text is None
    assert split.ids == [f"{VIDEOS[1]}$_${clip}" for clip in (0, 1, 3)]
    np.testing.assert_array_equal(split.features["text"].values[0], made["glove_vectors"][VIDEOS[1]][0][:5])
    assert len(split.features["audio"].values[0]) == 5


def test_without_words_and_vectors_nothing_is_aligned(tmp_path, made):
    path, *more = save(tmp_path, made, ["COVAREP", "FACET_4.2", "Opinion Segment Labels"]).values()
    source = read(path, more=more, dataset="mosi")
    assert not source.aligned
    features, frames = made["COVAREP"][VIDEOS[0]]
    start, end = made["Opinion Segment Labels"][VIDEOS[0]][1][0]
    inside = (frames[:, 1] - start > 1e-5) & (end - frames[:, 0] > 1e-5)
    np.testing.assert_array_equal(source.splits["train"].features["audio"].values[0], features[inside])


def test_labels_of_seven_columns_are_sentiment_first(tmp_path, made):
    labels = made.pop("Opinion Segment Labels")
    made["All Labels"] = {v: (np.hstack([score, np.ones((4, 6))]), times) for v, (score, times) in labels.items()}
    path, *more = save(tmp_path, made).values()
    source = read(path, more=more, dataset="mosi")
    assert source.splits["test"].label.tolist() == labels[VIDEOS[2]][0][[0, 1, 3], 0].tolist()
    assert "labels have 7 columns; the first, sentiment, was taken" in source.report


def test_names_of_features_are_kept_where_all_are_named(tmp_path, made):
    for name, several in (("COVAREP", 74), ("OpenSMILE", 74), ("FACET_4.2", 36)):
        named = {"dimension names": [f"{name}{i}" for i in range(several)]}
        sequences.write(tmp_path / f"{name}.csd", name, made["COVAREP" if several == 74 else name], **named)
    save(tmp_path, made, ["words", "Opinion Segment Labels"])
    source = read(tmp_path, dataset="mosi")
    assert source.names == {"audio": [f"{name}{i}" for name in ("COVAREP", "OpenSMILE") for i in range(74)]}
    assert "vision: FACET_4.2.csd names 36 features and has 35; the names were left out" in source.report
    assert "audio: features of 2 sequences were joined, in this order" in source.report
    values = source.splits["train"].features["audio"].values[0]
    np.testing.assert_array_equal(values[:, :74], values[:, 74:])


def test_what_is_not_recognised_can_be_stated(tmp_path, made):
    made["mine"] = made.pop("COVAREP")
    files = save(tmp_path, made)
    path, *more = files.values()
    with pytest.raises(UserError, match=r"holds mine, and what that is cannot be told .*: state it with --audio"):
        read(path, more=more, dataset="mosi")
    stated = read(path, more=more, dataset="mosi", audio=files["mine"])
    others = [file for file in more if file != files["mine"]]
    assert stated.splits["test"].features["audio"].values[0].shape[1] == 74
    assert read(path, more=others, dataset="mosi", audio=files["mine"]).report == stated.report
    replaced = read(path, more=others, dataset="mosi", vision=files["mine"])
    assert replaced.splits["test"].features["vision"].values[0].shape[1] == 74
    assert any(line.startswith("vision: ") and "replaces" in line for line in replaced.report)
    with pytest.raises(UserError, match="holds words, not features of audio"):
        read(files["FACET_4.2"], more=[files["Opinion Segment Labels"]], dataset="mosi", audio=files["words"])


def test_features_and_vectors_of_an_npz_go_beside(tmp_path, made):
    path, *more = save(tmp_path, made, ["words", "Opinion Segment Labels"]).values()
    ids = [f"{video}$_${clip}" for video in VIDEOS for clip in range(4)]
    np.savez(tmp_path / "a.npz", id=[f"{i.split('$')[0]}[{i[-1]}]" for i in ids], features=np.arange(12.0)[:, None])
    np.savez(tmp_path / "g.npz", words=["so"], vectors=[[1.0, 2]])
    source = read(path, more=more, dataset="mosi", audio=tmp_path / "a.npz", word_vectors=tmp_path / "g.npz")
    assert [values.item() for values in source.splits["valid"].features["audio"].values] == [4, 5, 7]
    assert source.splits["valid"].features["text"].values[0][0].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["COVAREP", "words", "Opinion Segment Labels"])
def test_videos_that_are_not_everywhere_or_in_no_fold_are_left_out_and_told(tmp_path, name):
    made = recorded(videos=[*VIDEOS, "elsewhere"])
    del made[name][VIDEOS[0]]
    save(tmp_path, made)
    source = read(tmp_path, dataset="mosi")
    assert source.splits.keys() == {"valid", "test"}
    assert f"1 videos are not in all sequences and were left out: {VIDEOS[0]}" in source.report
    assert "1 videos are in no official fold and were left out: elsewhere" in source.report
    with pytest.raises(UserError, match="is not divided into train, valid and test"):
        read(tmp_path, dataset="mine")
    assert len(read(tmp_path, dataset="mine", split=(1, 1, 1)).splits) == 3
    with pytest.raises(UserError, match="is divided into valid, test already"):
        read(tmp_path, dataset="mosi", split=(1, 1, 1))


def without(made, name, video=None):
    if video is None:
        del made[name]
    else:
        del made[name][video]


def rename(made, name, other):
    made[other] = made.pop(name)


def elsewhere(made):
    made["COVAREP"] = {"elsewhere": made["COVAREP"][VIDEOS[0]]}


def segments(made):
    made["Opinion Segment Labels"] = {f"{video}[0]": entry for video, entry in made["Opinion Segment Labels"].items()}


def at_other_times(made):
    made["words"] = {video: (words, times + 1000) for video, (words, times) in made["words"].items()}


def three_columns(made):
    video = VIDEOS[0]
    made["Opinion Segment Labels"][video] = (np.ones((4, 3)), made["Opinion Segment Labels"][video][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: without(made, "Opinion Segment Labels"), "no file holds labels"),
        (lambda made: [without(made, name) for name in list(made)[:-1]], "holds labels; name the .csd of words"),
        (lambda made: rename(made, "words", "COVAREP_2"), "COVAREP_2 should hold audio, and it holds words"),
        (lambda made: rename(made, "COVAREP", "words_2"), "words_2 should hold words, and it holds numbers"),
        (lambda made: made.update({"words_2": made["words"]}), r"0\.csd and .*5\.csd both hold words"),
        (elsewhere, "no video is in all of the sequences: .* has elsewhere"),
        (segments, "has labels of the segments"),
        (at_other_times, "at none of its labels are there words and every modality"),
        (three_columns, r"labels of .* has shape \(4, 3\): 1 column"),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path, made, change, message):
    change(made)
    save(tmp_path, made)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, dataset="mosi")
    assert "\n" not in str(error.value)


def test_a_video_may_have_no_label_or_nothing_but_labels(tmp_path, made):
    made["Opinion Segment Labels"][VIDEOS[0]] = (np.zeros((0, 1)), np.zeros((0, 2)))
    made["COVAREP"][VIDEOS[1]] = (np.zeros((0, 74)), np.zeros((0, 2)))
    save(tmp_path, made)
    splits = read(tmp_path, dataset="mosi").splits
    assert splits.keys() == {"valid", "test"} and len(splits["valid"].ids) == 3
    assert not any(values.any() for values in splits["valid"].features["audio"].values)


def test_a_file_named_twice_counts_once(tmp_path, files):
    source = read(tmp_path, more=[files["COVAREP"], files["words"]], dataset="mosi")
    assert source.splits["test"].features["audio"].values[0].shape[1] == 74


def test_videos_of_other_data_are_not_mosi(tmp_path):
    save(tmp_path, recorded(videos=["a", "b"]))
    with pytest.raises(UserError, match="no video is in the official folds of mosi: a, b; other data need"):
        read(tmp_path, dataset="mosi")


def test_a_broken_file_ends_in_one_line_and_no_store(tmp_path, files, capsys):
    with h5py.File(files["FACET_4.2"], "r+") as file:
        del file[f"FACET_4.2/data/{VIDEOS[2]}/intervals"]
    with pytest.raises(SystemExit) as end:
        main(["data", "import", str(tmp_path), "--dataset", "mosi", "--out", str(tmp_path / "x.h5")])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert said.startswith(f"error: {files['FACET_4.2']} is not a usable computational sequence (")
    assert not (tmp_path / "x.h5").exists()


def test_a_sequence_beside_another_layout_is_refused(tmp_path, files):
    table = tmp_path / "u.csv"
    table.write_text("id,text,label,split\na,so,1,train\n")
    with pytest.raises(UserError, match=r"--audio .*: a computational sequence adds to other \.csd"):
        read(table, audio=files["COVAREP"])
    with pytest.raises(UserError, match=r"u\.csv is not a \.csd, and only these are imported several at once"):
        read(files["COVAREP"], more=[table])


def test_pickles_come_before_the_sequences_that_they_were_made_of(tmp_path, layouts):
    import pickle

    sequences.write(tmp_path / "w.csd", "words", recorded()["words"])
    for fold in ("train", "dev", "test"):
        (tmp_path / f"{fold}.pkl").write_bytes(pickle.dumps(layouts.fold(fold, 3, own_words=True)))
    source = read(tmp_path)
    assert source.layout == "misa"
    assert source.report[-1] == "the pickles were read, and not the .csd beside them: name these to read them"


def timed(videos, seed=0):
    """Words that take as long as they have letters."""
    rng = np.random.default_rng(seed)
    made = {"words": {}, "glove_vectors": {}, "Opinion Segment Labels": {}}
    for video in videos:
        spoken = ["so", *rng.choice(VOCABULARY, 150), "so"]
        edges = 1 + np.cumsum([0, *(len(word) * rng.uniform(0.05, 0.1) for word in spoken)])
        times = np.stack([edges[:-1], edges[1:]], axis=1)
        made["words"][video] = (sequences.words(" ".join(spoken)), times)
        made["glove_vectors"][video] = (np.arange(152.0)[:, None], times)
        made["Opinion Segment Labels"][video] = (np.ones((2, 1)), np.array([edges[[0, 70]], edges[[70, 151]]]))
    return made


def test_words_that_lag_are_put_right_and_so_are_their_vectors(tmp_path):
    made = timed(VIDEOS)
    save(tmp_path, made)
    wanted = read(tmp_path, dataset="mosi")
    assert not any("lag" in line for line in wanted.report)
    for name in ("words", "glove_vectors"):
        for video, (features, times) in made[name].items():
            later = np.concatenate([times[1:], [[times[-1, 1], times[-1, 1] + 1]]])
            np.testing.assert_array_equal(lag.put_right(later)[1:], times[1:])
            made[name][video] = (features, later)
    save(tmp_path, made)
    found = read(tmp_path, dataset="mosi")
    assert any(line.startswith("words: the times in the file lag by one") for line in found.report)
    for name, split in found.splits.items():
        assert split.words == wanted.splits[name].words
        for one, other in zip(split.features["text"].values, wanted.splits[name].features["text"].values, strict=True):
            np.testing.assert_array_equal(one, other)


def test_real_words_of_mosi(tmp_path, real_data):
    """Against the transcript. By the SDK's rule a word on the edge of an utterance is in it, which costs a few."""
    with (real_data / "utterances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clips = {}
    for row in rows:
        video, clip = row["id"].split("$_$")
        clips.setdefault(video, {})[int(clip)] = row
    ordered = {video: [found[clip] for clip in sorted(found)] for video, found in clips.items()}
    labels = {
        video: ([[float(row["label"])] for row in of], [[float(row["start"]), float(row["end"])] for row in of])
        for video, of in ordered.items()
    }
    sequences.write(tmp_path / "l.csd", "Opinion Segment Labels", labels)
    source = read(real_data / "words.csd", more=[tmp_path / "l.csd"], dataset="mosi")
    equal = near = 0
    for name, split in source.splits.items():
        for utterance, words in zip(split.ids, split.words, strict=True):
            video, clip = utterance.split("$_$")
            row = ordered[video][int(clip)]
            assert row["split"] == name
            spoken = row["text"].lower().split()
            equal += words == spoken
            near += abs(len(words) - len(spoken)) <= 2
    assert {name: len(split.ids) for name, split in source.splits.items()} == {"train": 1283, "valid": 229, "test": 686}
    assert (equal, near) == (1898, 2194)
    assert any("lag by one" in line for line in source.report)
