"""The printed tables: every row has a model or an ablation here, and what is wrong with a cell is not compared with."""

import pytest

from mmsa_lightning.experiment.config import config_dir
from mmsa_lightning.report.paper import printed
from mmsa_lightning.training.protocols import MOSI


@pytest.mark.parametrize(("number", "group"), [(3, "model"), (4, "model"), (5, "ablation"), (6, "ablation")])
def test_every_row_is_one_of_ours(number: int, group: str):
    rows = printed(number)
    assert all((config_dir() / group / f"{row}.yaml").is_file() for row in rows)
    assert len(rows) == {"model": 9, "ablation": 7}[group]
    assert all(tuple(row.figures) == tuple(MOSI.headings) for row in rows.values())


def test_figures_as_printed():
    assert printed(3)["self_mm"].figure("mae") == 71.2
    assert printed(4)["interactive_attention"].figure("acc7") == 54.31
    assert printed(5)["full"].name == "MODEL"
    assert printed(6)["bi_weight"].figure("acc2_has0") == 77.92
    assert printed(3)["tfn"].figure("acc2_has0") is None  # blank


def test_misprints_are_kept_and_not_compared_with():
    tfn, raven = printed(3)["tfn"], printed(4)["raven"]
    assert (tfn.figures["corr"], tfn.errata["corr"], tfn.figure("corr")) == ("96.80", "69.80 in the literature", None)
    assert (raven.figures["acc7"], raven.figure("acc7")) == ("-/81.70", None)


def test_counts_and_learning_rates():
    assert printed(1)["mosi"].errata == {"valid": "229, by the total"}
    assert printed(1)["mosei"].figure("all") == 22856
    assert printed(2)["mosei"].figure("audio") == 0.005
