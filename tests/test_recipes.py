"""The table of recipes: each one composes, none is missing, and the figures are those that were measured."""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recipes
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from mmsa_lightning import files
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.components import build
from mmsa_lightning.experiment.config import check, config_dir, plain
from mmsa_lightning.report.cells import cells

CONF = config_dir()
ALL = recipes.read()
ROWS = [(recipe, model) for recipe in ALL for model in recipe["models"]]
each_row = pytest.mark.parametrize(("recipe", "model"), ROWS, ids=[f"{r['title']}-{m}" for r, m in ROWS])


@pytest.fixture
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def options(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


def words(recipe: dict[str, Any], model: str) -> dict[str, str]:
    """The overrides of a recipe's sweep, of each choice the first: text by key."""
    lines = recipes.command(recipe, model).splitlines()
    python, script, flag, *overrides = shlex.split(next(line for line in lines if line.startswith("python train.py")))
    assert (python, script, flag) == ("python", "train.py", "-m")
    parsed = OverridesParser.create().parse_overrides(overrides)
    given = {override.get_key_element(): override.get_value_string() for override in parsed}
    first = {o.get_key_element(): str(next(o.sweep_string_iterator())) for o in parsed if o.is_sweep_override()}
    return given | {key: value for key, value in first.items() if key != "seed"}


@pytest.mark.parametrize("recipe", [r for r in ALL if "folder" in r], ids=lambda r: r["title"])
def test_the_commands_make_the_stores_that_they_read(recipe: dict[str, Any]) -> None:
    made: dict[Path, str] = {}  # the encoder whose vocabulary its tokens are of
    for line in recipes.command(recipe, *recipe["models"]).splitlines():
        program, *rest = shlex.split(line)
        given = dict(itertools.pairwise(rest))
        encoder = "mpnet" if given.get("--text-encoder") == "mpnet" else "bert-base-uncased"  # minilm has bert's
        if rest[:2] == ["data", "import"]:
            made[Path(given.get("--out", f"stores/{given['--dataset']}.h5"))] = encoder
        elif rest[:2] == ["data", "encode"]:
            source = Path(rest[2])
            assert made.get(source) == encoder, line
            made[Path(given.get("--out", f"{source.with_suffix('')}_{given['--text-encoder']}.h5"))] = encoder
        elif program == "python" and rest[0] != "experiments/beside.py":  # which reads tables
            paths = [word.removeprefix("data.path=") for word in rest if word.endswith(".h5")]
            assert {Path(path) for path in paths or [f"stores/{recipe['data']}.h5"]} <= made.keys(), line


@pytest.mark.slow
@each_row
def test_a_recipe_composes_builds_and_runs_its_seeds(
    recipe: dict[str, Any], model: str, hydra: None, tiny_bert: str
) -> None:
    given = words(recipe, model)
    seeds = given.pop("seed", None)
    job = [f"{key}={value}" for key, value in given.items()]
    cfg = compose("train", [*job, f"text_encoder={tiny_bert}"], return_hydra_config=True)
    choices = cfg.hydra.runtime.choices
    assert (choices.model, choices.data) == (model, recipe["data"])
    config = plain(cfg)
    check(config)
    dims = {"text": None if config["text"] == "bert" else 300, "audio": 5, "vision": 20}
    dims = {m: width for m, width in dims.items() if m in (config["modalities"] or dims)}
    build("model", config["model"], where_null={"limit": 3.0}, dims=dims)

    if "folder" in recipe:
        count = len((seeds or cfg.hydra.sweeper.params.seed).split(","))
        ours = [given for given in recipe["tables"] if not given["csv"].startswith("..")]  # not what others measured
        rows = [row for given in ours for row in recipes.table(recipe["folder"], given).rows.values()]
        assert all(int(row.cells.get("n", 0)) <= count for row in rows)


def test_every_model_and_every_tuned_file_has_a_row() -> None:
    assert {model for _, model in ROWS} == options("model")
    known = {f"{model}_{recipe['data']}" for recipe, model in ROWS}
    assert all(
        name in known or name.rpartition("_")[0] in known for name in options("tuned")
    )  # the second: by experiments/tuning.py


@pytest.mark.parametrize("recipe", [r for r in ALL if "folder" in r], ids=lambda recipe: recipe["title"])
def test_what_is_measured_says_where_and_shows_each_of_its_models(recipe: dict[str, Any]) -> None:
    assert recipe["machine"] and recipe["date"] and all(recipe[verdict] for verdict in recipes.VERDICTS)
    shown = {key.split()[0] for table in recipes.tables(recipe).values() for key in table.rows}  # before a mode
    assert {*recipe["models"]} - {"interactive_attention"} <= shown
    for name in (*recipe.get("pictures", {}), *(given["csv"] for given in recipe["tables"])):
        assert (recipes.RESULTS / recipe["folder"] / name).is_file()


def test_the_pages_are_up_to_date() -> None:
    for path, updated, marks in ((recipes.PAGE, recipes.page, 1), (recipes.README, recipes.readme, 2)):
        text = path.read_text(encoding="utf-8")
        assert updated(text) == text, f"{path.name}: run python experiments/recipes.py"
        assert text.count(recipes.BEGIN) == text.count(recipes.END) == marks


LINES = """row,text,metric,n,mean,std,paper,minus_paper,model_minus_row,low,high,p,p_holm,detectable
lmf,glove,mae,5,100.1449,25.4,,,-13.37,-15.71,-11.04,0.0002,0.0016,3.27
lmf,glove,corr,5,,,,,,,,,,
lmf,glove,acc2,5,71.72,15.086,,,,,,,,
lmf,glove,generated_text,5,50.0,1.0,,,,,,,,
full,glove,mae,1,86.7744,,,,,,,,,
full,glove,corr,1,-2.9,,,,,,,,,
full,glove,acc2,1,79.65,,,,,,,,,
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipes, "RESULTS", tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "table3.csv").write_text(LINES)
    return tmp_path / "made"


def test_a_section_is_made_of_the_csv(results: Path) -> None:
    recipe = {"title": "T", "note": "N.", "command": "go MODEL", "models": ["lmf", "full"]}
    assert "N. **Not measured yet.**" in recipes.section(recipe)
    recipe |= {"machine": "a machine", "date": "2020-01-01", "folder": "made", "tables": [{"csv": "table3.csv"}]}
    recipe |= {"holds": "Ours has {table[full].mae}, {table[lmf].difference} {table[lmf].interval} of LMF's."}
    text = recipes.section(recipe | {"fails": "F.", "open": "O."})
    assert text.splitlines()[:3] == ["## T", "", "N. Measured on 2020-01-01, on a machine."]
    assert "go lmf,full" in text.splitlines()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[0] == "|  | n | MAE | Corr | Acc2 | Δ MAE, 95 % interval; p |"
    assert table[2] == "| LMF | 5 | 1.001 ± .254 | undefined | 71.7 ± 15.1 | −.134 [−.157, −.110] p 0.0016 |"
    assert table[3] == "| the paper's model | 1 | .868 | −.029 | 79.7 |  |"
    told = " ".join(text.splitlines())
    assert "Δ MAE is that of the row without one, minus this row's; each interval is of its difference alone" in told
    assert "a test has a power of 80 % to show a difference of .033 at p < .05." in told
    assert "- **What holds.** Ours has .868, −.134 [−.157, −.110] of LMF's." in text.splitlines()
    with pytest.raises(AttributeError, match="LMF has no acc7"):
        recipes.section(recipe | {"holds": "{table[lmf].acc7}"})
    with pytest.raises(KeyError):
        recipes.section(recipe | {"holds": "{table[tfn].mae}"})


def test_a_table_may_be_of_epochs_and_name_its_rows(results: Path) -> None:
    rows = [
        "row,modality,metric,epoch,n,mean,std,label",
        "a,text,corr,1,2,71.1,0.5,71.1",
        "a,text,mae,1,2,34.4,0.1,34.4",
    ]
    rows += ["a,text,corr,best,2,75.2,,71.1", "a,audio,corr,1,2,84.2,0.0,84.2", '"a, b=1",text,corr,1,1,10.0,,71.1']
    (results / "agreement.csv").write_text("\n".join(rows) + "\n")
    given = {"csv": "agreement.csv", "across": "epoch", "where": {"metric": "corr"}}
    table = recipes.table("made", given | {"rows": {"a": ["a", "A"], "b": ["a, b=1", "B"]}})
    assert table.markdown().splitlines() == [
        "|  | modality | 1 | best |",
        "| --- | ---: | ---: | ---: |",
        "| A | text | .711 ± .005 | .752 |",
        "| A | audio | .842 |  |",
        "| B | text | .100 |  |",
    ]
    assert table["a text"].cells["best"] == ".752" and table["b"].name == "B"


def test_a_table_of_differences_shows_their_intervals_and_sentences_find_them_by_rate(results: Path) -> None:
    rows = ["row,mode,at,metric,difference,low,high,p", "a,frames,0.0,mae,1.2,-0.9,3.3,0.2"]
    rows += ["a,frames,0.5,mae,-10.0,-12.0,-8.0,0.001", "a,block,0.0,mae,1.2,-0.9,3.3,0.2"]
    (results / "training.csv").write_text("\n".join(rows) + "\n")
    table = recipes.table("made", {"csv": "training.csv", "across": "at"})
    assert table.markdown().splitlines()[2:] == [
        "| a | frames | +.012 [−.009, +.033] | −.100 [−.120, −.080] |",
        "| a | block | +.012 [−.009, +.033] |  |",
    ]
    (results / "difference.csv").write_text(
        "row,metric,difference,low,high,p_holm\nb,corr,-1.2,-2,0.4,0.2351\nb,acc7,1.2,-0.9,3.3,1\n"
    )
    own = recipes.table("made", {"csv": "difference.csv"})["b"]
    assert (own["corr"], own["acc7"]) == ("−.012 [−.020, +.004] p 0.24", "+1.2 [−0.9, +3.3] p 1")
    assert "{costs[a frames][0.5]}".format_map({"costs": table}) == "−.100 [−.120, −.080]"


def test_a_table_of_settings_shows_what_they_were_chosen_by(results: Path) -> None:
    (results / "table3.csv").write_text("row,metric,n,mean,std\na,mae,2,75.2,1\nb,mae,1,75.2,\n")
    runs = ["row,seed,valid_mae,best_epoch", "a,1,0.75,11", "a,2,0.652,9", "b,1,0.7,5"]
    (results / "table3_runs.csv").write_text("\n".join(runs) + "\n")
    table = recipes.table("made", {"csv": "table3.csv", "validation": True})
    assert table.markdown().splitlines() == [
        "|  | n | MAE of validation | best epoch | MAE |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a | 2 | .701 | 9 to 11 | .752 ± .010 |",
        "| b | 1 | .700 | 5 to 5 | .752 |",
    ]
    assert "valid" not in recipes.table("made", {"csv": "table3.csv"})["a"].cells


def listed(recipe: dict[str, Any]) -> set[str]:
    """The runs that its tables say they are made of; another folder's are those of the recipe of that folder."""
    own = [given["csv"] for given in recipe.get("tables", []) if not given["csv"].startswith("..")]
    paths = [recipes.RESULTS / recipe["folder"] / csv for csv in own]
    lists = {path.with_name(f"{path.stem}_runs.csv") for path in paths}
    return {row["run"] for path in lists if path.is_file() for row in files.read_rows(path) if "run" in row}


def test_a_table_of_another_folder_is_in_the_recipe_of_that_folder() -> None:
    shown = {f"../{recipe['folder']}/{given['csv']}" for recipe in ALL for given in recipe.get("tables", [])}
    others = {given["csv"] for recipe in ALL for given in recipe.get("tables", []) if given["csv"].startswith("../")}
    assert others - shown == {"../../paper/others.csv"}


def test_lists_of_runs_say_what_the_archived_runs_say() -> None:
    archived = {}
    for path in recipes.RESULTS.glob("*/runs.zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(f"/{result.NAME}"):
                    content = archive.read(name)
                    archived[hashlib.sha256(content).hexdigest()] = json.loads(content)
    rows = [row for path in recipes.RESULTS.glob("*/*_runs.csv") for row in files.read_rows(path)]
    measured = [(row, archived[row["result_sha256"]]) for row in rows if row.get("result_sha256") in archived]
    assert measured
    for row, record in measured:
        said = [float(row[name]) for name in ("seed", "valid_mae", "best_epoch", "epochs", "seconds")]
        valid = round(record["valid"]["mae"], 6)
        assert said == [record["seed"], valid, record["best_epoch"], record["epochs"], record["seconds"]], row


@pytest.mark.parametrize("recipe", [r for r in ALL if listed(r)], ids=lambda r: r["title"])
def test_the_commands_make_the_runs_that_are_published(recipe: dict[str, Any]) -> None:
    lines = recipes.command(recipe, *recipe["models"]).splitlines()
    made = set()
    for line in (line for line in lines if line.startswith("python train.py -m")):
        words = shlex.split(line)[3:]
        experiment = next(
            (word.removeprefix("experiment=") for word in words if word.startswith("experiment=")), "table3"
        )
        overrides = [word for word in words if not word.startswith(("runs=", "experiment="))]
        made |= {result.place(cell.run_dir) for cell in cells(experiment, overrides)}
    assert listed(recipe) <= made
    packed = recipes.RESULTS / recipe["folder"] / "runs.zip"
    if packed.is_file():
        with zipfile.ZipFile(packed) as archive:
            assert {name.rpartition("/")[0] for name in archive.namelist()} <= made
