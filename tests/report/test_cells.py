"""The cells of a table are the jobs of its sweep."""

from pathlib import Path

import pytest
from pages import finished

from mmsa_lightning.errors import UserError
from mmsa_lightning.report.cells import cells, find_cells


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


def test_two_cells_have_two_folders():
    with pytest.raises(UserError, match="one would be both tfn seed 1 and tfn seed 2: leave"):
        cells("table3", ["model=tfn", "seed=1,2", "hydra.run.dir=one"])
    found = cells("table3", ["model=tfn", "seed=1,2", "hydra.run.dir=own/${seed}"])
    assert [str(cell.run_dir) for cell in found] == ["own/1", "own/2"]


def test_a_cell_knows_the_hash_that_is_in_its_folders_name():
    found = cells("table3", ["model=tfn", "seed=1,2"])
    assert [cell.run_dir.name for cell in found] == [f"seed{c.seed}-{str(c.config_hash)[:8]}" for c in found]
    assert found[0].config_hash != found[1].config_hash


def test_runs_with_other_modalities_are_named_by_them(tmp_path: Path):
    """Of two models, too, whose names alone would not tell."""
    parts = {"near": 1.0, "far": 1.0}
    finished(tmp_path, "tfn", 1, parts, config="modalities: null", modalities=["text", "audio"])
    finished(tmp_path, "lmf", 1, parts, config="modalities: [audio]", modalities=["audio"], text=None)
    assert [cell.row for cell in find_cells([tmp_path])] == ["lmf, modalities=[audio]", "tfn"]
    assert [cell.row for cell in find_cells([tmp_path / "lmf"])] == ["lmf"]


def test_runs_of_one_row_and_seed_are_told_apart_by_the_user(tmp_path: Path):
    for folder in ("a", "b"):
        finished(tmp_path / folder, "tfn", 1, {"near": 1.0, "far": 1.0})
    with pytest.raises(UserError, match="two runs of tfn seed 1"):
        find_cells([tmp_path / "a", tmp_path / "b"])


def test_a_run_whose_config_cannot_be_read_is_named(tmp_path: Path):
    run_dir = finished(tmp_path, "tfn", 1, {"a": 1.0})
    (run_dir / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"seed1/config\.yaml cannot be read.* leave the run out"):
        find_cells([tmp_path])
    (run_dir / "config.yaml").unlink()
    with pytest.raises(UserError, match="No such file"):
        find_cells([tmp_path])


def test_word_vectors_and_ablations_are_rows_of_their_own(tmp_path: Path):
    finished(tmp_path, "tfn", 1, {"a": 1.0}, text="features", text_encoder=None)
    finished(tmp_path, "interactive_attention", 1, {"a": 1.0}, ablation="bi_uni")
    assert {cell.row for cell in find_cells([tmp_path])} == {"tfn (features)", "bi_uni"}


def test_weights_of_tasks_are_rows_of_their_own(tmp_path: Path):
    for folder, weighting in (("a", None), ("b", "dwa"), ("c", "equal")):
        finished(tmp_path / folder, "self_mm", 1, {"a": 1.0}, weighting=weighting)
    assert {cell.row for cell in find_cells([tmp_path])} == {"self_mm", "self_mm, dwa", "self_mm, equal"}


def test_a_folder_without_runs_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"empty: no finished run"):
        find_cells([tmp_path / "empty"])


def test_runs_are_by_name_and_seed_those_of_the_first_folder_first(tmp_path: Path):
    for folder, model, seed in (("b", "tfn", 10), ("b", "tfn", 2), ("b", "lmf", 1), ("a", "mfn", 1)):
        finished(tmp_path / folder, model, seed, {"a": 1.0})
    found = [(cell.row, cell.seed) for cell in find_cells([tmp_path / "b", tmp_path / "a"])]
    assert found == [("lmf", 1), ("tfn", 2), ("tfn", 10), ("mfn", 1)]
