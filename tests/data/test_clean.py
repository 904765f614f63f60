from typing import Any

import numpy as np
import pytest

from mmsa_lightning.data.clean import clean
from mmsa_lightning.data.formats import misa, mmsa, mult
from mmsa_lightning.data.source import Sequences, Source, SourceSplit
from mmsa_lightning.data.tokens import Pieces
from mmsa_lightning.errors import UserError


def source_of(audio, *, aligned=False, lengths=None, n=3):
    """A source whose three splits hold the same ``audio``."""
    splits = {
        name: SourceSplit(
            [f"{name}$_${i}" for i in range(n)], np.zeros(n), features={"audio": Sequences(audio, lengths)}
        )
        for name in ("train", "valid", "test")
    }
    return Source("mult", splits, aligned)


def padded_audio(side):
    """Lengths 4, 2 and 3 of 5, each with one zero row inside where there is room."""
    audio = np.zeros((3, 5, 2), np.float32)
    for row, length in enumerate((4, 2, 3)):
        steps = np.arange(1, 1 + 2 * length).reshape(length, 2)
        if length > 2:
            steps[1] = 0
        audio[row, slice(5 - length, 5) if side == "left" else slice(0, length)] = steps
    return audio


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_found_on_its_side_and_interior_zeros_stay(side):
    cleaned = clean(source_of(padded_audio(side)))
    audio = cleaned.splits["valid"].sequences["audio"]
    assert audio.lengths.tolist() == [4, 2, 3]
    np.testing.assert_array_equal(audio[2], [[1, 2], [0, 0], [5, 6]])
    assert cleaned.report == [f"audio: padded on the {side}, removed"]


def test_no_padding_is_not_reported():
    cleaned = clean(source_of(np.ones((3, 5, 2), np.float32)))
    assert cleaned.report == []
    assert cleaned.splits["test"].sequences["audio"].lengths.tolist() == [5, 5, 5]


def test_videos_in_several_splits_are_told_of():
    source = source_of(np.ones((3, 5, 2), np.float32))
    for name, ids in {
        "train": ["a$_$1", "b$_$1", "c$_$1"],
        "valid": ["d$_$1", "b$_$2", "a$_$2"],
        "test": "efg",
    }.items():
        source.splits[name].ids[:] = ids
    assert clean(source).report == ["train and valid share 2 videos, such as a"]


def test_a_row_of_infinities_is_not_padding():
    audio = padded_audio("right")
    audio[1, 1] = -np.inf
    cleaned = clean(source_of(audio))
    assert cleaned.splits["train"].sequences["audio"].lengths.tolist() == [4, 2, 3]
    np.testing.assert_array_equal(cleaned.splits["train"].sequences["audio"][1], [[1, 2], [0, 0]])
    assert "audio: 6 values were infinite or not a number, now 0" in cleaned.report


def test_what_is_not_finite_becomes_zero_and_the_source_is_left_alone():
    audio = np.ones((3, 2, 3), np.float64)
    audio[0, 0] = [np.nan, np.inf, -np.inf]
    audio[1, 0, 0] = 1e300  # too large for float32
    cleaned = clean(source_of(audio))
    np.testing.assert_array_equal(cleaned.splits["train"].sequences["audio"][0], [[0, 0, 0], [1, 1, 1]])
    assert cleaned.report == [
        "audio: float64 in the source, stored as float32",
        "audio: 12 values were infinite or not a number, now 0",
    ]
    assert np.isnan(audio[0, 0, 0])


def test_stated_lengths_are_clipped_and_what_lies_beyond_is_reported():
    cleaned = clean(source_of(padded_audio("right"), lengths=np.array([9, 1, 3])))
    assert cleaned.splits["train"].sequences["audio"].lengths.tolist() == [5, 1, 3]
    assert "audio: 3 utterances have values beyond their stated length, removed" in cleaned.report


def test_lengths_longer_than_the_array_are_clipped_when_padded_in_front():
    cleaned = clean(source_of(padded_audio("left"), lengths=np.array([9, 2, 3])))
    assert cleaned.splits["train"].sequences["audio"].lengths.tolist() == [5, 2, 3]
    assert cleaned.report == ["audio: padded on the left, removed"]


def test_unpadded_sequences_of_zeros_become_one_zero_step():
    cleaned = clean(
        source_of([np.ones((2, 2), np.float32), np.zeros((4, 2), np.float32), np.zeros((0, 2), np.float32)])
    )
    assert cleaned.splits["train"].sequences["audio"].lengths.tolist() == [2, 1, 1]


def test_empty_sequences_become_one_zero_step():
    audio = padded_audio("left")
    audio[1] = 0
    cleaned = clean(source_of(audio))
    assert cleaned.splits["train"].sequences["audio"].lengths.tolist() == [4, 1, 3]
    assert "audio: 3 utterances are empty or zero throughout, kept as one step of zeros" in cleaned.report


def test_mmsa_aligned_is_cut_to_the_mask(layouts):
    data = layouts.mmsa(aligned=True)
    cleaned = clean(mmsa.read(data), label_range=(-3, 3))
    assert cleaned.aligned
    part, split = data["train"], cleaned.splits["train"]
    for i, length in enumerate(part["text_bert"][:, 1].sum(1).astype(int)):
        np.testing.assert_array_equal(split.sequences["tokens"][i], part["text_bert"][i, 0, :length])
        np.testing.assert_array_equal(split.sequences["text"][i], part["text"][i, :length])
        np.testing.assert_array_equal(split.sequences["vision"][i], part["vision"][i, -length:])
        expected = np.where(np.isinf(part["audio"][i, -length:]), 0, part["audio"][i, -length:])
        np.testing.assert_array_equal(split.sequences["audio"][i], expected.astype(np.float32))
    np.testing.assert_array_equal(split.label, part["regression_labels"].astype(np.float32))
    assert cleaned.report == [
        "audio: float64 in the source, stored as float32",
        "audio: padded on the left, removed",
        "vision: padded on the left, removed",
        "audio: 3 values were infinite or not a number, now 0",
    ]


TEXTS = (["good", "film"], ["unbelievably", "good"], ["a", "film", "unbelievably", "bad"])


def without_tokens(side, *, on_pieces=False, time=9):
    """MMSA's aligned pickle without ``text_bert``: step i of audio is i + 1 throughout; and pieces of the text."""
    pieces = []
    for words in TEXTS:
        word = [i for i, w in enumerate(words) for _ in range(2 if w == "unbelievably" else 1)]
        pieces.append(Pieces(np.arange(1, len(word) + 3), np.array([-1, *word, -1]), cut=False))
    data = {}
    for name in ("train", "valid", "test"):
        audio, vision = np.zeros((3, time, 2), np.float32), np.zeros((3, time, 4), np.float32)
        for row, words in enumerate(TEXTS):
            n = len(pieces[row].ids) if on_pieces else len(words)
            place = slice(time - n, time) if side == "left" else slice(0, n)
            audio[row, place] = np.arange(1, n + 1)[:, None]
            vision[row, place] = 1
        ids = np.array([f"{name}$_${i}" for i in range(3)])
        texts = np.array([" ".join(words) for words in TEXTS])
        data[name] = {"id": ids, "raw_text": texts, "regression_labels": np.zeros(3), "audio": audio, "vision": vision}
    return data, dict.fromkeys(data, pieces)


@pytest.mark.parametrize("side", ["left", "right"])
def test_mmsa_aligned_to_words_without_tokens_goes_on_the_pieces_of_its_words(side):
    data, pieces = without_tokens(side)
    if side == "right":  # the last word of one is silent, and has no face
        data["test"]["audio"][0, 1] = data["test"]["vision"][0, 1] = 0
    cleaned = clean(mmsa.read(data), pieces)
    assert cleaned.aligned
    assert "audio: one step per word, given to each of its word pieces" in "".join(cleaned.report)
    found = [steps[:, 0].tolist() for steps in cleaned.splits["test"].sequences["audio"]]
    assert found == [[0, 1, 2 * (side == "left"), 0], [0, 1, 1, 2, 0], [0, 1, 2, 3, 3, 4, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_mmsa_aligned_to_pieces_without_tokens_stays_on_them(side):
    data, pieces = without_tokens(side, on_pieces=True)
    cleaned = clean(mmsa.read(data), pieces)
    assert cleaned.aligned and "per word" not in "".join(cleaned.report)
    found = [steps[:, 0].tolist() for steps in cleaned.splits["test"].sequences["audio"]]
    assert found == [[1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7]]


def test_mmsa_aligned_to_neither_is_not_aligned_and_says_so():
    data, _ = without_tokens("right")
    for part in data.values():
        part["raw_text"] = np.array(["good"] * 3)
    cleaned = clean(mmsa.read(data), dict.fromkeys(data, [Pieces(np.arange(3), np.array([-1, 0, -1]), False)] * 3))
    assert not cleaned.aligned
    assert "audio: 9 utterances differ in length from their tokens, so nothing is aligned" in cleaned.report
    assert [len(steps) for steps in cleaned.splits["test"].sequences["audio"]] == [2, 2, 4]


def test_mmsa_features_beyond_the_mask_make_it_unaligned(layouts):
    data = layouts.mmsa(aligned=True)
    data["train"]["vision"][2] = 1
    cleaned = clean(mmsa.read(data))
    assert not cleaned.aligned
    assert "vision: 1 utterances have steps after their text ends, so nothing is aligned" in cleaned.report
    np.testing.assert_array_equal(cleaned.splits["train"].sequences["vision"][2], np.ones((50, 20)))


def test_an_aligned_utterance_of_zeros_keeps_its_steps(layouts):
    data = layouts.mmsa(aligned=True)
    data["train"]["vision"][1] = 0
    cleaned = clean(mmsa.read(data))
    assert cleaned.aligned
    assert "vision: 1 utterances are empty or zero throughout, kept as zeros" in cleaned.report


def test_mmsa_unaligned_uses_the_stated_lengths(layouts):
    data = layouts.mmsa(aligned=False)
    cleaned = clean(mmsa.read(data))
    assert not cleaned.aligned
    for name, part in data.items():
        sequences = cleaned.splits[name].sequences
        assert sequences["audio"].lengths.tolist() == part["audio_lengths"]
        assert sequences["vision"].lengths.tolist() == part["vision_lengths"]
        np.testing.assert_array_equal(sequences["vision"][1], part["vision"][1, : part["vision_lengths"][1]])


def test_mult_aligned_shares_its_steps_even_where_a_word_has_no_vector(layouts):
    data = layouts.mult({"text": 50, "audio": 50, "vision": 50})
    lengths = [(row != 0).any(1).sum() for row in data["train"]["vision"]]
    data["train"]["text"][0, 50 - lengths[0]] = 0  # an unknown first word
    cleaned = clean(mult.read(data))
    assert cleaned.aligned
    assert cleaned.splits["train"].sequences["text"].lengths.tolist() == lengths
    np.testing.assert_array_equal(cleaned.splits["train"].sequences["text"][1], data["train"]["text"][1, -lengths[1] :])
    assert cleaned.splits["train"].label.shape == (5,)
    assert "tokens" not in cleaned.splits["train"].sequences


def test_mult_unaligned_finds_each_length(layouts):
    data = layouts.mult({"text": 50, "audio": 375, "vision": 500})
    cleaned = clean(mult.read(data))
    assert not cleaned.aligned
    for modality in ("text", "audio", "vision"):
        assert f"{modality}: padded on the left, removed" in cleaned.report
        length = int((data["test"][modality][2] != 0).any(1).sum())
        np.testing.assert_array_equal(
            cleaned.splits["test"].sequences[modality][2], data["test"][modality][2, -length:]
        )


def words_source(layouts):
    source = misa.read({name: layouts.fold(name, 3, own_words=True) for name in ("train", "dev", "test")})
    # "unbelievably" falls in two pieces, every other word is one
    pieces = {}
    for name, split in source.splits.items():
        pieces[name] = []
        for words in split.words:
            word = [i for i, w in enumerate(words) for _ in range(2 if w == "unbelievably" else 1)]
            pieces[name].append(Pieces(np.arange(1, len(word) + 3), np.array([-1, *word, -1]), cut=False))
    return source, pieces


def test_word_features_go_on_the_token_grid(layouts):
    source, pieces = words_source(layouts)
    cleaned = clean(source, pieces)
    assert cleaned.aligned
    found, steps = cleaned.splits["train"].sequences["audio"][1], source.splits["train"].features["audio"].values[1]
    np.testing.assert_array_equal(found, [np.zeros(74), steps[0], steps[0], steps[1], np.zeros(74)])


def test_the_words_of_a_text_are_between_blanks(layouts):
    """As in a table, whose features in files of their own may have one step a word."""
    source, pieces = words_source(layouts)
    source.aligned, expected = False, clean(source, pieces).splits["test"].sequences["vision"]
    for split in source.splits.values():
        split.raw_text, split.words = [" ".join(words) for words in split.words], None
    cleaned = clean(source, pieces)
    assert cleaned.aligned and "vision: one step per word, given to each" in "".join(cleaned.report)
    for i in range(3):
        np.testing.assert_array_equal(cleaned.splits["test"].sequences["vision"][i], expected[i])


def test_one_word_of_zeros_that_was_taken_for_padding_is_told_of(layouts):
    """As in a file of features without lengths: then no word can be given its step."""
    source, pieces = words_source(layouts)
    source.aligned = False
    audio = source.splits["valid"].features["audio"].values
    audio[2] = audio[2][:-1]
    cleaned = clean(source, pieces)
    n = len(source.splits["valid"].words[2])
    (line,) = (line for line in cleaned.report if "as the others do" in line)
    assert line.startswith("audio: 1 utterances do not have one step per word")
    assert f"{source.splits['valid'].ids[2]} has {n - 1} for {n} words" in line
    assert not any(line.startswith("vision") and "others" in line for line in cleaned.report)


def test_features_of_other_steps_leave_the_others_on_the_grid_and_are_told_of(layouts):
    source, pieces = words_source(layouts)
    audio = source.splits["valid"].features["audio"].values
    audio[2] = np.vstack([audio[2], audio[2]])
    cleaned = clean(source, pieces)
    assert not cleaned.aligned
    assert (
        "vision: one step per word, given to each of its word pieces; the begin and the end mark got zeros"
        in cleaned.report
    )
    assert "audio: 9 utterances differ in length from their tokens, so nothing is aligned" in cleaned.report


def test_one_step_per_utterance_is_repeated():
    source = source_of([np.full((1, 2), float(i + 1), np.float32) for i in range(3)])
    pieces = {name: [Pieces(np.arange(1, 5), np.array([-1, 0, 1, -1]), False)] * 3 for name in source.splits}
    cleaned = clean(source, pieces)
    assert cleaned.aligned
    assert cleaned.report == ["audio: one step per utterance, repeated over the tokens"]
    np.testing.assert_array_equal(cleaned.splits["train"].sequences["audio"][1], np.full((4, 2), 2))


def break_ids(s):
    s.splits["test"].ids[1] = "train$_$0"


def break_column(s):
    s.splits["valid"].raw_text = ["one"]


def break_contents(s):
    s.splits["valid"].unimodal = {"audio": np.zeros(3)}


def break_width(s):
    s.splits["test"].features["audio"].values = np.ones((3, 5, 7), np.float32)


def break_rows(s):
    s.splits["test"].features["audio"].values = np.ones((2, 5, 2), np.float32)


def break_label_shape(s):
    s.splits["train"].label = np.zeros((3, 2))


@pytest.mark.parametrize(
    "breaks, message",
    [
        (break_ids, r"the id train\$_\$0 occurs twice: in train and in test"),
        (break_column, "valid: 1 rows of raw_text, but 3 ids"),
        (break_contents, "valid holds audio, audio labels, but train holds audio"),
        (break_width, r"test: audio of test\$_\$0 has width 7, but train\$_\$0 has 2"),
        (break_rows, "test: 2 rows of audio, but 3 ids"),
        (break_label_shape, r"train: label has shape \(3, 2\)"),
        (
            lambda s: s.splits.pop("test"),
            r"no test split, or it is empty; .* it has train 3, valid 3: mark some of these as",
        ),
        (lambda s: s.splits["valid"].ids.clear(), "no valid split, or it is empty"),
    ],
)
def test_what_cannot_be_put_right_is_refused(breaks, message):
    source = source_of(np.ones((3, 5, 2), np.float32))
    breaks(source)
    with pytest.raises(UserError, match=message):
        clean(source)


@pytest.mark.parametrize("value", [3.01, -4, np.nan, np.inf])
def test_a_label_outside_the_scale_is_named(value):
    source = source_of(np.ones((3, 5, 2), np.float32))
    source.splits["valid"].label[1] = value
    with pytest.raises(UserError, match=rf"valid: label of valid\$_\$1 is {value:g}, outside \[-3, 3\]"):
        clean(source, label_range=(-3, 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_a_label_that_is_no_number_is_named_whatever_the_range(value):
    source = source_of(np.ones((3, 5, 2), np.float32))
    source.splits["valid"].label[1] = value
    with pytest.raises(UserError, match=r"valid: label of valid\$_\$1 is (nan|inf), not a number of float32"):
        clean(source)


def test_the_range_is_what_was_stated_or_found():
    source = source_of(np.ones((3, 5, 2), np.float32))
    for name, labels in {"train": [1, 2.2, 0.7], "valid": [1, 1, 1], "test": [4.6, 1, 2]}.items():
        source.splits[name].label = np.array(labels)
        source.splits[name].unimodal = {"text": np.array([np.nan, 0.3, 1])}
    found = clean(source)
    assert found.label_range == [0.3, 4.6]
    assert found.report[1].startswith("labels: those of train lie in [0.3, 2.2], and valid or test go beyond")
    source.splits["train"].label[0] = 4.6
    assert clean(source).report == ["text label: blank for 3 of 9 utterances, unknown there"]
    assert clean(source, label_range=(0.3, 5)).label_range == [0.3, 5]  # 0.3 as a float32 is not below it
    with pytest.raises(UserError, match=r"train: text label of train\$_\$1 is 0.3, outside \[0.5, 5\]; so are 0 more"):
        clean(source, label_range=(0.5, 5))


def test_unimodal_labels_may_be_blank():
    source = source_of(np.ones((3, 5, 2), np.float32))
    for split in source.splits.values():
        split.unimodal = {"text": np.full(3, np.nan), "audio": np.array([1.0, np.nan, -1]), "vision": np.ones(3)}
    cleaned = clean(source)
    assert {m: label.tolist() for m, label in cleaned.splits["test"].unimodal.items()} == {
        "audio": pytest.approx([1, np.nan, -1], nan_ok=True),
        "vision": [1, 1, 1],
    }
    assert cleaned.report == [
        "text label: blank for 9 of 9 utterances, left out",
        "audio label: blank for 3 of 9 utterances, unknown there",
    ]
    source.splits["valid"].unimodal["audio"][1] = np.inf
    with pytest.raises(UserError, match=r"valid: audio label of valid\$_\$1 is inf"):
        clean(source)


def test_an_aligned_source_whose_modalities_were_all_replaced(layouts):
    source = mult.read(layouts.mult({"text": 50, "audio": 50, "vision": 50}))
    for split in source.splits.values():
        for modality, dim in (("text", 3), ("audio", 4), ("vision", 5)):
            arrays = [np.ones((2 + row, dim), np.float32) for row in range(len(split.ids))]
            split.features[modality] = Sequences(arrays)
    cleaned = clean(source)
    assert cleaned.aligned
    assert cleaned.splits["train"].sequences["vision"].lengths.tolist() == [2, 3, 4, 5, 6]


def test_texts_that_are_the_word_for_no_text_are_told_of_and_kept(layouts):
    source = mmsa.read(layouts.mmsa(aligned=True))
    source.splits["train"].raw_text[1] = "nan"
    source.splits["test"].raw_text[2] = "None"
    source.splits["test"].raw_text[3] = "nan and None"
    cleaned = clean(source)
    told = (
        "text: train_video$_$1, test_video$_$2 have the text nan or None or <NA>; if there is no text, leave it empty"
    )
    assert told in cleaned.report
    assert cleaned.splits["test"].raw_text[2] == "None"


def test_texts_that_are_blank_are_told_of(layouts):
    source = mmsa.read(layouts.mmsa(aligned=True))
    source.splits["train"].raw_text[1] = ""
    source.splits["test"].raw_text[2] = " \t"
    assert "text: train_video$_$1, test_video$_$2 have no text" in clean(source).report


def test_an_utterance_of_zeros_keeps_its_steps_where_features_lie_on_the_words(layouts: Any) -> None:
    source, pieces = words_source(layouts)
    source.aligned = False
    source.splits["train"].features["audio"].values[1][:] = 0
    cleaned = clean(source, pieces)
    assert cleaned.aligned
    assert "audio: 1 utterances are empty or zero throughout, kept as zeros" in cleaned.report
    sequences = cleaned.splits["train"].sequences
    assert sequences["audio"].lengths.tolist() == sequences["tokens"].lengths.tolist()
