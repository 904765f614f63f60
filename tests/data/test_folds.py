import collections
import csv

import pytest

from mmsa_lightning.data.folds import folds


@pytest.mark.parametrize(
    ("dataset", "counts"),
    [("mosi", {"train": 52, "valid": 10, "test": 31}), ("mosei", {"train": 2249, "valid": 300, "test": 678})],
)
def test_as_many_videos_as_the_sdk_has(dataset, counts):
    assert collections.Counter((folds(dataset) or {}).values()) == counts


@pytest.mark.parametrize("dataset", ["sims", "own", "../x"])
def test_other_data_have_none(dataset):
    assert folds(dataset) is None


@pytest.mark.parametrize("dataset", ["mosi", "mosei"])
def test_real_utterances_are_in_the_fold_of_their_video(real_data, dataset):
    official = folds(dataset) or {}
    with (real_data.parent / dataset / "utterances.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert official[row["id"].split("$_$")[0]] == row["split"]
