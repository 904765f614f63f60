"""Runs on stores that were changed in a known way, against what they predicted before."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vocabularies
from sklearn.metrics import mean_absolute_error

from mmsa_lightning import cli
from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import Split, Store, write
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.evaluation import evaluate
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.models.tfn import TFN

FACTOR = np.array([1.0, 2.0, 0.5, 10.0, 1.0], np.float32)  # of audio
SHIFT = np.array([0.0, 1.0, 1000.0, 0.0, -2.0], np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path_factory.mktemp("encoder") / "bert"))


@pytest.fixture(scope="module")
def run(made: Callable[..., Path], encoder: Path) -> Path:
    return made("evaluated", f"text_encoder={encoder}")


@pytest.fixture(scope="module")
def store(run: Path) -> Path:
    """The run's own."""
    return run.parents[4] / "evaluated.h5"


@pytest.fixture
def fresh(run: Path) -> Path:
    """The run, not yet measured."""
    for path in run.glob("evaluation*"):
        path.unlink()
    return run


def changed(store: Path, out: Path, change: Callable[[Split], Split], **meta: Any) -> Path:
    """The same store, but for one change of each split and of what it says of itself."""
    found = Store(store)
    write(out, {name: change(split) for name, split in found.splits.items()}, replace(found.meta, **meta))
    return out


def with_sequence(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Split], Split]:
    def one(split: Split) -> Split:
        arrays = [change(split.sequences[name][i]) for i in range(len(split))]
        return replace(split, sequences=split.sequences | {name: Loaded(arrays)})

    return one


def affine(values: np.ndarray) -> np.ndarray:
    return np.where(values.any(axis=1, keepdims=True), values * FACTOR + SHIFT, values).astype(np.float32)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def predicted(run: Path) -> list[float]:
    return [float(row["prediction"]) for row in rows(run / "evaluation_predictions.csv")]


def trained(run: Path, split: str) -> list[dict[str, str]]:
    """What the run left of a split."""
    return [row for row in rows(run / "predictions.csv") if row["split"] == split]


@pytest.mark.parametrize("split", ["test", "valid"])
def test_on_its_own_data_a_run_has_the_figures_of_its_result(fresh: Path, store: Path, split: str) -> None:
    before = (fresh / "result.json").read_bytes()
    warnings = evaluate(fresh, store, split, "run")
    assert warnings is not None and not [line for line in warnings if "the run's own data" in line]
    assert (fresh / "result.json").read_bytes() == before
    (found,) = rows(fresh / "evaluation.csv")
    for metric, value in json.loads(before)[split].items():
        assert float(found[metric]) == pytest.approx(value, abs=1e-6)
    left = trained(fresh, split)
    assert [row["id"] for row in rows(fresh / "evaluation_predictions.csv")] == [row["id"] for row in left]
    assert predicted(fresh) == pytest.approx([float(row["prediction"]) for row in left], abs=1e-6)
    assert (found["store"], found["ratio"], found["far"]) == ("evaluated.h5", "1.0", "0")


def test_utterances_that_a_run_knows_are_told_of_in_other_data(fresh: Path, store: Path, tmp_path: Path) -> None:
    other = changed(store, tmp_path / "other.h5", with_sequence("audio", lambda values: values * 1.01))
    for split, known in (("valid", ["10 of 10"]), ("test", [])):
        warnings = evaluate(fresh, other, split, "run")
        assert warnings is not None
        seen = [line for line in warnings if "of the train or valid split of the run's own data" in line]
        assert [line.partition(" utterances")[0] for line in seen] == known


def test_what_was_measured_is_not_measured_again(fresh: Path, store: Path, tmp_path: Path) -> None:
    assert evaluate(fresh, store, "test", "run") is not None
    before = [path.read_bytes() for path in sorted(fresh.glob("evaluation*"))]
    moved = shutil.copy(store, tmp_path / "moved.h5")
    assert evaluate(fresh, moved, "test", "run") is None
    assert [path.read_bytes() for path in sorted(fresh.glob("evaluation*"))] == before
    assert evaluate(fresh, store, "test", "store") is not None
    assert evaluate(fresh, store, "train", "run") is not None
    assert [(row["split"], row["standardize"]) for row in rows(fresh / "evaluation.csv")] == [
        ("test", "run"),
        ("test", "store"),
        ("train", "run"),
    ]
    assert len(rows(fresh / "evaluation_predictions.csv")) == 21 + 21 + 40


def test_features_on_another_scale_are_told_of_and_can_be_put_on_the_runs(
    fresh: Path, store: Path, tmp_path: Path
) -> None:
    def change(split: Split) -> Split:
        vision = with_sequence("vision", lambda values: np.where(values.any(1, keepdims=True), values / 1000 + 1, 0))
        return vision(with_sequence("audio", affine)(split))

    other = changed(store, tmp_path / "other.h5", change)
    warnings = evaluate(fresh, other, "test", "run")
    (line,) = [line for line in warnings or [] if "mean of" in line]
    # Vision is on a scale a thousand times smaller, and its means lie far apart in units of that.
    assert "the mean of audio feature 2 (from 0)" in line and "those of 20 more features" in line
    assert "--standardize store" in line and "\n" not in line
    assert not [line for line in evaluate(fresh, other, "test", "store") or [] if "mean of" in line]
    by_run, by_store = np.split(np.array(predicted(fresh)), 2)
    assert [row["far"] for row in rows(fresh / "evaluation.csv")] == ["21", "0"]
    left = [float(row["prediction"]) for row in trained(fresh, "test")]
    np.testing.assert_allclose(by_store, left, atol=1e-4)

    module, data = restore(fresh)
    batch = data.split("test")[list(range(21))]
    for modality, change_one in (("audio", affine), ("vision", lambda values: values / 1000 + 1)):
        mean, std = data.scale[modality]
        values = batch.sequence(modality).values.numpy()
        raw = change_one((values * std + mean).reshape(-1, len(mean))).reshape(values.shape)
        batch.sequence(modality).values[:] = torch.from_numpy(
            np.where(values.any(axis=-1, keepdims=True), (raw - mean) / std, 0)
        )
    with torch.no_grad():
        by_hand = module.eval().model(batch).prediction.numpy()
    np.testing.assert_allclose(by_run, by_hand, rtol=1e-3, atol=1e-3)
    assert np.abs(by_run - by_store).max() > 0.01


def test_labels_of_another_range(fresh: Path, store: Path, tmp_path: Path) -> None:
    low, high = Store(store).meta.label_range
    third = changed(
        store,
        tmp_path / "third.h5",
        lambda split: replace(split, label=split.label / 3),
        label_range=[low / 3, high / 3],
    )
    evaluate(fresh, third, "test", "run")
    (found,) = rows(fresh / "evaluation.csv")
    own = json.loads((fresh / "result.json").read_text())["test"]
    assert float(found["mae"]) == pytest.approx(own["mae"] / 3, abs=1e-6)
    assert float(found["corr"]) == pytest.approx(own["corr"], abs=1e-5)
    assert (found["protocol"], found["acc7"], found["ratio"]) == ("other", "", "0.333333")
    utterances = rows(fresh / "evaluation_predictions.csv")
    label, prediction = ([float(row[name]) for row in utterances] for name in ("label", "prediction"))
    assert float(found["mae"]) == pytest.approx(mean_absolute_error(label, prediction), abs=1e-6)
    np.testing.assert_allclose(3 * np.array(prediction), [float(row["prediction"]) for row in trained(fresh, "test")])


def test_ch_sims_has_its_own_metrics(fresh: Path, store: Path, tmp_path: Path) -> None:
    sims = changed(
        store,
        tmp_path / "sims.h5",
        lambda split: replace(split, label=split.label / 3),
        label_range=[-1.0, 1.0],
        dataset="sims",
    )
    evaluate(fresh, sims, "test", "run")
    (found,) = rows(fresh / "evaluation.csv")
    utterances = rows(fresh / "evaluation_predictions.csv")
    label, prediction = (np.array([float(row[name]) for row in utterances]) for name in ("label", "prediction"))
    assert float(found["acc2"]) == pytest.approx(np.mean((prediction > 0) == (label > 0)), abs=1e-6)
    assert "acc7" not in found


def test_the_same_data_by_the_metrics_of_another_data_set_are_measured_again(
    fresh: Path, store: Path, tmp_path: Path
) -> None:
    """Its name is not content."""
    third = {"label_range": [-1.0, 1.0]}
    mine, sims = (
        changed(
            store, tmp_path / f"{name}.h5", lambda split: replace(split, label=split.label / 3), dataset=name, **third
        )
        for name in ("mine", "sims")
    )
    assert Store(mine).meta.content_sha256 == Store(sims).meta.content_sha256
    evaluate(fresh, mine, "test", "run")
    assert evaluate(fresh, sims, "test", "run") is not None
    (found,) = rows(fresh / "evaluation.csv")
    assert found["protocol"] == "sims" and found["acc2"]
    assert len(rows(fresh / "evaluation_predictions.csv")) == 21


def test_predictions_are_not_put_on_a_scale_that_was_only_found(fresh: Path, store: Path, tmp_path: Path) -> None:
    narrow = changed(store, tmp_path / "narrow.h5", lambda split: split, label_range=[-5.0, 5.0], range_found=True)
    warnings = evaluate(fresh, narrow, "test", "run") or []
    assert [line for line in warnings if "narrow.h5: nobody said which labels there can be" in line]
    assert predicted(fresh) == pytest.approx([float(row["prediction"]) for row in trained(fresh, "test")], abs=1e-6)
    assert rows(fresh / "evaluation.csv")[0]["ratio"] == "1.0"
    said = changed(store, tmp_path / "said.h5", lambda split: split, label_range=[-5.0, 5.0])  # as the warning asks
    assert Store(said).meta.content_sha256 == Store(narrow).meta.content_sha256
    assert evaluate(fresh, said, "test", "run") is not None
    assert float(rows(fresh / "evaluation.csv")[0]["ratio"]) == pytest.approx(5 / 3, abs=1e-5)


def test_what_a_run_had_missing_is_there(made: Callable[..., Path]) -> None:
    gaps = made("gaps", "missing.rate=0.7")
    evaluate(gaps, gaps.parents[4] / "gaps.h5", "test", "run")
    left = [float(row["prediction"]) for row in trained(gaps, "test")]
    module, data = restore(gaps)
    data.missing = replace(data.missing, rate=0.0)
    with torch.no_grad():
        complete = module.eval().model(data.split("test")[list(range(21))]).prediction.tolist()
    assert predicted(gaps) == pytest.approx(complete, abs=1e-5)
    assert predicted(gaps) != pytest.approx(left, abs=1e-3)


def without(name: str) -> Callable[[Split], Split]:
    return lambda split: replace(split, sequences={n: s for n, s in split.sequences.items() if n != name})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("vision"), r"text, audio, vision, but .* has no vision; evaluate a run of modalities=\[text,audio\]"),
        (without("tokens"), "reads text=bert, but .* has no tokens: import its source again with --text-encoder"),
        (with_sequence("vision", lambda values: values[:, :16]), "reads 20 features of vision, but .* has 16"),
        (with_sequence("tokens", lambda ids: np.append(ids, ids[1:]).repeat(40)), "reads 512 word pieces at most"),
    ],
    ids=["modality", "text", "width", "length"],
)
def test_a_store_that_does_not_fit_is_refused(
    fresh: Path, store: Path, tmp_path: Path, change: Callable[[Split], Split], said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        evaluate(fresh, changed(store, tmp_path / "other.h5", change), "test", "run")
    assert "\n" not in str(error.value) and not list(fresh.glob("evaluation*"))


def test_features_in_another_order_are_refused_where_both_are_named(fresh: Path, store: Path, tmp_path: Path) -> None:
    names = [f"f{i}" for i in range(Store(store).dims["audio"])]
    named = changed(store, tmp_path / "named.h5", lambda split: split, feature_names={"audio": names})
    config = fresh / "config.yaml"
    other = changed(named, tmp_path / "other.h5", lambda split: split, feature_names={"audio": names[::-1]})
    kept = config.read_text()
    config.write_text(kept.replace(str(store), str(named)))
    try:
        with pytest.raises(UserError, match=f"audio feature 1 is {names[-1]}, but .* was trained with f0 there"):
            evaluate(fresh, other, "test", "run")
    finally:
        config.write_text(kept)


def test_another_vocabulary_is_refused_with_the_command_that_changes_it(
    fresh: Path, store: Path, encoder: Path, tmp_path: Path
) -> None:
    assert "it is not known whether" in str(evaluate(fresh, store, "test", "run"))
    kept = list(encoder.iterdir())
    vocabularies.save(tmp_path / "bert", "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "bert" / name, encoder)
    try:
        with pytest.raises(UserError, match=r"another vocabulary than .*: mmsa data tokenize \S+ --text-encoder"):
            evaluate(fresh, store, "valid", "run")
    finally:
        for path in set(encoder.iterdir()) - set(kept):
            path.unlink()


def test_data_that_are_not_aligned_are_refused_where_they_must_be(
    fresh: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = changed(
        store, tmp_path / "longer.h5", with_sequence("audio", lambda v: v.repeat(2, axis=0)), aligned=False
    )
    monkeypatch.setattr(TFN, "needs_alignment", True, raising=False)
    with pytest.raises(UserError, match=r"text, audio, vision of .*longer.h5 are not aligned, but TFN needs"):
        evaluate(fresh, longer, "test", "run")
    monkeypatch.undo()
    evaluate(fresh, longer, "test", "run")


@pytest.mark.parametrize(
    ("split", "standardize", "said"),
    [("dev", "run", "--split dev: choose one of train"), ("test", "both", "--standardize both: choose one of run")],
)
def test_an_unknown_choice_is_said(fresh: Path, store: Path, split: str, standardize: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluate(fresh, store, split, standardize)


def test_text_features_are_never_standardised(made: Callable[..., Path], tmp_path: Path) -> None:
    text = made("text_only", "modalities=[text]", "text=features", "model=interactive_attention")
    own = text.parents[4] / "text_only.h5"
    with pytest.raises(UserError, match="standardises nothing"):
        evaluate(text, own, "test", "store")
    assert evaluate(text, own, "test", "run") == []
    moved = changed(own, tmp_path / "moved.h5", with_sequence("text", lambda values: values + np.eye(50)[7] * 100))
    (line,) = evaluate(text, moved, "test", "run") or []
    assert "mean of text feature 7 (from 0)" in line and line.endswith(
        "own data: these are not standardised: see whether both were made in the same way"
    )
    with pytest.raises(UserError, match=r"reads text=features, but .* has no text features: mmsa data encode"):
        evaluate(text, changed(own, tmp_path / "tokens.h5", without("text")), "test", "run")


def test_a_run_whose_own_data_are_gone_is_said(fresh: Path, store: Path, foreign: Path, tmp_path: Path) -> None:
    kept = store.rename(tmp_path / "kept.h5")
    try:
        with pytest.raises(UserError, match=r"no store at .*evaluated.h5") as error:
            evaluate(fresh, foreign, "test", "run")
    finally:
        kept.rename(store)
    assert "\n" not in str(error.value) and not list(fresh.glob("evaluation*"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of other utterances."""
    out = tmp_path_factory.mktemp("foreign") / "foreign.h5"
    source = generate(5, {"train": 6, "valid": 5, "test": 9})
    import_source(source, out, dataset="y", name="y", sha256="", tokenizer="minilm")
    return out


def test_the_command(
    fresh: Path, store: Path, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(fresh), "--out", str(tmp_path / "out")]
    cli.main([*words, "--store", str(foreign), "--split", "valid"])
    printed = capsys.readouterr()
    assert f"{fresh}: measured\n" in printed.out and "foreign.h5, valid: 5 utterances" in printed.out
    assert all(line.startswith("warning: ") for line in printed.err.splitlines())
    cli.main([*words, "--store", str(store)])
    assert "evaluated.h5, test: 21 utterances" in (tmp_path / "out" / "evaluation.md").read_text()
    cli.main([*words, "--store", str(foreign), "--split", "valid"])
    printed = capsys.readouterr()
    assert f"{fresh}: as before\n" in printed.out and not printed.err.splitlines()[2:]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "evaluation.csv",
        "evaluation.md",
        "evaluation.tex",
    ]
    cli.main(["report", str(fresh), "--out", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "foreign.h5, valid: 5 utterances" in page and "evaluated.h5, test: 21 utterances" in page
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--store", str(tmp_path / "none.h5")])
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error: no store at ")


def test_a_run_knows_its_train_split_too(fresh: Path, store: Path, tmp_path: Path) -> None:
    other = changed(store, tmp_path / "other.h5", with_sequence("audio", lambda values: values * 1.01))
    warnings = evaluate(fresh, other, "train", "run") or []
    assert [line for line in warnings if line.startswith("40 of 40 utterances")]
    assert [row["seen"] for row in rows(fresh / "evaluation.csv")] == ["40"]


def test_predictions_are_not_put_on_a_scale_where_the_runs_own_was_only_found(
    fresh: Path, store: Path, tmp_path: Path
) -> None:
    guessed = changed(store, tmp_path / "guessed.h5", lambda split: split, range_found=True)
    wide = changed(store, tmp_path / "wide.h5", lambda split: split, label_range=[-5.0, 5.0])
    config = fresh / "config.yaml"
    kept = config.read_text()
    config.write_text(kept.replace(str(store), str(guessed)))
    try:
        warnings = evaluate(fresh, wide, "test", "run") or []
    finally:
        config.write_text(kept)
    assert [line for line in warnings if "guessed.h5: nobody said which labels there can be" in line]
    assert rows(fresh / "evaluation.csv")[0]["ratio"] == "1.0"
