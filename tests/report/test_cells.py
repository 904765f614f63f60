"""The cells of a table are the jobs of its sweep."""

from pathlib import Path

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.cells import cells


@pytest.mark.slow
def test_rows_and_seeds_of_table_3():
    found = cells("table3", ["runs=R"])
    assert len(found) == 9 * 5
    assert list(dict.fromkeys(cell.row for cell in found))[:2] == ["tfn", "lmf"]
    assert {cell.seed for cell in found} == {1, 2, 3, 4, 5}
    assert len({cell.run_dir for cell in found}) == 45
    assert all(cell.run_dir.parts[:2] == ("R", "mosi") for cell in found)


def test_the_same_overrides_narrow_it_as_narrow_the_sweep():
    found = cells("table6", ["data=demo", "seed=2,3", "+ablation=uni", "text_encoder=minilm"])
    assert [(cell.row, cell.seed) for cell in found] == [("uni", 2), ("uni", 3)]
    assert found[0].run_dir.parent == Path("runs", "demo", "interactive_attention", "uni")


def test_the_papers_own_row_of_tables_3_and_5_is_one_run():
    (of_models,) = cells("table3", ["model=interactive_attention", "seed=1"])
    (of_ablations,) = cells("table5", ["+ablation=full", "seed=1"])
    assert of_models.run_dir == of_ablations.run_dir


def test_a_setting_that_is_swept_too_makes_rows_of_its_own():
    found = cells("table3", ["data=demo", "model=tfn,lmf", "seed=1", "optim.lr.other=1e-3,5e-3"])
    rates = [f"{model}, optim.lr.other={lr}" for model in ("tfn", "lmf") for lr in ("0.001", "0.005")]
    assert [cell.row for cell in found] == rates
    assert len({cell.run_dir for cell in found}) == 4
    with pytest.raises(UserError, match=r"two runs of tfn seed 1: a/.* and b/.*; leave out one of them"):
        cells("table3", ["data=demo", "model=tfn", "seed=1", "runs=a,b"])


def test_what_hydra_does_not_know_is_a_users_error():
    with pytest.raises(UserError, match="no_such"):
        cells("table3", ["no_such=1"])
