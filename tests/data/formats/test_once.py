import numpy as np
import pytest

from mmsa_lightning.data.formats import misa, mmsa, mult
from mmsa_lightning.data.formats.once import once
from mmsa_lightning.errors import UserError


def source_of(layouts, layout):
    if layout == "misa":
        return misa.read({name: layouts.fold(name, 3, own_words=True) for name in ("train", "dev", "test")})
    if layout == "mult":
        return mult.read(layouts.mult({"text": 50, "audio": 50, "vision": 50}))
    return mmsa.read(layouts.mmsa(aligned=False))


def twice(source):
    """``source`` with train's last utterance, and then its first, once more."""
    split = source.splits["train"]
    n = len(split.ids)
    source.splits["train"] = split.take([*range(n), n - 1, 0])
    return source


@pytest.mark.parametrize("layout", ["mmsa", "mult", "misa"])
def test_an_utterance_that_repeats_another_is_left_out_and_named(layouts, layout):
    reference, found = source_of(layouts, layout), once(twice(source_of(layouts, layout)))
    ids = reference.splits["train"].ids
    told = f"train: 2 utterances repeat an earlier one and were left out: {ids[-1]}, {ids[0]}"
    assert found.report == [*reference.report, told]
    for name, split in reference.splits.items():
        other = found.splits[name]
        assert (other.ids, other.raw_text, other.words) == (split.ids, split.raw_text, split.words)
        np.testing.assert_array_equal(other.label, split.label)
        for modality, sequences in split.features.items():
            for one, two in zip(sequences.values, other.features[modality].values, strict=True):
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("change", ["label", "raw_text", "words", "audio"])
def test_one_that_differs_is_refused(layouts, change):
    source = twice(source_of(layouts, "misa"))
    split = source.splits["train"]
    if change == "label":
        split.label[-1] += 1
    elif change == "audio":
        split.features["audio"].values[-1] = split.features["audio"].values[-1] + 1
    else:
        getattr(split, change)[-1] = "else" if change == "raw_text" else ["else"]
    message = rf"train: the id train0\$_\$0 occurs twice, as utterances 0 and 4, with another {change}"
    with pytest.raises(UserError, match=message):
        once(source)


def test_tokens_and_labels_of_a_modality_count(layouts):
    for change in ("tokens", "audio label"):
        source = source_of(layouts, "mmsa")
        for split in source.splits.values():
            split.unimodal["audio"] = np.zeros(len(split.ids))
        split = twice(source).splits["train"]
        if change == "tokens":
            split.tokens[-1] = split.tokens[-1] + 1
        else:
            split.unimodal["audio"][-1] = 1
        with pytest.raises(UserError, match=f"with another {change}"):
            once(source)
