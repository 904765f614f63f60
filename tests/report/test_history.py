"""Epochs of a run as they were written."""

from pathlib import Path

import numpy as np
import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.history import read_history, together


def test_values_by_name_with_gaps_as_nan(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text("epoch,train/loss,late\n1,2.5,\n2,1.5,7\n")
    found = read_history(tmp_path)
    np.testing.assert_array_equal(found["train/loss"], [2.5, 1.5])
    np.testing.assert_array_equal(found["late"], [np.nan, 7])


@pytest.mark.parametrize(
    "content", [b"", b"epoch,loss\n", b"epoch,loss\n1,2.5\n2", b"epoch,loss\n1,2.5.5\n", b"epoch,loss\n1,\xff\n"]
)
def test_damage_is_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(
        UserError, match=r"metrics\.csv is damaged \(.*\): copy it again, or remove it and make it again"
    ):
        read_history(tmp_path)


def test_runs_stand_together_as_far_as_all_go():
    long, short = {"loss": np.array([3.0, 2.0, 1.0])}, {"loss": np.array([5.0, 4.0])}
    np.testing.assert_array_equal(together([long, short], "loss"), [[3, 2], [5, 4]])


def test_a_run_that_did_not_log_a_value_does_not_count():
    histories = [{"a": np.array([1.0, 2.0])}, {"b": np.array([5.0])}]
    assert together(histories, "a").tolist() == [[1.0, 2.0]] and together(histories, "b").tolist() == [[5.0]]
