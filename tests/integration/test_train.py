"""The training command from its arguments to the files that it leaves."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import BertModel

from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import Store, write
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.app import main
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.files import held
from mmsa_lightning.models.layers import minilm
from mmsa_lightning.models.layers.pretrained import encoder_hash
from mmsa_lightning.training.protocols import MOSI

Arguments = Callable[..., list[str]]


def the_run(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "runs").rglob("result.json")
    return found.parent


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def result_config(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def test_a_run_leaves_what_it_promises(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("seed=3"))
    run = the_run(tmp_path)
    outcome = result(run)
    assert str(run) in capsys.readouterr().out
    assert [str(p.relative_to(run)) for p in sorted(run.rglob("*.tmp"))] == []
    # The last is for a longer run: max_epochs ended this one.
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["seed"] == 3
    assert "${" not in (run / "config.yaml").read_text()

    assert (outcome["data"], outcome["model"], outcome["ablation"]) == ("demo", "interactive_attention", "full")
    assert (outcome["seed"], outcome["epochs"]) == (3, 2)
    assert outcome["modalities"] == ["text", "audio", "vision"]
    assert outcome["text_encoder"] == config["text_encoder"]
    # A wheel's metadata may leave out which build it is.
    assert outcome["versions"]["torch"] in (torch.__version__, torch.__version__.partition("+")[0])
    store = Store(config["data"]["path"])
    assert outcome["data_hash"] == store.meta.content_sha256
    assert len(outcome["config_hash"]) == 64
    assert outcome["seconds"] > 0

    history = rows(run / "metrics.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    best = min(history, key=lambda row: float(row["valid/mae"]))
    assert int(best["epoch"]) == outcome["best_epoch"]
    assert outcome["idle_tasks"] == ["audio", "text", "vision"]  # labels move after the second epoch
    for column in ("train/loss", "train/loss_text", "train/weight_audio", "lr/bert_no_decay", "lr/video", "valid/corr"):
        assert np.isfinite(float(history[-1][column]))

    predictions = rows(run / "predictions.csv")
    for split, n in (("valid", 24), ("test", 26)):
        mine = [row for row in predictions if row["split"] == split]
        assert [row["id"] for row in mine] == store.splits[split].ids and len(mine) == n
        assert [row["text"] for row in mine] == store.splits[split].raw_text
        prediction, label = (torch.tensor([float(row[c]) for row in mine]).double() for c in ("prediction", "label"))
        for name, function in MOSI.metrics.items():
            expected = function(prediction, label).item()
            assert outcome[split][name] == pytest.approx(expected, abs=1e-6, nan_ok=True), (split, name)
    assert outcome["valid"]["mae"] == pytest.approx(float(best["valid/mae"]), abs=1e-6)

    labels = rows(run / "generated_labels.csv")
    assert len(labels) == 70
    assert set(labels[0]) == {"id", "label"} | {
        f"{k}_{m}" for k in ("generated", "true") for m in outcome["modalities"]
    }

    parameters = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    model = {name: p for name, p in parameters.items() if name.startswith("model.")}
    assert outcome["parameters"] == sum(p.numel() for p in model.values() if p.is_floating_point())
    assert "objective.generator.bank_fusion" in parameters


def test_the_same_seed_gives_the_same_figures_and_another_does_not(arguments: Arguments, tmp_path: Path) -> None:
    outcomes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        main([*arguments(f"seed={seed}"), f"runs={tmp_path / name}"])
        (found,) = (tmp_path / name).rglob("result.json")
        outcomes.append(json.loads(found.read_text()))
    assert outcomes[0]["test"] == outcomes[1]["test"]
    assert outcomes[0]["test"] != outcomes[2]["test"]


@pytest.mark.parametrize("encoding", ["gbk", "cp437", "ascii"])
def test_progress_and_summary_in_any_encoding(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    written = io.BytesIO()
    output = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    main(arguments("trainer.max_epochs=1", "trainer.enable_progress_bar=true", f"runs='{tmp_path}/実験'"))
    output.flush()
    text = written.getvalue().decode(encoding)
    assert "Epoch 0/0" in text and "mae" in text
    assert list((tmp_path / "実験").rglob("result.json"))
    assert f"run: {tmp_path}/実験".encode(encoding, "backslashreplace").decode(encoding) in text


def test_a_finished_run_is_not_run_again_unless_told(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments())
    run = the_run(tmp_path)
    before = (run / "result.json").stat()
    main(arguments())
    assert (run / "result.json").stat().st_mtime_ns == before.st_mtime_ns
    assert "already finished" in capsys.readouterr().out
    made_by_some = [run / name for name in ("generated_labels.csv", "label_histograms.csv", "attention.json")]
    for path in made_by_some:  # as of another model that hydra.run.dir sent here
        path.write_text("before")
    main(arguments("overwrite=true"))
    assert (run / "result.json").stat().st_mtime_ns > before.st_mtime_ns
    assert not [path for path in made_by_some if path.exists() and path.read_text() == "before"]


def test_a_mistake_does_not_cost_the_result_that_is_there(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments())
    run = the_run(tmp_path)
    for mistake in ("logger.name=paper", "trainer.accelerator=abacus"):
        fails(arguments("overwrite=true", mistake), capsys, mistake.split("=")[1])
        assert (run / "result.json").is_file() and (run / "checkpoints" / "best.ckpt").is_file()


def test_two_jobs_do_not_share_a_run_directory(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments())
    run = the_run(tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with held(run):
        fails(arguments("overwrite=true"), capsys, "another process is at work in", str(run))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_damaged_result_is_said(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments())
    path = the_run(tmp_path) / "result.json"
    for damaged in (path.read_text()[:20], "3", "{}", "null"):
        path.write_text(damaged)
        fails(arguments(), capsys, str(path), "is not a result")


def test_a_result_by_other_metrics_is_said(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of the same data, imported again by the name of another data set."""
    main(arguments())
    path = the_run(tmp_path) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"protocol": "sims"}))
    fails(arguments(), capsys, "holds a result for other metrics", "overwrite=true replaces it")


def test_overwriting_starts_from_nothing(arguments: Arguments, tmp_path: Path) -> None:
    main(arguments("keep_last=true"))
    run = the_run(tmp_path)
    first = result(run)
    main(arguments("overwrite=true"))
    assert result(run)["test"] == first["test"]
    assert [row["epoch"] for row in rows(run / "metrics.csv")] == ["1", "2"]


def test_a_run_is_not_both_continued_and_started_again(
    arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(arguments("overwrite=true", "ckpt_path=last"), capsys, "give overwrite=false or ckpt_path=null")


def test_a_result_on_other_data_is_not_overwritten(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments())
    path = the_run(tmp_path) / "result.json"
    other = json.loads(path.read_text()) | {"data_hash": "0" * 64}
    path.write_text(json.dumps(other))
    fails(arguments(), capsys, "holds a result for other data")
    assert json.loads(path.read_text()) == other


def test_other_weights_in_the_encoders_folder_are_another_run(
    arguments: Arguments,
    own_bert: tuple[Path, Callable[[], None]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bert, replace = own_bert
    command = arguments(f"text_encoder={bert}", "trainer.max_epochs=1")
    main(command)
    assert capsys.readouterr().out.count("has the vocabulary of") == 1  # there is none beside its weights
    run = the_run(tmp_path)
    first = result(run)
    assert first["encoder_hash"] == encoder_hash(str(bert))
    restore(run)
    main(command)
    assert "already finished" in capsys.readouterr().out
    replace()
    fails(command, capsys, "holds a result for other weights of the text encoder")
    with pytest.raises(UserError, match=f"other weights of the text encoder than {bert} now has"):
        restore(run)

    # What an older version left does not say which weights it began from: it stands.
    (run / "result.json").write_text(json.dumps({k: v for k, v in first.items() if k != "encoder_hash"}))
    main(command)
    assert "already finished" in capsys.readouterr().out
    restore(run)

    main([*command, "overwrite=true"])
    second = result(run)
    assert second["encoder_hash"] == encoder_hash(str(bert)) != first["encoder_hash"]
    assert second["test"] != first["test"]


def test_the_encoder_that_is_named_to_the_model_is_the_one_that_is_told(
    arguments: Arguments, tiny_bert: str, tmp_path: Path
) -> None:
    main(arguments("text_encoder=minilm", f"model.text_encoder={tiny_bert}", "trainer.max_epochs=1"))
    outcome = result(the_run(tmp_path))
    assert (outcome["text_encoder"], outcome["encoder_hash"]) == (tiny_bert, encoder_hash(tiny_bert))


def test_an_encoder_of_another_vocabulary_is_refused(
    arguments: Arguments,
    own_bert: tuple[Path, Callable[[], None]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that is large enough for the ids, so that they all have some place in it."""
    bert, _ = own_bert
    known = (minilm.directory() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    (bert / "vocab.txt").write_text("\n".join([*known[:1000], *reversed(known[1000:])]) + "\n", encoding="utf-8")
    said = ("has another vocabulary", "tokens are those of bert-base-uncased", "mmsa data tokenize ")
    fails(arguments(f"text_encoder={bert}"), capsys, *said, f" --text-encoder {bert} --out ")
    assert not list(tmp_path.rglob("*.ckpt"))
    (bert / "vocab.txt").write_text("\n".join(known) + "\n", encoding="utf-8")
    main(arguments(f"text_encoder={bert}", "trainer.max_epochs=1"))
    assert "has the vocabulary of" not in capsys.readouterr().out


def test_a_bert_in_half_precision_trains_in_the_trainers(arguments: Arguments, tiny_bert: str, tmp_path: Path) -> None:
    BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).half().save_pretrained(tmp_path / "half")
    for precision, dtype in (("32-true", torch.float32), ("64-true", torch.float64)):
        runs = tmp_path / "runs" / precision
        more = (f"trainer.precision={precision}", "trainer.max_epochs=1", f"runs={runs}")
        main([*arguments(f"text_encoder={tmp_path / 'half'}"), *more])
        (best,) = runs.rglob("best.ckpt")
        weights = torch.load(best, weights_only=True)["state_dict"]
        assert {value.dtype for key, value in weights.items() if ".bert." in key} == {dtype}


def test_a_sweep_leaves_a_result_for_each_job(arguments: Arguments, tmp_path: Path) -> None:
    main(arguments("trainer.max_epochs=1", "+ablation=bi,uni,weight", "-m", "seed=1,2"))
    found = sorted((tmp_path / "runs").rglob("result.json"))
    jobs = {(r["ablation"], r["seed"]) for r in map(result, (path.parent for path in found))}
    assert jobs == {(a, s) for a in ("bi", "uni", "weight") for s in (1, 2)}
    assert len(found) == 6
    for path in found:
        config = yaml.safe_load((path.parent / "config.yaml").read_text())
        switches = {
            "bi": config["model"]["bi"],
            "uni": config["model"]["uni"],
            "weight": config["objective"]["ratio_weight"],
        }
        assert [name for name, on in switches.items() if on] == [result(path.parent)["ablation"]]


@pytest.mark.parametrize("modalities", ["[text]", "[audio]", "[audio,vision]", "[text,vision]"])
def test_any_subset_of_modalities_trains(arguments: Arguments, tmp_path: Path, modalities: str) -> None:
    main(arguments(f"modalities={modalities}", "trainer.max_epochs=1"))
    outcome = result(the_run(tmp_path))
    assert outcome["modalities"] == modalities.strip("[]").split(",")
    assert (outcome["text_encoder"] is None) == ("text" not in modalities)


@pytest.mark.parametrize(
    ("sweep", "words"), [("model.values=both,target,source", "values='both'"), ("seed=one,1,2", "seed=one")]
)
def test_a_sweep_goes_on_after_a_job_with_a_mistake(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str], sweep: str, words: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["-m", *arguments("trainer.max_epochs=1", sweep)])
    assert stop.value.code == 2
    assert len(list((tmp_path / "runs").rglob("result.json"))) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "error"]
    assert words in lines[0] and "1 jobs failed" in lines[1]


def test_a_mistake_leaves_the_users_empty_folders_alone(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "empty" / "inside"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    fails([*arguments("model.bi=off"), "runs=."], capsys, "model.bi=off")
    assert here.is_dir() and not list(here.iterdir())


def test_wandb_mistakes_are_one_line(
    arguments: Arguments, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    with pytest.raises(SystemExit) as stop:
        main(arguments("logger=wandb", "logger.offline=false"))
    assert stop.value.code == 2
    assert "error: logger=wandb: No API key" in capsys.readouterr().err


def test_the_runs_of_a_sweep_are_not_one_for_wandb(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    with pytest.raises(SystemExit) as stop:
        main([*arguments("logger=wandb", "logger.offline=true"), "-m", "seed=1,2"])
    assert stop.value.code == 2
    assert "all runs of a sweep would have the W&B id abc" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("*.wandb"))


def test_training_stops_when_patience_is_over(arguments: Arguments, tmp_path: Path) -> None:
    """A learning rate of zero never gets better than its first epoch."""
    still = "optim.lr={bert: 0, audio: 0, video: 0, other: 0}"
    main(arguments(still, "patience=2", "trainer.max_epochs=10"))
    outcome = result(the_run(tmp_path))
    assert (outcome["epochs"], outcome["best_epoch"]) == (3, 1)


def test_the_best_epoch_need_not_be_the_last(arguments: Arguments, tmp_path: Path) -> None:
    main(
        arguments("seed=1", "optim.lr.other=0.05", "objective.tanh_weight=false", "trainer.max_epochs=5", "patience=6")
    )
    run = the_run(tmp_path)
    errors = [float(row["valid/mae"]) for row in rows(run / "metrics.csv")]
    outcome = result(run)
    assert outcome["best_epoch"] == int(np.argmin(errors)) + 1 < 5
    assert outcome["idle_tasks"] == []
    assert outcome["valid"]["mae"] == pytest.approx(min(errors), abs=1e-6)


def test_tasks_that_begin_in_the_best_epoch_are_not_idle(arguments: Arguments, tmp_path: Path) -> None:
    main(arguments("seed=3", "optim.lr.other=1e-4", "trainer.max_epochs=3"))
    outcome = result(the_run(tmp_path))
    assert (outcome["best_epoch"], outcome["idle_tasks"]) == (3, [])


def test_gradients_can_be_clipped_in_bf16(arguments: Arguments, tmp_path: Path) -> None:
    main(arguments("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1", "trainer.max_epochs=1"))
    assert result(the_run(tmp_path))["epochs"] == 1


def test_rates_for_fine_tuning_are_named_where_nothing_is_fine_tuned(
    arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("model=mag_bert", "text=features", "trainer.max_epochs=1"))
    assert "optim.lr: the highest rate is 1e-05, as for fine-tuning" in capsys.readouterr().out


@pytest.mark.parametrize("override", ["data.batch_size=1", "trainer.accumulate_grad_batches=2", "data.num_workers=2"])
def test_ordinary_wishes(arguments: Arguments, tmp_path: Path, override: str) -> None:
    main(arguments(override, "trainer.max_epochs=1"))
    assert np.isfinite(result(the_run(tmp_path))["test"]["mae"])


def test_what_else_of_lightnings_can_be_set(arguments: Arguments, tmp_path: Path) -> None:
    """Together, and to their ends; what Lightning sets for the whole process is not left to the next run."""
    quick = arguments("model=lmf", "text=features", "modalities=[audio,vision]", "trainer.max_epochs=1")
    chosen = ["+trainer.deterministic=true", "+trainer.benchmark=true", "+trainer.inference_mode=false"]
    chosen += [
        "+trainer.detect_anomaly=true",
        "trainer.enable_model_summary=true",
        f"trainer.gradient_clip_val={10**30}",
    ]
    chosen += ["trainer.gradient_clip_algorithm=value", "trainer.accumulate_grad_batches=1000000"]
    main([*quick, *chosen])
    assert np.isfinite(result(the_run(tmp_path))["test"]["mae"])
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    main([*quick, f"runs={tmp_path / 'next'}"])
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


def test_bf16_keeps_labels_and_losses_in_float32(arguments: Arguments, tmp_path: Path) -> None:
    main(arguments("trainer.precision=bf16-mixed", "trainer.max_epochs=3"))
    run = the_run(tmp_path)
    assert result(run)["precision"] == "bf16-mixed"
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert {v.dtype for k, v in state.items() if k.startswith("objective.")} == {torch.float32}
    assert np.isfinite(float(rows(run / "metrics.csv")[-1]["train/loss"]))


def test_keep_last_keeps_the_optimiser(arguments: Arguments, tmp_path: Path) -> None:
    main(arguments("keep_last=true"))
    checkpoint = torch.load(the_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1 and checkpoint["optimizer_states"]


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = "optim.lr={bert: 1e30, audio: 1e30, video: 1e30, other: 1e30}"
    fails(arguments(huge), capsys, "the loss of step 2 is not a number (total ", "with utterances train", "optim.lr")
    assert not list((tmp_path / "runs").rglob("result.json"))
    assert not list((tmp_path / "runs").rglob("*.ckpt"))
    only = arguments(huge, "data.batch_size=70", "trainer.max_epochs=1")  # one step: its loss is a number yet
    fails(only, capsys, "valid/mae is not a number after epoch 1", "optim.lr")
    assert not list((tmp_path / "runs").rglob("*.ckpt"))


def test_tensorboard(arguments: Arguments, tmp_path: Path) -> None:
    """Curves have a point an epoch; the best one has names of its own."""
    main(arguments("logger=tensorboard", "trainer.max_epochs=2"))
    events = EventAccumulator(str(the_run(tmp_path) / "tensorboard"))
    events.Reload()
    curve = [event.value for event in events.Scalars("valid/mae")]
    expected = [float(row["valid/mae"]) for row in rows(the_run(tmp_path) / "metrics.csv")]
    assert curve == pytest.approx(expected) and len(curve) == 2
    assert [event.value for event in events.Scalars("best/valid/mae")] == pytest.approx([min(expected)], abs=1e-6)
    assert len(events.Scalars("test/mae")) == 1


def test_wandb_offline_logs_losses_weights_rates_metrics_and_label_histograms(
    arguments: Arguments,
    history_keys: Callable[[Path], set[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each job of a sweep is a run of its own, finished before the next starts."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    main(["-m", *arguments("logger=wandb", "+logger.group=mine", "seed=1,2")])
    assert wandb.run is None
    files = sorted((tmp_path / "runs").rglob("run-*.wandb"))
    assert len(files) == 2
    for file in files:
        keys = history_keys(file)
        tasks = ("multimodal", "text", "audio", "vision")
        assert {f"train/loss_{task}" for task in tasks} | {f"train/weight_{task}" for task in tasks} <= keys
        assert {"lr/bert", "lr/bert_no_decay", "lr/audio", "lr/video", "lr/other"} <= keys
        assert {f"{place}valid/{name}" for name in MOSI.metrics for place in ("", "best/")} <= keys
        assert {f"ulgm/label_{modality}/bins" for modality in ("text", "audio", "vision")} <= keys


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """The command ends with code 2 and one line on stderr that has these words."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data=nowhere", ["data/nowhere", "mosi", "mosei", "demo"]),
        ("model=nothing", ["model/nothing", "interactive_attention"]),
        ("+ablation=everything", ["ablation/everything", "bi_uni"]),
        ("a b", ["name=value"]),
        ("runs=2024_01", ["error: runs=202401: ", """'runs="2024_01"'"""]),
        ("runs=实验", ["""'runs="实验"'"""]),
        ("modalities=[text", ["modalities=[text: no viable alternative"]),
        ("model.widht=3", ["widht"]),
        ("+model.widht=3", ["widht", "width"]),
        ("model.width=wide", ["model.width=wide", "a whole number"]),
        ("model.width=-5", ["model", "at least 1"]),
        ("model.bi=off", ["model.bi=off", "true or false"]),
        ("model.values=both", ["values='both'", "target", "source"]),
        ("model.pooling=max", ["pooling='max'", "mean"]),
        ("model.bert_dropout=2", ["dropout=2"]),
        ("~model.lstm_hidden.audio", ["audio"]),
        ("objective.positive='<'", ["positive", ">="]),
        ("objective.ratio_weight=off", ["objective.ratio_weight=off"]),
        ("objective.weighting=gradnorm", ["objective: weighting=gradnorm", "uncertainty, dwa, rlw"]),
        ("objective.temperature=0", ["objective: temperature=0", "above 0"]),
        ("objective={_target_: mmsa_lightning.objectives.l1.L1}", ["L1 takes no", "tanh_weight"]),
        ("modalities=[smell]", ["smell", "vision"]),
        ("modalities=[]", ["at least one"]),
        ("modalities=[text,text]", ["each once"]),
        ("modalities=text", ["modalities=text: give [a text, …] or null"]),
        ("optim.lr.audioo=1", ["optim.lr.audioo: there is no such setting; --cfg job lists"]),
        ("text=letters", ["letters", "bert", "features"]),
        ("optim.algorithm=sgd", ["algorithm=sgd", "adam, adamw"]),
        ("optim.layer_decay=2", ["layer_decay=2", "up to 1"]),
        ("encoder.freeze=some", ["encoder.freeze=some", "embeddings"]),
        ("encoder.freeze=2", ["encoder.freeze=2", "1 layers"]),
        ("encoder.lora={rank: 2, alpha: 4, modules: [q_lin]}", ["no q_lin", "query"]),
        ("+encoder.speed=3", ["speed", "gradient_checkpointing"]),
        ("encoder=none", ["encoder"]),
        ("missing.rate=1.5", ["missing.rate=1.5", "from 0 to 1"]),
        ("missing.mode=words", ["missing.mode=words", "frames, block, modality"]),
        ("+missing.speed=3", ["missing holds", "speed"]),
        ("missing=none", ["missing"]),
        ("optim.schedule=linear", ["schedule=linear", "linear, plateau"]),
        ("optim.schedule={name: linear}", ["warmup", "a number"]),
        ("optim.schedule={name: linear, warmup: 2}", ["warmup=2", "from 0 to 1"]),
        ("optim.schedule={name: plateau, factor: 1, patience: 2}", ["factor=1"]),
        ("text_encoder=/nowhere", ["text_encoder=/nowhere", "minilm"]),
        ("text_encoder=null", ["text_encoder=None"]),
        ("data.standardize=off", ["data.standardize=off"]),
        ("data.batch_size=0", ["batch_size"]),
        ("data.counts=5", ["data.counts=5"]),
        ("+data.widht=3", ["widht", "batch_size"]),
        ("+data.seed=3", ["takes no seed"]),
        ("optim.lr.bert=fast", ["fast"]),
        ("optim.lr.bert=nan", ["nan"]),
        ("~optim.lr.audio", ["optim.lr", "audio"]),
        ("+optim.momentum=0.9", ["momentum"]),
        ("+optim.betas={a: 1}", ["betas"]),
        ("+trainer.max_epoch=3", ["trainer.max_epoch"]),
        ("+trainer.fast_dev_run=true", ["trainer.fast_dev_run"]),
        ("+trainer.limit_test_batches=1", ["trainer.limit_test_batches"]),
        ("+trainer.val_check_interval=3", ["trainer.val_check_interval", "every epoch ends with one validation"]),
        ("+trainer.benchmark=maybe", ["trainer.benchmark=maybe", "null, true, false"]),
        ("+trainer.num_nodes=2", ["trainer.num_nodes=2", "torchrun"]),
        ("trainer.max_epochs=0", ["trainer.max_epochs=0"]),
        ("+trainer.max_steps=7", ["trainer.max_steps"]),
        ("trainer.accumulate_grad_batches=0", ["trainer.accumulate_grad_batches=0"]),
        ("trainer.gradient_clip_val=-1", ["trainer.gradient_clip_val=-1"]),
        ("trainer.devices=two", ["trainer.devices=two", "a whole number"]),
        ("patience=0", ["patience=0"]),
        ("data.path=", ["path is empty"]),
        ("objective.limit=-1", ["limit=-1"]),
        ("model.fusion_width=0", ["at least 1"]),
        ("trainer.precision=8", ["8", "bf16-mixed"]),
        ("trainer.accelerator=abacus", ["trainer", "abacus"]),
        ("trainer.devices=0", ["trainer"]),
        ("trainer.devices=[1]", ["trainer.devices=[1]", "on the CPU"]),
        ("trainer.devices=1000000", ["trainer.devices=1000000", "cores"]),
        (f"optim.lr.bert={10**400}", ["optim.lr"]),
        ("logger.name=paper", ["paper", "wandb"]),
        ("+logger.foo=3", ["logger.foo"]),
        ("model._target_=os.system", ["os.system"]),
        ("+model.bert={_target_: os.system, command: 'touch hacked'}", ["bert"]),
        ("data._target_=mmsa_lightning.data.store.Store", ["Store"]),
        ("ckpt_path=nowhere.ckpt", ["nowhere.ckpt"]),
        ("seed=", ["seed"]),
        ("seed=one", ["seed=one", "a whole number"]),
        ("seed=4294967296", ["4294967295"]),
        ("keep_last=maybe", ["keep_last"]),
    ],
)
def test_a_mistake_is_one_line(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, words: list[str]
) -> None:
    fails(arguments(override), capsys, *words)
    assert not list((tmp_path / "runs").rglob("*"))  # found before anything is written


def test_a_missing_store_or_path_says_how_to_make_it(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mosi.h5"
    overrides = [a for a in arguments("data=mosi") if not a.startswith("data.")]
    fails([*overrides, f"data.path={path}"], capsys, str(path), "mmsa data import")
    fails([*overrides, "data=own"], capsys, "data.path is missing")


def test_a_published_data_sets_name_is_not_given_to_other_data(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("trainer.max_epochs=1"))  # makes the demo's store
    path = result_config(the_run(tmp_path))["data"]["path"]
    overrides = [a for a in arguments("data=mosi") if not a.startswith("data.")]
    fails([*overrides, f"data.path={path}"], capsys, f"data=mosi, but {path} holds demo: data=own data.path={path}")


def test_unaligned_data_need_the_other_reading(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments("trainer.max_epochs=1"))  # makes the demo's store
    store = Store(result_config(the_run(tmp_path))["data"]["path"])
    for split in store.splits.values():
        audio = split.sequences["audio"]
        split.sequences["audio"] = Loaded(audio[i].repeat(2, axis=0) for i in range(len(split)))
    write(tmp_path / "unaligned.h5", store.splits, store.meta)
    overrides = [a for a in arguments("data=own", "trainer.max_epochs=1") if not a.startswith("data.")]
    overrides += [f"data.path={tmp_path / 'unaligned.h5'}", f"runs={tmp_path / 'own'}"]
    fails(overrides, capsys, "text, audio, vision", "not aligned", "model.values=source")
    main([*overrides, "model.values=source"])
    main([*overrides, "modalities=[text,vision]"])
    assert len(list((tmp_path / "own").rglob("result.json"))) == 2


def test_a_bert_that_is_too_short_is_refused(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(max_position_embeddings=6, **sizes)).save_pretrained(tmp_path / "short")
    fails(arguments(f"text_encoder={tmp_path / 'short'}"), capsys, "reads 6 word pieces at most")


def test_a_vocabulary_that_is_too_small_is_refused(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=100, **sizes)).save_pretrained(tmp_path / "small")
    fails(arguments(f"text_encoder={tmp_path / 'small'}"), capsys, "100 word pieces", "tokenized for")
